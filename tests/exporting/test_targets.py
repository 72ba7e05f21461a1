"""Every target meets the contract, and stores the codec's own bytes once."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edgerec.compression.chain import compress
from edgerec.contracts.bundle import Bundle
from edgerec.contracts.host import Host
from edgerec.contracts.signature import Signature
from edgerec.data.dataset import Dataset
from edgerec.data.matching import match_rows
from edgerec.errors import ModelError, RuntimeMissingError
from edgerec.exporting.answers import Answers, measure_parity
from edgerec.exporting.export import export
from edgerec.model.codecs import Codec, Fp16, Fp32, Int4, Int8
from edgerec.model.device_model import DeviceModel, Head
from edgerec.model.ops import Op
from edgerec.model.table import Table
from edgerec.testing import check_target, example_models
from edgerec.training.loop import train

TARGETS = ["numpy", "tflite", "onnx", "torchscript"]


@pytest.mark.parametrize("name", TARGETS)
def test_contract(name: str, tmp_path: Path) -> None:
    found = check_target(Host.installed().target(name), tmp_path)
    assert set(found.values()) == {"ok"}


@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.parametrize("family", ["lightgcn", "graphsage"])
def test_parity_on_real_histories(name: str, family: str, dataset: Dataset, tmp_path: Path) -> None:
    model = compress(train(dataset, model=family, epochs=2, dim=16).to_device_model(), "quantize")
    bundle = export(model, name, tmp_path / "x.edgerec", top_k=20)
    rows, _ = match_rows(model, dataset)
    histories = [rows[h] for h in dataset.train.lists()]
    target = Host.installed().target(name)
    for runtime in target.runtimes():
        parity = measure_parity(target.load(bundle, runtime), Answers(model, histories, 20))
        assert parity.overlap >= 0.999, (runtime, parity)
        assert parity.score_error <= 1e-4, (runtime, parity)


def as_stored(codec: str, target: str) -> Callable[[np.ndarray], np.ndarray]:
    """Return the function that lays out a codec's own integers as a target stores them."""
    if target == "onnx":
        return tiled if codec == "int8" else (lambda codes: codes ^ 0x88)
    return lambda codes: codes


def tiled(codes: np.ndarray) -> np.ndarray:
    """Arrange tiles of 64 rows side by side; the last tile is filled with zeros."""
    padded = np.pad(codes, ((0, -len(codes) % 64), (0, 0)))
    return padded.reshape(-1, 64, codes.shape[1]).swapaxes(1, 2)


@pytest.mark.parametrize("codec", [Int8(), Int4(symmetric=True)], ids=lambda c: c.name)
@pytest.mark.parametrize("name", TARGETS)
def test_the_codecs_own_bytes_are_stored_once(name: str, codec: Codec) -> None:
    model = example_models(2000, 32)["sum"].with_codec(codec, ["items"])
    target = Host.installed().target(name)
    if target.refuse(model):
        pytest.skip(f"{name} refuses {codec.name}")
    payload = target.lower(model, Signature(2000, model.history_length, 20))
    content = b"".join(p if isinstance(p, bytes) else p.tobytes() for p in payload.values())
    codes = as_stored(codec.name, name)(model.tables["items"].arrays["codes"])
    assert content.count(np.ascontiguousarray(codes).tobytes()) == 1
    assert len(content) <= 1.02 * model.table_bytes + 64 * 1024


@pytest.mark.parametrize("codec", [Fp32(), Fp16(), Int8(), Int4()], ids=lambda c: c.name)
@pytest.mark.parametrize("name", TARGETS)
def test_padding_and_order(name: str, codec: Codec, tmp_path: Path) -> None:
    model = example_models(300)["two-tables"].with_codec(codec)
    target = Host.installed().target(name)
    if target.refuse(model):
        pytest.skip(f"{name} refuses {codec.name}")
    bundle = export(model, name, tmp_path / "x.edgerec", top_k=20)
    run = target.load(bundle)
    history = np.full(30, -1, np.int32)
    history[-2:] = 7, 8
    ids, scores, user = run(history)
    assert (ids.dtype, scores.dtype, user.dtype) == (np.int32, np.float32, np.float32)
    signature = bundle.signature
    assert (signature.version, signature.returned_for(2), signature.returned) == (2, 22, 50)
    assert 22 <= len(ids) == len(scores) <= 50
    real = ids >= 0
    assert not {7, 8} & set(ids.tolist())
    assert real.sum() >= 20
    assert np.all(ids[real.sum() :] == -1)
    assert not scores[~real].any()
    assert np.all(np.diff(scores[real]) <= 0)
    assert user.shape == (model.width,)
    # Padding is where the history is negative, wherever that is.
    for other in (np.where(history < 0, -9, history), np.roll(history, 5), history[::-1].copy()):
        for one, again in zip((ids, scores, user), run(other.astype(np.int32)), strict=True):
            assert np.allclose(one[:20], again[:20], rtol=1e-5)


