"""How a model reads histories: repeats, seen items, and what stands in for popular items."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from typer.testing import CliRunner

from edgerec.cli import app
from edgerec.contracts.bundle import Bundle
from edgerec.contracts.bundle_writer import write_bundle
from edgerec.contracts.opening import load_model
from edgerec.contracts.signature import Signature
from edgerec.data.dataset import Dataset
from edgerec.data.quality import evaluation_users
from edgerec.data.ranking import rank
from edgerec.device.scorer import Scorer
from edgerec.errors import BundleError, ModelError
from edgerec.exporting.export import export
from edgerec.model.codecs import Int8
from edgerec.model.device_model import DeviceModel
from edgerec.model.model_file import save_model
from edgerec.model.oracle import Oracle
from tests.rigs.tamper import tamper

TARGETS = pytest.mark.parametrize("target", ["numpy", "onnx", "tflite", "torchscript"])


@TARGETS
def test_repeats_count_once_or_every_time(
    target: str, models: dict[str, DeviceModel], tmp_path: Path
) -> None:
    plain = models["two-tables"].replace(recency=0.5, weighted=True)
    history, rows = ["i00003", "i00007", "i00003", "i00003"], np.array([3, 7, 3, 3])
    for repeats, expected in (("merge", rows[[1, 3]]), ("keep", rows)):
        model = plain.replace(repeats=repeats)
        path = export(model, target, tmp_path / "x.edgerec").path
        oracle = Oracle(model)
        ids, _ = oracle.recommend(*oracle.pad(expected), 20)
        with Scorer.open(path, trust=True) as scorer:
            found = [one.id for one in scorer.recommend(history, 10)]
            assert found == [f"i{row:05d}" for row in ids.tolist() if row not in (3, 7)][:10]
            weights = [5.0, 1.0, 2.0, 1.0]
            weighted = scorer.recommend(history, 10, weights=weights)
        given = np.array(weights, np.float32)[[1, 3] if repeats == "merge" else slice(None)]
        ids, _ = oracle.recommend(*oracle.pad(expected, given), 20)
        ids_kept = [f"i{row:05d}" for row in ids.tolist() if row not in (3, 7)]
        assert [one.id for one in weighted] == ids_kept[:10]


@TARGETS
def test_seen_items_may_be_recommended(
    target: str, models: dict[str, DeviceModel], dataset: Dataset, tmp_path: Path
) -> None:
    model = models["sum"].replace(drop_seen=False)
    history = np.array([3, 7])
    ids, _ = Oracle(model).recommend(*Oracle(model).pad(history), 20)
    assert set(history) & set(ids[:20].tolist())
    path = export(model, target, tmp_path / "x.edgerec").path
    with Scorer.open(path, trust=True) as scorer:
        found = scorer.recommend(["i00003", "i00007"], 20)
    assert [one.id for one in found] == [f"i{row:05d}" for row in ids.tolist()]


def test_evaluation_follows_the_model(dataset: Dataset) -> None:
    from edgerec.training.loop import train

    model = train(dataset, epochs=1, dim=8).to_device_model()
    users = evaluation_users(dataset, 10)
    seen = [set(dataset.histories.of(int(user)).tolist()) for user in users]
    dropped, kept = (
        rank(model.replace(drop_seen=drop), dataset, users, 20) for drop in (True, False)
    )
    assert not any(past & set(row.tolist()) for past, row in zip(seen, dropped, strict=True))
    assert any(past & set(row.tolist()) for past, row in zip(seen, kept, strict=True))


def test_the_longest_rows_stand_in_for_popular_items(
    models: dict[str, DeviceModel], tmp_path: Path
) -> None:
    model = models["sum"].replace(popular=np.zeros(0, np.int32))
    lengths = np.linalg.norm(model.tables["items"].decode(), axis=1)
    bundle = export(model, "numpy", tmp_path / "x.edgerec")
    assert bundle.fallback == "longest"
    found = Scorer(bundle).recommend([], 5)
    assert found.fallback
    assert [int(one.id[1:]) for one in found] == np.argsort(-lengths)[:5].tolist()
    assert export(models["sum"], "numpy", tmp_path / "y.edgerec").fallback == "popular"


def test_the_settings_are_saved_and_checked(models: dict[str, DeviceModel], tmp_path: Path) -> None:
    model = models["sum"].replace(repeats="keep", drop_seen=False)
    save_model(model, tmp_path / "x.model")
    again = load_model(tmp_path / "x.model")
    assert (again.repeats, again.drop_seen) == ("keep", False)
    for changes, message in (
        ({"repeats": "some"}, "repeats: expected merge or keep, got 'some'"),
        ({"drop_seen": 1}, "drop_seen: expected true or false, got 1"),
        ({"weighted": None}, "weighted: expected true or false, got None"),
        ({"context_width": 2}, "context_width: expected 0, because the encoder does not read"),
        ({"context_width": True}, "context_width: expected an integer from 0, got True"),
    ):
        with pytest.raises(ModelError, match=message):
            models["sum"].replace(**changes)
    path = export(model, "numpy", tmp_path / "x.edgerec").path
    for name, value, message in (
        ("repeats", "some", "repeats: expected 'merge' or 'keep', got 'some'"),
        ("drop_seen", 1, "drop_seen: expected True or False, got 1"),
        ("signature", 3, "signature: expected an integer from 1 to 2, got 3"),
        ("inputs", {"weights": 7}, "inputs.weights: expected one value per place of the history"),
        ("inputs", {"age": 1}, "inputs: expected some of weights, user_vector, context, got"),
        ("inputs", {"context": 0}, "inputs.context: expected an integer from 1 to"),
        ("fallback", None, "fallback: expected 'popular' or 'longest', got None"),
    ):
        with pytest.raises(BundleError, match=message):
            Scorer.open(tamper(path, **{name: value}))
        export(model, "numpy", path)
    with pytest.raises(BundleError, match=r"inputs: the manifest has \{\}, its payload \{'weights"):
        Scorer.open(tamper(path, inputs={}))
    export(model, "numpy", path)
    with pytest.raises(BundleError, match="drop_seen: the manifest has True, its payload False"):
        Scorer.open(tamper(path, drop_seen=True)).recommend(["i00003"])


def test_an_unpacked_bundle_can_be_read_without_edgerec(
    models: dict[str, DeviceModel], tmp_path: Path
) -> None:
    model = models["sum"].replace(recency=0.5)
    path = export(model, "numpy", tmp_path / "x.edgerec").path
    run = CliRunner().invoke
    done = run(app, ["unpack", str(path), "-o", str(tmp_path / "app" / "assets")])
    assert done.exit_code == 0, done.output
    folder = tmp_path / "app" / "assets"
    bundle = Bundle.open(path)
    for part in bundle.payload:
        assert (folder / part).read_bytes() == bundle.read(part)
    found = json.loads((folder / "edgerec.json").read_text("utf-8"))
    assert found["ids"] == list(model.items.ids)
    assert found["popular"] == model.popular.tolist()
    assert (found["target"], found["history_length"], found["top_k"]) == ("numpy", 30, 50)
    assert (found["recency"], found["repeats"], found["drop_seen"]) == (0.5, "merge", True)
    done = run(app, ["unpack", str(path), "-o", str(folder)])
    assert "exists; name a folder that does not" in f"{done.exception}"
    assert sorted(p.name for p in (tmp_path / "app").iterdir()) == ["assets"]


def test_no_payload_part_takes_the_name_of_the_description(
    models: dict[str, DeviceModel], tmp_path: Path
) -> None:
    path = tmp_path / "x.edgerec"
    signature = Signature(600, 30, 20)
    write_bundle(path, models["sum"], "numpy", signature, {"edgerec.json": b"{}"}, {})
    with pytest.raises(BundleError, match="has the name of the description"):
        Bundle.open(path)


def test_graphs_in_onnxruntimes_own_format(models: dict[str, DeviceModel], tmp_path: Path) -> None:
    path = export(models["two-tables"].with_codec(Int8()), "onnx", tmp_path / "x.edgerec").path
    run = CliRunner().invoke
    done = run(app, ["unpack", str(path), "-o", str(tmp_path / "app"), "--as", "ort"])
    assert done.exit_code == 0, done.output
    history = np.full(30, -1, np.int32)
    history[-2:] = 3, 7
    found = {}
    for name in ("model.onnx", "model.ort"):
        session = onnxruntime.InferenceSession(tmp_path / "app" / name)
        found[name] = session.run(None, {"history": history})
    for one, other in zip(*found.values(), strict=True):
        assert np.allclose(one, other)
    session = onnxruntime.InferenceSession(tmp_path / "app" / "score.ort")
    rows = np.resize(found["model.ort"][0][:50], 256).astype(np.int32)
    (scores,) = session.run(None, {"history": history, "rows": rows})
    assert np.allclose(scores[:50], found["model.ort"][1][:50], rtol=1e-4)
    numpy = export(models["two-tables"], "numpy", tmp_path / "n.edgerec").path
    done = run(app, ["unpack", str(numpy), "-o", str(tmp_path / "other"), "--as", "ort"])
    assert "target numpy: it has no form 'ort' to unpack to" in f"{done.exception}"
    assert not (tmp_path / "other").exists()
