"""Figures of a device itself, which builds for it prefer."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from edgerec.building.build import build
from edgerec.building.recipe import Recipe
from edgerec.building.records import on_device, records_folder, save_record
from edgerec.building.verify import verify
from edgerec.cli import app
from edgerec.contracts.device import Budget, Device
from edgerec.data.dataset import Dataset
from edgerec.device.figures import Figures
from edgerec.errors import BudgetError, DataError, OptionError
from edgerec.model.device_model import DeviceModel
from edgerec.remote import bench


@pytest.fixture(autouse=True)
def records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EDGEREC_RECORDS", str(tmp_path / "records"))
    return tmp_path / "records"


@pytest.fixture
def bundle(model: DeviceModel, dataset: Dataset, tmp_path: Path) -> tuple[Path, Figures]:
    built = build(model, dataset, Recipe(targets=("numpy",)), tmp_path / "dist", users=20)
    return built[0].path, built[0].figures


def slow(figures: Figures) -> Figures:
    """The figures of a device that is ten times slower, with a smaller interpreter."""
    times = {
        name: 10 * getattr(figures, name)
        for name in ("import_ms", "open_ms", "first_ms", "p50_ms", "p95_ms")
    }
    memory = {"baseline_rss_bytes": 9_000_000, "peak_rss_bytes": 12_000_000}
    return figures.replace(**times, **memory, cpu="4 Cortex-A53", on="ssh://pi")


def test_builds_prefer_what_a_device_measured(
    bundle: tuple[Path, Figures], model: DeviceModel, dataset: Dataset, tmp_path: Path
) -> None:
    path, here = bundle
    assert on_device(here, path, "pi") is here
    file = save_record("pi", path, here, slow(here))
    assert file == records_folder() / "pi.json"
    same = on_device(here, path, "pi")
    assert same.p95_ms == pytest.approx(10 * here.p95_ms)
    assert same.peak_rss_bytes == 12_000_000
    assert same.measured_on == "4 Cortex-A53"
    # Another file of the target: in proportion to what this machine measured.
    recipe = Recipe(
        (("quantize", {"codec": "int8"}),), ("numpy",), Device("pi", Budget(max_p95_ms=1e6))
    )
    other = build(model, dataset, recipe, tmp_path / "other", users=20)[0].figures
    assert other.measured_on == f"4 Cortex-A53, estimated from {path.name}"
    assert other.baseline_rss_bytes == 9_000_000
    assert 9_000_000 <= other.peak_rss_bytes < 9_000_000 + here.peak_rss_bytes
    figures, broken = verify(path, Device("pi", Budget(max_p95_ms=here.p95_ms)))
    assert figures.p95_ms == pytest.approx(10 * here.p95_ms)
    assert len(broken) == 1
    assert "on pi (4 Cortex-A53), the limit is" in broken[0]
    # Another target, and another device, know nothing of it.
    assert on_device(here.replace(target="onnx"), path, "pi").measured_on is None
    assert on_device(here, path, "pi-2").measured_on is None


def test_limits_say_where_they_were_measured(
    model: DeviceModel, dataset: Dataset, tmp_path: Path
) -> None:
    recipe = Recipe((), ("numpy",), Device("pi", Budget(max_p95_ms=1e-5)))
    with pytest.raises(BudgetError, match=r"measured \S+ on .* \(not measured on pi\), the limit"):
        build(model, dataset, recipe, tmp_path / "dist", users=20)


def test_records_that_say_nothing(bundle: tuple[Path, Figures], records: Path) -> None:
    path, here = bundle
    emulated = dataclasses.replace(here, emulated=True, on="qemu:aarch64")
    with pytest.raises(OptionError, match="save: qemu:aarch64 is emulated, so its times"):
        save_record("pi", path, here, emulated)
    assert not records.exists()
    records.mkdir()
    for text in ("{", "[]", '{"numpy": {}}', '{"numpy": {"here": {}, "there": {}}}'):
        (records / "pi.json").write_text(text)
        with pytest.raises(DataError, match=r"pi.json: expected figures that .*; remove the file"):
            on_device(here, path, "pi")


def test_save_from_the_command_line(
    bundle: tuple[Path, Figures], monkeypatch: pytest.MonkeyPatch, records: Path, tmp_path: Path
) -> None:
    path, here = bundle
    copy = shutil.copyfile(path, tmp_path / "copy.edgerec")

    def pretend(address: str, **given: object) -> Figures:
        assert given["bundle"] == copy
        return here if address == "local" else slow(here)

    monkeypatch.setattr(bench, "bench_on", pretend)
    run = CliRunner().invoke
    done = run(app, ["bench", str(copy), "--on", "ssh://pi", "--save", "pi-4"])
    assert done.exit_code == 0, done.output
    # A long path is broken anywhere.
    assert "pi-4.json:buildsforpi-4preferthesefigures" in "".join(done.output.split())
    found = on_device(here, path, "pi-4")
    assert found.p50_ms == pytest.approx(10 * here.p50_ms)
    for arguments, message in (
        (["--save", "pi-4"], "--save: builds already measure on this machine"),
        (["--on", "ssh://pi", "--save", "pi-400"], "pi-400"),
    ):
        done = run(app, ["bench", str(copy), *arguments])
        assert isinstance(done.exception, OptionError | SystemExit | LookupError), done.output
        assert message in f"{done.exception} {done.output}".replace("\n", " ")
