"""What the tests of the planner share."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from edgerec.contracts.compressor import Compressor
from edgerec.contracts.host import Host
from edgerec.data.dataset import Dataset
from edgerec.model.device_model import DeviceModel
from edgerec.training.loop import train
from tests.rigs.compressors import Drop, Narrow


@pytest.fixture(scope="session")
def model(dataset: Dataset) -> DeviceModel:
    return train(dataset, epochs=8, dim=128, batch=256).to_device_model()


@pytest.fixture
def offer(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Install compressors instead of the ones that there are."""

    def install(*compressors: type[Compressor]) -> None:
        entries: dict[str, type[Compressor]] = {c.name: c for c in compressors}
        monkeypatch.setattr(Host.installed()._compressors, "entries", entries)

    monkeypatch.setattr(Narrow, "runs", [])
    monkeypatch.setattr(Drop, "runs", [])
    return install