@pytest.mark.parametrize("name", TARGETS)
def test_a_constant_row_for_each_position_of_the_history(name: str, tmp_path: Path) -> None:
    model = example_models(300)["sum"]
    places = np.linspace(0, 1, model.history_length, dtype=np.float32)[:, None]
    placed = model.replace(
        constants={"places": places},
        encoder=(
            Op("Gather", ("items", "history"), "rows"),
            Op("Mul", ("rows", "places"), "placed"),
            Op("Mul", ("placed", "weights"), "weighted"),
            Op("ReduceSum", ("weighted",), "user"),
        ),
    )
    assert model.takes_any_length
    assert not placed.takes_any_length
    bundle = export(placed, name, tmp_path / "x.edgerec", top_k=20)  # includes the proof
    history, weights = np.full(30, -1, np.int32), np.zeros(30, np.float32)
    history[-2:], weights[-2:] = [7, 8], [1, 0.5]
    ids, _, _ = Host.installed().target(name).load(bundle)(history, weights)
    assert len(ids) == bundle.signature.returned


#: Encoders over ``rows`` in which padding changes the result, and in which it does not.
CHANGES = {
    "a bias before the sum": [
        Op("Mul", ("rows", "weights"), "weighted"),
        Op("Gemm", ("weighted", "w", "b"), "dense"),
        Op("Relu", ("dense",), "h"),
        Op("ReduceSum", ("h",), "user"),
    ],
    "sigmoid": [
        Op("Mul", ("rows", "weights"), "weighted"),
        Op("Sigmoid", ("weighted",), "h"),
        Op("ReduceSum", ("h",), "user"),
    ],
    "softmax without mask": [
        Op("Softmax", ("weights",), "shares"),
        Op("Mul", ("rows", "shares"), "weighted"),
        Op("Mul", ("weighted", "weights"), "h"),
        Op("ReduceSum", ("h",), "user"),
    ],
}
DOES_NOT_CHANGE = {
    "weighted last": [
        Op("Gemm", ("rows", "w", "b"), "dense"),
        Op("Mul", ("weights", "dense"), "h"),
        Op("ReduceSum", ("h",), "user"),
    ],
    "softmax with mask": [
        Op("MatMul", ("rows", "q"), "raw"),
        Op("LeakyRelu", ("raw",), "bent"),
        Op("Add", ("bent", "mask"), "masked"),
        Op("Softmax", ("masked",), "shares"),
        Op("Mul", ("rows", "shares"), "h"),
        Op("ReduceSum", ("h",), "user"),
    ],
    "ops that keep zeros": [
        Op("Mul", ("rows", "weights"), "weighted"),
        Op("MatMul", ("weighted", "w"), "a"),
        Op("Tanh", ("a",), "b2"),
        Op("LpNormalization", ("b2",), "c"),
        Op("Add", ("c", "weighted"), "h"),
        Op("ReduceSum", ("h",), "summed"),
        Op("Gemm", ("summed", "w", "b"), "user"),
    ],
}


@pytest.mark.parametrize("case", [*CHANGES, *DOES_NOT_CHANGE])
@pytest.mark.parametrize("name", TARGETS)
def test_encoders_whose_result_padding_may_change(name: str, case: str, tmp_path: Path) -> None:
    rng, base = np.random.default_rng(0), example_models(300)["sum"]
    d = base.width
    given = {
        "w": rng.normal(size=(d, d)).astype(np.float32),
        "b": rng.normal(size=(1, d)).astype(np.float32),
        "q": rng.normal(size=(d, 1)).astype(np.float32),
    }
    ops = (Op("Gather", ("items", "history"), "rows"), *(CHANGES | DOES_NOT_CHANGE)[case])
    used = {name for op in ops for name in op.inputs}
    model = base.replace(encoder=ops, constants={k: c for k, c in given.items() if k in used})
    assert model.takes_any_length == (case in DOES_NOT_CHANGE)
    export(model, name, tmp_path / "x.edgerec", top_k=20)  # includes the proof


