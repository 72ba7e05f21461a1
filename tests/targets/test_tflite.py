"""Tests specific to tflite: the file's buffers, both runtimes, and refusals."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgerec.errors import RuntimeMissingError, TargetError
from edgerec.exporting.export import export
from edgerec.model.codecs import Codec, Fp16, Fp32, Int4, Int8
from edgerec.model.device_model import DeviceModel
from edgerec.model.oracle import Oracle
from edgerec.plugin import Signature, check_size, top_k
from edgerec.testing import example_models
from edgerec.testing.models import adverse_models
from edgerec_pq.codec import PQ
from edgerec_prune.sparse import Sparse
from edgerec_tflite import MAX_TABLE_BYTES, RUNTIMES, TFLiteTarget
from edgerec_tflite.lower import check
from edgerec_tflite.tflite_file import buffers

CODECS = [Fp32(), Fp16(), Int8(), Int8(symmetric=False), Int4(), Int4(symmetric=True)]


def coded(codec: Codec, items: int = 2000, width: int = 32) -> DeviceModel:
    """Return a model with one tied table in a codec, and another table of one float per row."""
    return example_models(items, width)["sum"].with_codec(codec, ["items"])


def lowered(model: DeviceModel) -> bytes:
    content = TFLiteTarget().lower(model, Signature(len(model.items), model.history_length, 20))[
        "model.tflite"
    ]
    assert isinstance(content, bytes)
    return content


@pytest.mark.parametrize("codec", CODECS, ids=str)
def test_each_array_of_a_table_is_one_buffer(codec: Codec) -> None:
    model = coded(codec)
    stored = buffers(lowered(model))
    for table in model.tables.values():
        for array in table.arrays.values():
            assert sum(b.tobytes() == array.tobytes() for b in stored) == 1


@pytest.mark.parametrize("codec", CODECS, ids=str)
def test_the_graph_adds_little_to_the_tables(codec: Codec) -> None:
    model = coded(codec)
    assert len(lowered(model)) <= model.table_bytes + 20_000


def test_buffers_are_aligned_as_the_format_guarantees() -> None:
    content = lowered(coded(Int8()))
    start = np.frombuffer(content, np.uint8).ctypes.data
    assert {(b.ctypes.data - start) % 16 for b in buffers(content)} == {0}


def test_a_file_without_the_codecs_bytes_is_an_error() -> None:
    model = coded(Int8())
    content = lowered(model)
    with pytest.raises(TargetError, match=r"does not hold int8\[2000, 16\] of table 'items'"):
        check(content, coded(Int8(), width=16))
    check_size("tflite", len(content), model, 15_000)
    with pytest.raises(TargetError, match=r"tflite: expected at most .* bytes, got .*"):
        check_size("tflite", len(content) + model.table_bytes, model, 15_000)


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("codec", CODECS, ids=str)
def test_padding_is_not_read(runtime: str, codec: Codec, tmp_path: Path) -> None:
    pytest.importorskip(RUNTIMES[runtime])
    bundle = export(coded(codec, 500), "tflite", tmp_path / "x.edgerec", top_k=20)
    run = TFLiteTarget().load(bundle, runtime)
    history, weights = np.full(30, -1, np.int32), np.zeros(30, np.float32)
    history[-1], weights[-1] = 7, 1
    ids, scores, user = run(history, weights)
    assert (ids.dtype, scores.dtype, ids.shape) == (np.int32, np.float32, (50,))
    weights[:-1] = 1000
    for one, again in zip((ids, scores, user), run(history, weights), strict=True):
        assert np.array_equal(one, again)
    none, zeros, user = run(np.full(30, -1, np.int32), np.zeros(30, np.float32))
    assert len(np.unique(none)) == 50
    assert not zeros.any()
    assert not user.any()


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("items", [4000, 4001, 4003])
def test_groups_and_the_rows_outside_all_groups(runtime: str, items: int, tmp_path: Path) -> None:
    pytest.importorskip(RUNTIMES[runtime])
    # 4000 rows form whole groups; the last row of 4001 and the last three of 4003 are in none.
    model = coded(Int8(), items)
    bundle = export(model, "tflite", tmp_path / "x.edgerec", top_k=20)
    run, oracle = TFLiteTarget().load(bundle, runtime), Oracle(model)
    for row in (0, items // 2, items - 1):
        history, weights = oracle.pad([row])
        exact = oracle.logits(oracle.encode(history[None], weights[None]))[0]
        exact[row] = -np.inf
        given, ones = np.full(30, -1, np.int32), np.ones(30, np.float32)
        given[-1] = row
        ids, scores, _ = run(given, ones)
        assert set(ids[:20].tolist()) == set(top_k(exact, 20)[0].tolist())
        real = ids >= 0
        assert np.allclose(scores[real], exact[ids[real]], rtol=1e-4)
        assert row not in ids


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_the_named_signature(runtime: str) -> None:
    module = pytest.importorskip(f"{RUNTIMES[runtime]}.interpreter")
    interpreter = module.Interpreter(model_content=lowered(coded(Int8())))
    assert interpreter.get_signature_list() == {
        "serving_default": {"inputs": ["history", "weights"], "outputs": ["ids", "scores", "user"]},
        "score": {"inputs": ["history", "rows", "weights"], "outputs": ["scores"]},
    }
    runner = interpreter.get_signature_runner("serving_default")
    out = runner(history=np.full(30, -1, np.int32), weights=np.zeros(30, np.float32))
    assert out["ids"].shape == out["scores"].shape == (50,)
    assert out["user"].shape == (32,)


def test_a_missing_runtime_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = export(coded(Int8()), "tflite", tmp_path / "x.edgerec")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert TFLiteTarget().runtimes() == []
    for runtime in (None, *RUNTIMES):
        with pytest.raises(RuntimeMissingError, match="pip install ai-edge-litert"):
            TFLiteTarget().load(bundle, runtime)


def test_refusals() -> None:
    assert TFLiteTarget().refuse(coded(Fp32(), 300)) == []
    assert TFLiteTarget().refuse(adverse_models()["situated"]) == []
    assert TFLiteTarget().refuse(coded(PQ(), 300)) == []
    assert TFLiteTarget().refuse(coded(Sparse(), 300)) == []


def test_a_model_beyond_two_gigabytes_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DeviceModel, "table_bytes", MAX_TABLE_BYTES + 1)
    (reason,) = TFLiteTarget().refuse(example_models(100)["sum"])
    assert reason.startswith("the tables have 2,146,435,073 bytes")
