"""Recipe: what to build, from a TOML file, the command line or code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgerec.contracts.device import Device
from edgerec.contracts.host import Host
from edgerec.errors import OptionError
from edgerec.files.toml import read_toml

__all__ = ["Recipe", "load_recipe"]


@dataclass(frozen=True)
class Recipe:
    """What to build.

    Args:
        compress: compressors in order, each (name, options).
        targets: names of targets; empty means all that the device has, or all installed ones.
        device: the device whose budget to keep, or none.
        top_k: the maximum number of recommendations that a bundle can be asked for.

    Raises:
        OptionError: a target is given twice.
    """

    compress: tuple[tuple[str, Mapping[str, Any]], ...] = ()
    targets: tuple[str, ...] = ()
    device: Device | None = None
    top_k: int = 50

    def __post_init__(self) -> None:
        for name in self.targets:
            if self.targets.count(name) > 1:
                raise OptionError(f"targets: {name} is given twice")


def load_recipe(path: str | Path, host: Host | None = None) -> Recipe:
    """Read a recipe.

    ::

        device = "pixel-6a"          # the name of a profile, or the path of one
        targets = ["tflite"]
        top_k = 50

        [[compress]]
        name = "quantize"
        codec = "int8"

    Args:
        path: the file.
        host: the plugins whose device profiles it may name; the installed ones by default.

    Raises:
        OptionError: the file cannot be read, or a key is unknown or of the wrong type.
    """
    content = read_toml(path, "recipe")
    if unknown := sorted(set(content) - {"device", "targets", "top_k", "compress"}):
        raise OptionError(
            f"{path}: unknown key {', '.join(unknown)}; keys: device, targets, top_k, compress"
        )
    steps, targets = content.get("compress", []), content.get("targets", [])
    if not isinstance(steps, list) or not all(isinstance(s, dict) and "name" in s for s in steps):
        raise OptionError(f"{path}: compress: expected [[compress]] tables with a name")
    if not isinstance(targets, list) or not all(isinstance(t, str) for t in targets):
        raise OptionError(f"{path}: targets: expected a list of names, got {targets!r}")
    top_k = content.get("top_k", 50)
    if type(top_k) is not int:
        raise OptionError(f"{path}: top_k: expected an integer, got {top_k!r}")
    device = None
    if "device" in content:
        device = (host or Host.installed()).device(str(content["device"]))
    return Recipe(
        tuple((str(s["name"]), {k: v for k, v in s.items() if k != "name"}) for s in steps),
        tuple(targets),
        device,
        top_k,
    )
