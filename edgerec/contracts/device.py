"""Device: a name, the runtimes that it has, and a Budget, which is a contract."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from edgerec.errors import OptionError
from edgerec.files.toml import read_toml
from edgerec.model.options import from_options

__all__ = ["Budget", "Device", "device_from", "load_device"]


@dataclass(frozen=True)
class Budget:
    """Limits that a written bundle is checked against; none means no limit.

    Args:
        max_bundle_bytes: the size of the file.
        max_peak_rss_bytes: the peak resident memory of a process that opens the bundle and
            recommends, including the interpreter and the runtime.
        max_p95_ms: the 95th percentile of the latency of one recommendation, in milliseconds.
        min_quality: the minimum retention: NDCG@20 as a share of the uncompressed model's.

    Raises:
        OptionError: a limit is not positive, or quality is above 1.
    """

    max_bundle_bytes: int | None = None
    max_peak_rss_bytes: int | None = None
    max_p95_ms: float | None = None
    min_quality: float | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            expected = "integer" if field.name.endswith("bytes") else "number"
            if value is not None and not value > 0:
                raise OptionError(
                    f"budget.{field.name}: expected a positive {expected}, got {value}"
                )
        if self.min_quality is not None and self.min_quality > 1:
            raise OptionError(f"budget.min_quality: expected at most 1, got {self.min_quality}")

    def violations(self, measured: Mapping[str, float | None], where: str = "") -> list[str]:
        """Describe each limit that the measured figures break; empty if all are kept.

        ``measured`` has the keys bundle_bytes, peak_rss_bytes, p95_ms and quality. A figure that
        was not measured breaks its limit. ``where`` says on what machine time and memory were
        measured.
        """
        found = []
        for field in fields(self):
            bound, name = field.name.split("_", 1)
            limit, value = getattr(self, field.name), measured.get(name)
            if limit is None:
                continue
            if value is None:
                found.append(
                    f"budget.{field.name}: the limit is {limit}, but this was not measured"
                )
            elif (value > limit) if bound == "max" else (value < limit):
                place = f" {where}" if where and name in ("p95_ms", "peak_rss_bytes") else ""
                found.append(
                    f"budget.{field.name}: measured {_figure(value)}{place}, the limit is "
                    f"{_figure(limit)}"
                )
        return found


@dataclass(frozen=True)
class Device:
    """A device profile.

    Args:
        name: the name by which users select it.
        budget: its limits.
        targets: the targets whose runtimes it has; empty means any.
        description: what it is.
        source: where its memory and runtimes are documented.

    Raises:
        OptionError: the name cannot be the name of a folder, or a value is of the wrong type.
    """

    name: str
    budget: Budget
    targets: tuple[str, ...] = ()
    description: str = ""
    source: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.budget, Budget):
            raise OptionError(f"device: budget: expected a Budget, got {self.budget!r}")
        if not isinstance(self.targets, tuple) or not all(isinstance(t, str) for t in self.targets):
            raise OptionError(f"device: targets: expected a tuple of names, got {self.targets!r}")
        if not re.fullmatch(r"\w[\w.+ -]*", self.name):
            raise OptionError(
                f"device: name: expected letters, digits, spaces and . _ + -, got {self.name!r}"
            )


def load_device(path: str | Path) -> Device:
    """Read a profile from a TOML file with a ``[device]`` table.

    Raises:
        OptionError: the file cannot be read or a value is wrong; the message says which.
    """
    content = read_toml(path, "device profile")
    if set(content) != {"device"} or not isinstance(content["device"], dict):
        raise OptionError(
            f"{path}: expected one table, [device], with a name, targets and limits; got "
            f"{', '.join(sorted(content)) or 'nothing'}"
        )
    return device_from(content["device"], str(path))


def device_from(values: Mapping[str, Any], where: str) -> Device:
    """Make a device from a flat table, in which the budget's limits stand beside the name."""
    limits = {f.name for f in fields(Budget)}
    budget = from_options(Budget, {k: v for k, v in values.items() if k in limits}, "budget")
    rest = {k: v for k, v in values.items() if k not in limits}
    if unknown := sorted(set(rest) - {"name", "targets", "description", "source"}):
        known = ", ".join(["name", "targets", "description", "source", *sorted(limits)])
        raise OptionError(f"{where}: unknown option {', '.join(unknown)}; options: {known}")
    return from_options(Device, {**rest, "budget": budget}, where)


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) else f"{value:.4g}"