@pytest.mark.parametrize("shift", [-12, -20, -200])
@pytest.mark.parametrize("name", TARGETS)
def test_small_probabilities(name: str, shift: float, tmp_path: Path) -> None:
    """A sigmoid head keeps its order and precision for very small probabilities."""
    base = example_models(2000)["sum"]
    rows = base.tables["items"].decode() * np.float32(0.2)
    rows[:, 0] = 1
    keep, bias = np.eye(base.width, dtype=np.float32), np.zeros((1, base.width), np.float32)
    keep[0, 0], bias[0, 0] = 0, shift
    ops = (
        Op("Gather", ("items", "history"), "rows"),
        Op("Mul", ("rows", "weights"), "weighted"),
        Op("ReduceSum", ("weighted",), "summed"),
        Op("Gemm", ("summed", "keep", "bias"), "user"),
    )
    model = base.replace(
        tables={"items": Table.encode(rows, Fp32())},
        encoder=ops,
        constants={"keep": keep, "bias": bias},
        head=Head("items", "sigmoid"),
    )
    export(model, name, tmp_path / "x.edgerec", top_k=20)  # includes the proof


@pytest.mark.parametrize("name", TARGETS)
def test_names_that_a_runtime_may_reject(name: str, tmp_path: Path) -> None:
    model = example_models(300)["dense"]
    new = {"w1": "conv1.weight", "w2": "factor", "past": "a.b-c"}
    ops = tuple(
        Op(op.kind, tuple(new.get(i, i) for i in op.inputs), op.output) for op in model.encoder
    )
    constants = {new.get(key, key): constant for key, constant in model.constants.items()}
    tables = {new.get(key, key): table for key, table in model.tables.items()}
    renamed = model.replace(encoder=ops, constants=constants, tables=tables)
    export(renamed, name, tmp_path / "x.edgerec", top_k=20)
    with pytest.raises(ModelError, match="tables: expected a name of letters, digits"):
        model.replace(tables=model.tables | {"a/b": model.tables["past"]})


@pytest.mark.parametrize("items", [5003, 5120])
@pytest.mark.parametrize("name", TARGETS)
def test_a_search_by_groups_finds_the_best_rows(name: str, items: int, tmp_path: Path) -> None:
    model = example_models(items)
    check_target(Host.installed().target(name), tmp_path, {k: model[k] for k in ("sum", "dense")})


@pytest.mark.parametrize("name", TARGETS)
def test_a_small_catalogue_is_returned_completely(name: str, tmp_path: Path) -> None:
    model = example_models(40)["sum"].with_codec(Int8(), ["items"])
    bundle = export(model, name, tmp_path / "x.edgerec", top_k=50)
    assert bundle.signature.returned == 40


@pytest.mark.parametrize("name", TARGETS)
def test_int4_of_any_width(name: str, tmp_path: Path) -> None:
    """MatMulNBits needs blocks of 16, and rows of other widths are decoded."""
    model = example_models(300, 24)["sum"].with_codec(Int4(), ["items"])
    export(model, name, tmp_path / "x.edgerec", top_k=20)  # includes the proof


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("tflite", "pip install ai-edge-litert or tflite-runtime"),
        ("onnx", "pip install onnxruntime"),
        ("torchscript", "pip install torch"),
    ],
)
def test_a_missing_runtime(
    name: str,
    hint: str,
    models: dict[str, DeviceModel],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bundle = export(models["sum"], name, tmp_path / "x.edgerec")
    target = Host.installed().target(name)
    with pytest.raises(RuntimeMissingError, match=hint):
        target.load(bundle, "another")
    monkeypatch.setattr(type(target), "runtimes", lambda self: [])
    with pytest.raises(RuntimeMissingError, match=hint):
        target.load(bundle)


def test_exporting_without_a_runtime_is_an_error(
    models: dict[str, DeviceModel], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(Host.installed().target("onnx")), "runtimes", lambda self: [])
    with pytest.raises(RuntimeMissingError, match="onnx: none of its runtimes is installed"):
        export(models["sum"], "onnx", tmp_path / "x.edgerec")


def test_a_bundle_contains_titles_and_ids(dataset: Dataset, tmp_path: Path) -> None:
    model = train(dataset, epochs=1, dim=8).to_device_model()
    bundle = export(model, "numpy", tmp_path / "x.edgerec")
    opened = Bundle.open(bundle.path)
    assert list(opened.items.ids) == list(dataset.items.ids)
    assert opened.items.title(3) == dataset.items.title(3)
    assert dataclasses.astuple(opened.signature) == (len(dataset.items), 200, 50, 2, {})
