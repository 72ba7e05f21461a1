"""A device with a budget, and the options of a quick search."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgerec.building.search import trials
from edgerec.contracts.device import Budget, Device
from edgerec.model.device_model import DeviceModel
from tests.rigs.compressors import Narrow

#: Most tests need no file of the study, which has to be flushed at every step.
QUICK: Mapping[str, Any] = {"users": 60, "storage": "sqlite:///:memory:"}


def device(**limits: Any) -> Device:
    return Device("watch", Budget(**limits), ("numpy",))


def size_of(model: DeviceModel, codec: str) -> int:
    """The least bytes of a bundle, as the planner computes them."""
    small = Narrow(codec).outline(model)
    return small.table_bytes + trials.besides_tables(small)
