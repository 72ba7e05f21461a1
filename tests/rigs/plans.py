"""A device with a budget, and the options of a quick search."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgerec.contracts.device import Budget, Device
from edgerec.contracts.host import Host
from edgerec.exporting.export import foreseen_bytes
from edgerec.model.device_model import DeviceModel
from tests.rigs.compressors import Narrow

#: Most tests need no file of the study, which has to be flushed at every step.
QUICK: Mapping[str, Any] = {
    "users": 60,
    "storage": "sqlite:///:memory:",
    "allow_pruning_items": True,
}


def device(**limits: Any) -> Device:
    return Device("watch", Budget(**limits), ("numpy",))


def size_of(model: DeviceModel, codec: str) -> int:
    """The bytes of a numpy bundle, as the planner computes them."""
    step = {"compressor": "narrow", "options": {"codec": codec}}
    small = Narrow(codec).outline(model)
    small = small.replace(metadata={**small.metadata, "steps": [step]})
    sizes = {"bytes_before": model.table_bytes, "bytes_after": small.table_bytes}
    target = Host.installed().target("numpy")
    return foreseen_bytes(small, target, 50, {"steps": [step | sizes]})
