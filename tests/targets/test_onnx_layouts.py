"""Tests specific to onnx: tables that do not fill whole tiles, groups and chunks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from edgerec.exporting.answers import Answers, measure_parity
from edgerec.exporting.export import export
from edgerec.exporting.proof import MAX_SCORE_ERROR, sample_histories
from edgerec.model.codecs import Codec, Int4, Int8
from edgerec.model.device_model import DeviceModel
from edgerec.model.table import Table
from edgerec.testing import example_models
from edgerec_onnx import OnnxTarget, packed, tiles

CODECS = [Int8(), Int8(symmetric=False), Int4(symmetric=True), Int4()]


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Divide small tables into several chunks and parts."""
    monkeypatch.setattr(tiles, "CHUNK", 2)
    monkeypatch.setattr(packed, "PART", 96)


def opposed(model: DeviceModel) -> DeviceModel:
    """Return a model with all scores below zero, which is the score of rows that fill a layout.

    All values of the past table are positive, and all values of the candidate table are negative.
    """
    signs = {"past": 1, "items": -1}
    tables = {
        name: Table.encode(signs[name] * (np.abs(table.decode()) + 0.1), table.codec)
        for name, table in model.tables.items()
    }
    return replace(model, tables=tables)


@pytest.mark.parametrize("codec", CODECS, ids=str)
@pytest.mark.parametrize("items", [1, 5, 31, 33, 63, 64, 65, 129, 383, 384, 385, 1000])
@pytest.mark.parametrize("kind", ["dot", "cosine"])
def test_rows_that_fill_a_layout_are_never_recommended(
    items: int, kind: str, codec: Codec, tmp_path: Path
) -> None:
    model = opposed(example_models(items, 16)["two-tables"])
    model = replace(model, head=replace(model.head, kind=kind)).with_codec(codec)
    bundle = export(model, "onnx", tmp_path / "x.edgerec", top_k=20)
    run = OnnxTarget().load(bundle)
    history = np.full(model.history_length, -1, np.int32)
    history[-1] = 0
    ids, scores, _ = run(history)
    assert len(ids) == min(items, 21)
    real = ids >= 0
    assert len(set(ids[real].tolist())) == real.sum() >= min(items - 1, 20)
    assert 0 not in ids
    assert ids.max() < items
    assert scores[real].max(initial=-1) < 0
    parity = measure_parity(run, Answers(model, sample_histories(model, 50), min(items, 20)))
    assert parity.overlap == 1
    assert parity.score_error < MAX_SCORE_ERROR


@pytest.mark.parametrize("codec", CODECS, ids=str)
def test_a_table_is_in_the_payload_once(codec: Codec, tmp_path: Path) -> None:
    model = example_models(1000, 16)["sum"].with_codec(codec, ["items"])
    bundle = export(model, "onnx", tmp_path / "x.edgerec", top_k=20)
    graph = onnx.load_from_string(bundle.read("model.onnx"))
    outside = [t for t in graph.graph.initializer if t.external_data]
    files = {entry.value for t in outside for entry in t.external_data if entry.key == "location"}
    assert files == set(bundle.payload) - {"model.onnx", "score.onnx"}
    # int4 is scanned in parts and int8 is summed in chunks; each is a range of the same file.
    parts = [t.name for t in outside if t.name.startswith("items.codes[")]
    assert len(parts) == {"int8": 8, "int4": 11}[codec.name]
    # Only a few rows fill the last tile, chunk or group.
    size = sum(bundle.container.nbytes(f"payload/{file}") for file in files)
    assert size <= model.table_bytes * 1024 / 1000


@pytest.mark.parametrize("kind", ["a column far from 0", "clusters"])
def test_tables_on_which_rounding_the_user_matters(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The number of tiles that a plain margin proposes would not contain all of the best rows."""
    monkeypatch.undo()
    rng, n, width = np.random.default_rng(0), 131_073, 64
    matrix = rng.standard_normal((n, width), np.float32)
    if kind == "clusters":
        matrix = rng.standard_normal((200, width), np.float32)[rng.integers(0, 200, n)] + (
            matrix * np.float32(0.01)
        )
    else:
        matrix[:, 0] = 20 + 0.1 * matrix[:, 0]
    model = example_models(n, width)["two-tables"]
    table = Table.encode(matrix, Int8())
    model = replace(model, tables={"past": table, "items": table})
    bundle = export(model, "onnx", tmp_path / "x.edgerec", top_k=20)
    parity = measure_parity(
        OnnxTarget().load(bundle), Answers(model, sample_histories(model, 200, 1), 20)
    )
    assert parity.overlap >= 0.9995


@pytest.mark.parametrize("kind", ["u is 0", "few rows share a column with u"])
def test_ties_are_not_all_scored_again(kind: str, tmp_path: Path) -> None:
    rng, n, width = np.random.default_rng(0), 20_000, 16
    matrix = rng.standard_normal((n, width), np.float32)
    matrix[10:, :8] = 0  # only a few rows, the history among them, have values here
    matrix[:10, 8:] = 0
    model = example_models(n, width)["two-tables"]
    table = Table.encode(matrix, Int8())
    model = replace(model, tables={"past": table, "items": table})
    bundle = export(model, "onnx", tmp_path / "x.edgerec", top_k=20)
    # The same graph, with the scores that it computes in float as an additional output.
    graph = onnx.load_from_string(bundle.read("model.onnx"))
    tops = [node.input[0] for node in graph.graph.node if node.op_type == "TopK"]
    # They sort the history, maxima of tiles, their rows, past items with them, and what is unseen.
    assert len(tops) == 5
    scored = tops[2]
    graph.graph.output.append(onnx.helper.make_empty_tensor_value_info(scored))
    for part in bundle.payload:
        if not part.endswith(".onnx"):
            bundle.extract(part, tmp_path / part)
    (tmp_path / "y.onnx").write_bytes(graph.SerializeToString())
    session = onnxruntime.InferenceSession(str(tmp_path / "y.onnx"))
    history = np.full(5, -1, np.int32) if kind == "u is 0" else np.arange(5, dtype=np.int32)
    scores = session.run([scored], {"history": history})[0]
    assert scores.size < 3000
