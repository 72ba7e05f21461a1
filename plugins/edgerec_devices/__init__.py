"""A catalogue of device profiles, stored in ``catalogue.toml`` with the source of each."""

from __future__ import annotations

import tomllib
from pathlib import Path

from edgerec.plugin import Device, device_from, hookimpl

#: The plugin API version that this plugin was written for.
edgerec_api = 2


@hookimpl
def edgerec_devices() -> list[Device]:
    """Provide the profiles of the catalogue."""
    path = Path(__file__).with_name("catalogue.toml")
    profiles = tomllib.loads(path.read_text("utf-8"))["device"]
    return [device_from(profile, f"{path.name}: {profile.get('name')}") for profile in profiles]
