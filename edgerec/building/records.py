"""Records: figures of a device itself, which builds for it prefer to those of this machine.

A record holds what one bundle measured on the device (there) and on the machine that built it
(here). The same file gets the device's own figures. For another file of the same target, with
figures f on this machine, they are estimated:

    milliseconds = f · there / here        peak = baseline there + (peak - baseline of f)
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from edgerec.contracts.device import Device
from edgerec.device.figures import Figures
from edgerec.errors import DataError, OptionError
from edgerec.files.atomic import write_text

__all__ = ["on_device", "records_folder", "save_record", "violations", "where"]

#: What a device's own figures replace.
_TIMES = ("import_ms", "open_ms", "first_ms", "p50_ms", "p95_ms")
_MEMORY = ("baseline_rss_bytes", "peak_rss_bytes")


def records_folder() -> Path:
    """The folder for records: $EDGEREC_RECORDS, or edgerec/records in the user's data folder."""
    base = os.environ.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
    return Path(os.environ.get("EDGEREC_RECORDS") or Path(base) / "edgerec" / "records")


def save_record(device: str, path: str | Path, here: Figures, there: Figures) -> Path:
    """Keep what a bundle measured on a device, in place of an earlier record of its target.

    Args:
        device: the name of the device.
        path: the bundle.
        here: its figures on this machine.
        there: its figures on the device.

    Raises:
        OptionError: the device was emulated, so its figures mean nothing.
    """
    if there.emulated:
        raise OptionError(
            f"save: {there.on} is emulated, so its times and memory say nothing about {device}"
        )
    records = _read(device)
    records[there.target] = {
        "sha256": _digest(path),
        "here": here.replace(retention=None).to_json(),
        "there": there.replace(retention=None).to_json(),
    }
    file = records_folder() / f"{device}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    write_text(file, json.dumps(records, indent=1) + "\n")
    return file


def on_device(figures: Figures, path: str | Path, device: str) -> Figures:
    """Replace times and memory by those of a device, if a bundle of the target was measured there.

    Args:
        figures: what the bundle measured on this machine.
        path: the bundle.
        device: the name of the device.

    Returns:
        The figures, whose ``measured_on`` names the device's processor; unchanged if there is no
        record.

    Raises:
        DataError: the record cannot be read.
    """
    record = _read(device).get(figures.target)
    if record is None:
        return figures
    try:
        here, there = (Figures.from_json(record[side]) for side in ("here", "there"))
        same = record["sha256"] == _digest(path)
    except (KeyError, TypeError, DataError) as error:
        raise _damaged(device, error) from None
    if same:
        values = {name: getattr(there, name) for name in (*_TIMES, *_MEMORY)}
        return figures.replace(**values, measured_on=there.cpu)
    values = {
        name: getattr(figures, name) * getattr(there, name) / max(getattr(here, name), 1e-9)
        for name in _TIMES
    }
    own = max(0, figures.peak_rss_bytes - figures.baseline_rss_bytes)
    return figures.replace(
        **values,
        baseline_rss_bytes=there.baseline_rss_bytes,
        peak_rss_bytes=there.baseline_rss_bytes + own,
        measured_on=f"{there.cpu}, estimated from {there.bundle}",
    )


def violations(device: Device, figures: Figures) -> list[str]:
    """Describe each limit of a device's budget that the figures of a bundle break."""
    return device.budget.violations(figures.to_json(), where(device.name, figures))


def where(device: str, figures: Figures) -> str:
    """On what machine the times and the memory of a bundle were measured."""
    if figures.measured_on is not None:
        return f"on {device} ({figures.measured_on})"
    return f"on {figures.cpu} (not measured on {device})"


def _read(device: str) -> dict[str, Any]:
    """The records of a device by target; none if it was never measured."""
    try:
        text = (records_folder() / f"{device}.json").read_text("utf-8")
    except FileNotFoundError:
        return {}
    try:
        records = json.loads(text)
    except ValueError as error:
        raise _damaged(device, error) from None
    if not isinstance(records, dict):
        raise _damaged(device, "not an object")
    return records


def _damaged(device: str, why: object) -> DataError:
    file = records_folder() / f"{device}.json"
    return DataError(
        f"{file}: expected figures that `edgerec bench --save` wrote ({why}); remove the file"
    )


def _digest(path: str | Path) -> str:
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
