"""A catalogue of device profiles. ``catalogue.toml`` holds them, each with its source."""

from __future__ import annotations

import tomllib
from pathlib import Path

from edgerec.plugin import Device, device_from, hookimpl


@hookimpl
def edgerec_devices() -> list[Device]:
    """Provide the catalogue."""
    path = Path(__file__).with_name("catalogue.toml")
    profiles = tomllib.loads(path.read_text("utf-8"))["device"]
    return [device_from(profile, f"{path.name}: {profile.get('name')}") for profile in profiles]
