"""One search for many devices, and bundles checked against budgets from outside."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgerec.building.search.sweep import roomiest, sweep
from edgerec.building.verify import verify
from edgerec.contracts.device import Budget, Device
from edgerec.contracts.host import Host
from edgerec.data.dataset import Dataset
from edgerec.errors import BundleError, OptionError
from edgerec.model.device_model import DeviceModel
from edgerec.training.loop import train


@pytest.fixture(scope="module")
def model(dataset: Dataset) -> DeviceModel:
    return train(dataset, epochs=8, dim=128, batch=256).to_device_model()


@pytest.fixture
def only_quantize(monkeypatch: pytest.MonkeyPatch) -> None:
    entries = {"quantize": Host.installed().compressors["quantize"]}
    monkeypatch.setattr(Host.installed()._compressors, "entries", entries)


ROOMY = Device("roomy", Budget(min_quality=0.9), ("numpy",))
SMALL = Device("small", Budget(max_bundle_bytes=24_000, min_quality=0.5), ("onnx", "numpy"))
TINY = Device("tiny", Budget(max_bundle_bytes=100), ("numpy",))


@pytest.mark.usefixtures("only_quantize")
@pytest.mark.slow
def test_each_device_gets_what_fits_it(
    model: DeviceModel, dataset: Dataset, tmp_path: Path
) -> None:
    seen = []
    found = sweep(
        model,
        dataset,
        [ROOMY, SMALL, TINY],
        folder=tmp_path,
        trials=4,
        users=60,
        progress=lambda done, total, what: seen.append(what),
    )
    assert [s.device.name for s in found] == ["roomy", "small", "tiny"]
    assert [len(s.built) for s in found] == [1, 2, 0]
    assert "budget.max_bundle_bytes" in (found[2].error or "")
    # One search, whatever the number of devices.
    searched = [place for place, what in enumerate(seen) if what == "searching"]
    assert searched == list(range(len(searched)))
    for swept in found[:2]:
        for built in swept.built:
            assert built.path.parent == tmp_path / swept.device.name
            figures, broken = verify(built.path, swept.device, dataset=dataset, model=model)
            assert broken == []
            assert figures.retention.ndcg == pytest.approx(built.figures.retention.ndcg)
    rows = json.loads((tmp_path / "sweep.json").read_text("utf-8"))
    assert [(r["device"], len(r["bundles"])) for r in rows] == [
        ("roomy", 1),
        ("small", 2),
        ("tiny", 0),
    ]
    table = (tmp_path / "sweep.md").read_text("utf-8")
    assert "| small | onnx |" in table
    assert "| tiny | none: tiny: budget.max_bundle_bytes" in table
    # A file is checked against any budget, not only its own.
    path = found[1].built[0].path
    _, broken = verify(path, Device("x", Budget(max_bundle_bytes=10), ("tflite",)))
    assert broken[0] == "target: onnx; the device has tflite"
    assert broken[1].startswith("budget.max_bundle_bytes: measured")
    with pytest.raises(OptionError, match="min_quality is a share"):
        verify(path, SMALL)
    damaged = bytearray(path.read_bytes())
    damaged[-70] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(BundleError):
        verify(path, TINY)


def test_the_search_has_room_for_every_device() -> None:
    assert roomiest([SMALL, TINY]) == Device(
        "sweep", Budget(max_bundle_bytes=24_000), ("onnx", "numpy")
    )
    assert roomiest([ROOMY, SMALL]).budget == Budget()
    assert roomiest([SMALL, Device("any", Budget())]).targets == ()


def test_devices_have_names_of_their_own(
    model: DeviceModel, dataset: Dataset, tmp_path: Path
) -> None:
    with pytest.raises(OptionError, match="different names"):
        sweep(model, dataset, [SMALL, SMALL], folder=tmp_path)
    with pytest.raises(OptionError, match="none"):
        sweep(model, dataset, [], folder=tmp_path)
