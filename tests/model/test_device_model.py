"""DeviceModel, its ops, and its two interpreters held equal."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from edgerec.contracts.opening import load_model
from edgerec.errors import BundleError, ModelError
from edgerec.exporting.proof import sample_histories
from edgerec.model.codecs import Fp32, Int8
from edgerec.model.device_model import DeviceModel, Head
from edgerec.model.history import pad_history
from edgerec.model.items import _STRIDE, Items
from edgerec.model.model_file import save_model
from edgerec.model.ops import OPS, Op
from edgerec.model.oracle import Oracle, top_k
from edgerec.model.table import Table
from edgerec.testing import example_models
from edgerec.training.torch_model import TorchModel

NAMES = ["sum", "two-tables", "dense", "attention", "transformer"]


def padded(model: DeviceModel, count: int = 20) -> tuple[np.ndarray, np.ndarray]:
    rows = sample_histories(model, count)
    pairs = [pad_history(r, model.history_length, model.normalization) for r in rows]
    return np.stack([h for h, _ in pairs]), np.stack([w for _, w in pairs])


def test_examples_use_every_op(models: dict[str, DeviceModel]) -> None:
    used = {op.kind for model in models.values() for op in model.encoder}
    assert used == set(OPS)


@pytest.mark.parametrize("name", NAMES)
def test_twin_equals_oracle(models: dict[str, DeviceModel], name: str) -> None:
    model = models[name]
    history, weights = padded(model)
    oracle, torch_model = Oracle(model), TorchModel(model)
    user = oracle.encode(history, weights)
    with torch.no_grad():
        twin_user = torch_model(torch.from_numpy(history).long(), torch.from_numpy(weights))
        twin_logits = torch_model.logits(twin_user).numpy()
    assert np.allclose(twin_user.numpy(), user, rtol=1e-4, atol=1e-6)
    assert np.allclose(twin_logits, oracle.logits(user), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_the_twin_has_gradients_everywhere(models: dict[str, DeviceModel], name: str) -> None:
    torch_model = TorchModel(models[name])
    history, weights = padded(models[name])
    user = torch_model(torch.from_numpy(history).long(), torch.from_numpy(weights))
    torch_model.logits(user).square().sum().backward()
    assert all(p.grad is not None and bool(p.grad.any()) for p in torch_model.parameters())


@pytest.mark.parametrize("name", NAMES)
def test_padding_changes_nothing(models: dict[str, DeviceModel], name: str) -> None:
    model = models[name]
    history, weights = pad_history(np.array([5, 9]), model.history_length, model.normalization)
    user = Oracle(model).encode(history[None], weights[None])
    # Padding reads row 0, whose numbers must not matter, nor must the length of the padding.
    odd = {}
    for table_name, table in model.tables.items():
        rows = table.decode().copy()
        rows[0] = 50
        odd[table_name] = table.replace(rows)
    other = Oracle(model.replace(tables=odd)).encode(history[None], weights[None])
    assert np.allclose(other, user, atol=1e-5)
    short = Oracle(model).encode(history[None, :2], weights[None, :2])
    assert np.allclose(short, user, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_saved_models_come_back_bit_for_bit(
    models: dict[str, DeviceModel], name: str, tmp_path: Path
) -> None:
    model = models[name].with_codec(Int8())
    save_model(model, tmp_path / "m.model")
    loaded = load_model(tmp_path / "m.model")
    assert loaded.encoder == model.encoder
    assert loaded.head == model.head
    assert list(loaded.items.ids) == list(model.items.ids)
    for key, table in model.tables.items():
        assert np.array_equal(loaded.tables[key].decode(), table.decode())


def test_loading_something_else_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "m.model").write_text("no")
    with pytest.raises(BundleError, match="not an edgerec file"):
        load_model(tmp_path / "m.model")


@pytest.mark.parametrize("n", [1, 60, 5000])
@pytest.mark.parametrize("k", [1, 7, 134])
def test_top_k_is_a_stable_sort(n: int, k: int) -> None:
    for scores in (np.random.default_rng(0).normal(size=n), np.arange(n) % 3, np.zeros(n)):
        rows, found = top_k(scores.astype(np.float32), k)
        expected = np.argsort(-scores, kind="stable")[:k]
        assert np.array_equal(rows, expected)
        assert np.array_equal(found, scores[expected].astype(np.float32))


def test_top_k_prefers_lower_rows_among_equals() -> None:
    rows, scores = top_k(np.array([1, 3, 2, 3, 2, 2], np.float32), 4)
    assert rows.tolist() == [1, 3, 2, 4]
    assert scores.tolist() == [3, 3, 2, 2]


@pytest.mark.parametrize("count", [1, _STRIDE, _STRIDE + 1, 1000])
def test_find_knows_every_id_and_no_other(count: int) -> None:
    ids = [str(i * i) for i in range(count)]  # not in the order of their bytes
    items = Items.of(ids)
    assert [items.find(i) for i in ids] == list(range(count))
    assert [items.find(i) for i in ("", "2", "00", "999999999", "é")] == [None] * 5


def test_take_keeps_rows_titles_and_popularity() -> None:
    model = example_models(20)["sum"]
    part = model.take(np.array([7, 3, 11]))
    assert list(part.items.ids) == ["i00007", "i00003", "i00011"]
    assert part.popular.tolist() == [1, 0, 2]
    assert np.array_equal(part.tables["items"].decode(), model.tables["items"].decode()[[7, 3, 11]])
    assert part.items.find("i00003") == 1
    assert part.items.find("i00004") is None


def build(**changes: object) -> DeviceModel:
    rng = np.random.default_rng(0)
    parts = {
        "items": Items.of(range(4)),
        "tables": {"items": Table.encode(rng.normal(size=(4, 2)).astype(np.float32), Fp32())},
        "encoder": (
            Op("Gather", ("items", "history"), "rows"),
            Op("ReduceSum", ("rows",), "user"),
        ),
        "head": Head("items"),
        "history_length": 3,
    }
    return DeviceModel(**{**parts, **changes})  # type: ignore[arg-type]  # wrong on purpose


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"history_length": 0}, "history_length: expected 1 to 16,384, got 0"),
        ({"head": Head("nope")}, "head.table: no table 'nope'; tables: items"),
        ({"items": Items.of(range(5))}, "tables.items: 4 rows for 5 items"),
        ({"constants": {"w": np.zeros(2, np.float32)}}, "constants.w: expected a float32 matrix"),
        ({"constants": {"mask": np.zeros((1, 1), np.float32)}}, "'mask' is a built-in value"),
        ({"encoder": (Op("Relu", ("nope",), "user"),)}, "Relu reads 'nope'"),
        ({"encoder": (Op("Gather", ("items", "history"), "user"),)}, "'user' should be \\[1, 2\\]"),
        ({"popular": np.array([9], np.int32)}, "popular: a row is outside"),
    ],
)
def test_parts_that_do_not_fit(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        build(**changes)


def test_ops_check_themselves() -> None:
    with pytest.raises(ModelError, match="unknown op 'Conv'"):
        Op("Conv", ("a",), "b")
    with pytest.raises(ModelError, match="Mul takes 2 inputs, got 1"):
        Op("Mul", ("a",), "b")
    with pytest.raises(ModelError, match="Relu has no attribute alpha"):
        Op("Relu", ("a",), "b", {"alpha": 1.0})


def test_items_refuse_a_repeated_id() -> None:
    with pytest.raises(ModelError, match="id 'x' occurs twice"):
        Items.of(["x", "y", "x"])


def test_which_encoders_are_linear(models: dict[str, DeviceModel]) -> None:
    linear = {name for name, model in models.items() if model.is_linear}
    assert linear == {"sum", "two-tables"}
    squared = (
        Op("Gather", ("items", "history"), "rows"),
        Op("Mul", ("rows", "rows"), "squares"),
        Op("ReduceSum", ("squares",), "user"),
    )
    assert not build(encoder=squared).is_linear


def test_a_linear_model_does_not_see_a_rotation(models: dict[str, DeviceModel]) -> None:
    model = models["two-tables"]
    rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(16, 16)))[0].astype(np.float32)
    turned = model.replace(
        tables={n: t.replace(t.decode() @ rotation) for n, t in model.tables.items()}
    )
    history, weights = padded(model)
    before, after = (
        oracle.logits(oracle.encode(history, weights)) for oracle in (Oracle(model), Oracle(turned))
    )
    assert np.allclose(before, after, atol=1e-5)
