"""The test vectors of a bundle: every target replays them, and each kind of fault is found."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from edgerec.cli import app
from edgerec.contracts.bundle import Bundle
from edgerec.device import past as past_module
from edgerec.device.scorer import Scorer
from edgerec.device.vectors import main, replay
from edgerec.errors import BundleError
from edgerec.exporting.export import export
from edgerec.model import history as history_module
from edgerec.model.codecs import Fp32, Int8
from edgerec.model.device_model import DeviceModel
from edgerec.model.table import Table
from edgerec_numpy import run as run_module
from tests.fuzz.corpus import Seed, assemble


def replayed(path: Path) -> list[str]:
    with Scorer.open(path, trust=True) as scorer:
        return replay(scorer)


@pytest.mark.parametrize("target", ["numpy", "onnx", "tflite", "torchscript"])
@pytest.mark.parametrize("name", ["sum", "dense", "transformer"])
def test_every_target_replays_its_vectors(
    target: str, name: str, models: dict[str, DeviceModel], tmp_path: Path
) -> None:
    model = models[name].with_codec(Int8()).replace(recency=0.7)
    path = export(model, target, tmp_path / "x.edgerec").path
    assert replayed(path) == []
    bundle = Bundle.open(path)
    parts = [name for name in bundle.container.names if name.startswith("vectors/")]
    assert sum(bundle.container.nbytes(part) for part in parts) == 576
    history = bundle.container.array("vectors/history").tolist()
    assert history[0] == [-1] * 8
    assert history[1][:2] == [-2, -2]
    assert history[5][0] == history[5][2] >= 0
    assert history[7][:2] == [-3, model.history_length + 3]


@pytest.mark.parametrize(
    "changes", [{"repeats": "keep"}, {"drop_seen": False}, {"popular": np.zeros(0, np.int32)}]
)
def test_vectors_follow_how_a_history_is_read(
    changes: dict[str, Any], models: dict[str, DeviceModel], tmp_path: Path
) -> None:
    model = models["sum"].replace(normalization=1.0, recency=1.0)
    path = export(model.replace(**changes), "numpy", tmp_path / "x.edgerec").path
    assert replayed(path) == []
    assert replayed(export(model, "numpy", tmp_path / "y.edgerec").path) == []


def test_vectors_of_a_tiny_catalogue_and_of_ties(
    models: dict[str, DeviceModel], tmp_path: Path
) -> None:
    tiny = models["sum"].take(np.arange(7))
    assert replayed(export(tiny, "numpy", tmp_path / "x.edgerec").path) == []
    rows = np.repeat(models["two-tables"].tables["items"].decode()[:60], 10, axis=0)
    equal = Table.encode(rows, Fp32())
    tied = models["two-tables"].replace(tables={"past": equal, "items": equal})
    for target in ("numpy", "tflite"):
        assert replayed(export(tied, target, tmp_path / "x.edgerec").path) == []


def no_merging(rows: Any) -> Any:
    return np.arange(len(rows))


def test_faults_of_a_scorer_are_found(
    models: dict[str, DeviceModel], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = export(models["sum"].replace(recency=1.0), "numpy", tmp_path / "x.edgerec").path
    with monkeypatch.context() as patch:
        patch.setattr(past_module, "merge_repeats", no_merging)
        patch.setattr(history_module, "merge_repeats", no_merging)
        assert [one.split(":")[0] for one in replayed(path)] == [
            "vector 5 (3 past items)",
            "vector 6 (8 past items)",
        ]
    with monkeypatch.context() as patch:
        patch.setattr(run_module, "list_unseen", lambda model, ids, scores, history: (ids, scores))
        patch.setattr(Bundle, "drops_seen", False)
        assert len(replayed(path)) >= 4
    with monkeypatch.context() as patch:
        read = run_module.read_history
        patch.setattr(
            run_module,
            "read_history",
            lambda model, *given: read(model.replace(recency=0.0), *given),
        )
        assert len(replayed(path)) >= 3
    with monkeypatch.context() as patch:
        patch.setattr(Bundle, "popular", np.arange(5, 10, dtype=np.int32))
        assert [one.split(":")[0] for one in replayed(path)] == [
            "vector 0 (0 past items)",
            "vector 1 (2 past items)",
        ]


def changed(path: Path, name: str, content: bytes | None, dtype: str = "<i4") -> Path:
    """Replace a section, or remove it."""
    seed = Seed.of("", path)
    sections = dict(seed.sections)
    shape = sections.pop(f"vectors/{name}")[2]
    if content is not None:
        sections[f"vectors/{name}"] = (content, dtype, shape)
    path.write_bytes(assemble(seed.kind, seed.meta, sections))
    return path


def test_vectors_that_are_malformed(models: dict[str, DeviceModel], tmp_path: Path) -> None:
    path = export(models["sum"], "numpy", tmp_path / "x.edgerec").path
    good = path.read_bytes()
    big, low = (np.full((8, 8), value, np.int32).tobytes() for value in (600, -4))
    long = np.full((8, 8), 2**30, np.int32)
    long[:, 0] = -3
    nan = np.full((8, 5), np.nan, np.float32).tobytes()
    for name, content, dtype in (
        ("history", big, "<i4"),
        ("history", low, "<i4"),
        ("history", long.tobytes(), "<i4"),
        ("ids", np.full((8, 5), 600, np.int32).tobytes(), "<i4"),
        ("scores", nan, "<f4"),
    ):
        path.write_bytes(good)
        with pytest.raises(BundleError, match=f"vectors/{name}: is malformed"):
            replayed(changed(path, name, content, dtype))
    path.write_bytes(good)
    with pytest.raises(BundleError, match="has no test vectors; export it again"):
        replayed(changed(path, "ids", None))


def test_from_the_command_line(
    models: dict[str, DeviceModel], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = export(models["sum"], "numpy", tmp_path / "x.edgerec").path
    run = CliRunner().invoke
    done = run(app, ["verify", str(path), "--replay"])
    assert done.exit_code == 0
    assert "every test vector has its list on local" in done.output
    assert main([str(path)]) == 0
    assert json.loads(capsys.readouterr().out) == []
    changed(path, "ids", np.zeros((8, 5), np.int32).tobytes())
    done = run(app, ["verify", str(path), "--replay", "--json"])
    assert done.exit_code == 2
    assert len(json.loads(done.output)) >= 2
    assert main([str(tmp_path / "none")]) == 2
    for arguments in (["--replay", "--device", "pi-4"], ["--on", "local"], []):
        done = run(app, ["verify", str(path), *arguments])
        assert "--replay" in f"{done.exception}"
