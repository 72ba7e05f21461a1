"""Checks of what a plugin declares and provides; each failure names the fault and its remedy."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import importlib.util
import inspect
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgerec.contracts import hookspecs
from edgerec.contracts.compressor import Compressor
from edgerec.contracts.device import Device
from edgerec.contracts.hookspecs import API_VERSION
from edgerec.contracts.target import Target
from edgerec.errors import OptionError, PluginError
from edgerec.model.codecs import Codec
from edgerec.model.options import check_option_types

__all__ = ["check_api_version", "check_hooks", "check_provided", "declared_api_version"]

_DECLARATION = re.compile(r"^edgerec_api\s*(?::\s*\w+\s*)?=\s*(\d+)", re.MULTILINE)


def declared_api_version(entry_point: importlib.metadata.EntryPoint) -> int | None:
    """The API version in a plugin's source, read without running it; none if there is none.

    A plugin written for another version often fails on import, so its version must be known
    before that.
    """
    try:
        spec = importlib.util.find_spec(entry_point.module)
        source = Path(spec.origin).read_text("utf-8") if spec and spec.origin else ""
    except (ImportError, AttributeError, OSError, ValueError):
        return None
    found = _DECLARATION.search(source)
    return int(found[1]) if found else None


def check_api_version(version: object) -> None:
    """Check the API version that a plugin declares.

    Raises:
        PluginError: it declares none, or one that this edgerec does not support.
    """
    if version is None:
        raise PluginError(
            "it does not declare the plugin API version that it was written for; add "
            f"`edgerec_api = {API_VERSION}` to its module once it works with this edgerec"
        )
    if version != API_VERSION:
        update = "the plugin" if isinstance(version, int) and version < API_VERSION else "edgerec"
        raise PluginError(
            f"it was written for plugin API version {version}, and this edgerec has version "
            f"{API_VERSION}; update {update}"
        )


def check_hooks(module: Any) -> None:
    """Check that every function named like a hook is one and is marked as one.

    Raises:
        PluginError: a hook is misspelled or lacks ``@hookimpl``.
    """
    specs = {n for n, v in vars(hookspecs).items() if hasattr(v, "edgerec_spec")}
    for name, value in inspect.getmembers(module, inspect.isroutine):
        if name.startswith("edgerec_") and name not in specs:
            raise PluginError(f"{name} is not a hook; hooks: {', '.join(sorted(specs))}")
        if name in specs and not hasattr(value, "edgerec_impl"):
            raise PluginError(f"{name} is not marked; put @hookimpl above it")


def check_provided(thing: Any, hook: str, base: type) -> None:
    """Check one thing that a hook returned.

    Raises:
        PluginError: it is not what the hook asks for, or is not usable.
    """
    is_right = (
        isinstance(thing, Device)
        if base is Device
        else inspect.isclass(thing) and issubclass(thing, base)
    )
    if not is_right:
        raise PluginError(f"{hook} returned {thing!r}, not a {base.__name__}")
    if not isinstance(getattr(thing, "name", None), str) or not thing.name:
        raise PluginError(f"{hook} returned {thing!r}, which has no name")
    parameters = getattr(thing, "__dataclass_params__", None)
    if base is not Device and not getattr(parameters, "frozen", False):
        raise PluginError(f"{thing.__name__} should be a frozen dataclass")
    if missing := sorted(getattr(thing, "__abstractmethods__", ())):
        raise PluginError(f"{thing.__name__} lacks {', '.join(missing)}")
    if base is not Device:
        _check_options(thing)
    if base is Compressor:
        _check_search_space(thing)
    if base is Target:
        # A device that names no targets gets all of them, made without options.
        for option in dataclasses.fields(thing):
            if option.default is option.default_factory is dataclasses.MISSING:
                raise PluginError(f"{thing.__name__}.{option.name} should have a default")


def _check_options(thing: type) -> None:
    """Check that the options of a class can be read from text, TOML and files."""
    inherited = {name for parent in thing.__mro__[1:] for name in vars(parent)}
    annotations = vars(thing).get("__annotations__", {})
    for name, value in vars(thing).items():
        is_data = not callable(value) and not hasattr(value, "__get__")
        if is_data and not name.startswith("_") and name not in {*annotations, *inherited, "name"}:
            raise PluginError(
                f"{thing.__name__}.{name} has no type, so it is not an option; write "
                f"`{name}: {type(value).__name__} = {value!r}`, or ClassVar if it should not be one"
            )
    try:
        check_option_types(thing, (Codec,))
    except OptionError as error:
        raise PluginError(f"{thing.__name__}: {error}") from None


def _check_search_space(compressor: type[Compressor]) -> None:
    space = compressor.search_space()
    if not isinstance(space, Mapping | None):
        raise PluginError(f"{compressor.__name__}.search_space: expected a mapping, got {space!r}")
    for option, values in (space or {}).items():
        plain = isinstance(values, tuple) and all(
            value is None or isinstance(value, bool | int | float | str) for value in values
        )
        if not values or not plain:
            raise PluginError(
                f"{compressor.__name__}.search_space: {option}: expected a tuple of texts, "
                f"numbers, booleans or None, got {values!r}"
            )
