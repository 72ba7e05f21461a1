"""Ops: their shapes, attributes and padding, and the page that lists them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgerec.errors import ModelError
from edgerec.exporting.capabilities import op_model
from edgerec.model.codecs import Fp32, Int8
from edgerec.model.device_model import DeviceModel
from edgerec.model.history import pad_history
from edgerec.model.ops import OPS, Op, counts_padding
from edgerec.model.ops.page import markdown
from edgerec.model.oracle import Oracle, numpy_rule, sigmoid
from edgerec.model.table import Table

PAGE = Path(__file__).parents[2] / "docs" / "ops.md"


def test_the_page_lists_every_op() -> None:
    assert PAGE.read_text("utf-8").endswith(markdown())
    assert markdown().count("\n") == len(OPS) + 2


@pytest.mark.parametrize(
    ("op", "message"),
    [
        (("Softmax", ("x",), "y", {"axis": 2}), "axis: expected 0, the history, or 1"),
        (("Concat", ("x", "x"), "y", {"axis": 0.5}), "axis: expected 0, the history, or 1"),
        (("Slice", ("x",), "y", {"start": 3, "end": 3}), "0 ≤ start < end, got 3 and 3"),
        (("Slice", ("x",), "y", {"end": 1.5}), "expected integers"),
        (("LayerNormalization", ("x", "x", "x"), "y", {"epsilon": 0}), "epsilon: expected more"),
        (("Relu", ("x",), "y", {"alpha": 1}), "Relu has no attribute alpha"),
        (("Elu", ("x",), "y", {"alpha": True}), "alpha: expected a finite number, got True"),
        (("Elu", ("x",), "y", {"alpha": float("nan")}), "alpha: expected a finite number"),
        (("Where", ("x", "x"), "y"), "Where takes 3 inputs, got 2"),
        (("Concat", ("x",), "y"), "Concat takes at least 2 inputs, got 1"),
        (("Swish", ("x",), "y"), "unknown op 'Swish'; ops: Gather"),
    ],
)
def test_ops_that_are_refused(op: tuple[Any, ...], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        Op(*op)


@pytest.mark.parametrize(
    ("op", "shapes"),
    [
        (Op("Slice", ("x",), "y", {"end": 17}), [(1, 16)]),
        (Op("MatMul", ("a", "b"), "y"), [(1, 16), (15, 2)]),
        (Op("Gemm", ("a", "b", "c"), "y"), [(1, 16), (16, 2), (1, 3)]),
        (Op("Sub", ("a", "b"), "y"), [(3, 16), (2, 16)]),
        (Op("Where", ("a", "b", "c"), "y"), [(1, 16), (1, 1), (1, 8)]),
        (Op("Concat", ("a", "b"), "y"), [(2, 16), (1, 16)]),
        (Op("Concat", ("a", "b"), "y", {"axis": 0}), [(2, 16), (2, 15)]),
        (Op("LayerNormalization", ("a", "b", "c"), "y"), [(2, 16), (1, 16), (1, 1)]),
    ],
)
def test_shapes_that_do_not_fit(op: Op, shapes: list[tuple[int, int]]) -> None:
    with pytest.raises(ModelError, match=rf"{op.kind} of shapes .* that do not fit"):
        op.rule.shape(op.given, shapes)


@pytest.mark.parametrize("kind", [kind for kind in OPS if kind != "Gather"])
def test_shapes_are_those_of_the_numbers(kind: str) -> None:
    model = op_model(kind, Fp32())
    (op,) = [op for op in model.encoder if op.kind == kind][:1]
    shapes = [model.shapes()[name] for name in op.inputs]
    for batch in ((), (2,)):
        x = [np.full((*batch, *shape), 0.5, np.float32) for shape in shapes]
        found = numpy_rule(op, x)
        assert found.shape == (*batch, *model.shapes()[op.output])
        assert found.dtype == np.float32


def test_gelu_and_elu_are_exact() -> None:
    x = np.linspace(-5, 5, 101, dtype=np.float32)[:, None]
    torch = pytest.importorskip("torch")
    gelu = torch.nn.functional.gelu(torch.from_numpy(x)).numpy()
    assert np.abs(numpy_rule(Op("Gelu", ("x",), "y"), [x]) - gelu).max() < 1e-6
    elu = torch.nn.functional.elu(torch.from_numpy(x), 0.3).numpy()
    assert np.abs(numpy_rule(Op("Elu", ("x",), "y", {"alpha": 0.3}), [x]) - elu).max() < 1e-6


def over(*ops: Op) -> bool:
    """Whether padding takes part in ops over rows of a table."""
    return counts_padding((Op("Gather", ("items", "history"), "rows"), *ops))


def test_padding_is_followed_through_ops() -> None:
    mask = Op("Add", ("rows", "mask"), "low")
    kept = Op("Mul", ("rows", "present"), "kept")
    for ops in (
        (mask, Op("ReduceMax", ("low",), "y")),
        (mask, Op("Softmax", ("low",), "share"), Op("ReduceSum", ("share",), "y")),
        (mask, Op("Exp", ("low",), "exp"), Op("ReduceSum", ("exp",), "y")),
        (mask, Op("Slice", ("low",), "part"), Op("ReduceMax", ("part",), "y")),
        (kept, Op("ReduceSum", ("kept",), "sum"), Op("Div", ("sum", "count"), "y")),
        (kept, Op("Gelu", ("kept",), "g"), Op("ReduceSum", ("g",), "y")),
        (kept, Op("MatMul", ("kept", "w"), "m"), Op("ReduceSum", ("m",), "y")),
        (kept, Op("Div", ("kept", "count"), "d"), Op("ReduceSum", ("d",), "y")),
        (kept, Op("Concat", ("own", "kept"), "all", {"axis": 0}), Op("ReduceSum", ("all",), "y")),
        (Op("ReduceMean", ("rows",), "y", {"axis": 1}),),
        (Op("Softmax", ("rows",), "y", {"axis": 1}),),
    ):
        assert not over(*ops), ops
    for ops in (
        (Op("ReduceSum", ("rows",), "y"),),
        (Op("ReduceMax", ("rows",), "y"),),
        (kept, Op("ReduceMax", ("kept",), "y")),
        (kept, Op("ReduceMean", ("kept",), "y")),
        (mask, Op("ReduceSum", ("low",), "y")),
        (mask, Op("Sub", ("rows", "low"), "d"), Op("ReduceMax", ("d",), "y")),
        (kept, Op("Sigmoid", ("kept",), "s"), Op("ReduceSum", ("s",), "y")),
        (kept, Op("Exp", ("kept",), "e"), Op("ReduceSum", ("e",), "y")),
        (kept, Op("Gemm", ("kept", "w", "b"), "m"), Op("ReduceSum", ("m",), "y")),
        (kept, Op("Add", ("kept", "own"), "m"), Op("ReduceSum", ("m",), "y")),
        (kept, Op("Transpose", ("kept",), "y")),
        (Op("MatMul", ("own", "rows"), "y"),),
        (kept, Op("Equal", ("kept", "own"), "e"), Op("ReduceSum", ("e",), "y")),
        (kept, Op("Where", ("kept", "rows", "kept"), "w"), Op("ReduceSum", ("w",), "y")),
        (
            kept,
            Op("LayerNormalization", ("kept", "g", "b"), "n"),
            Op("ReduceSum", ("n",), "y"),
        ),
    ):
        assert over(*ops), ops


@pytest.mark.parametrize("kind", OPS)
def test_padding_changes_nothing_in_any_op(kind: str) -> None:
    model = op_model(kind, Int8())
    history, weights = pad_history(np.array([5, 9]), model.history_length, model.normalization)

    def user(changed: DeviceModel, length: int) -> Any:
        return Oracle(changed).encode(history[None, :length], weights[None, :length])

    rows = model.tables["items"].decode().copy()
    rows[0] = 7
    odd = model.replace(tables={"items": Table.encode(rows, Fp32())})
    plain = model.replace(tables={"items": Table.encode(model.tables["items"].decode(), Fp32())})
    assert np.allclose(user(odd, model.history_length), user(plain, model.history_length))
    assert np.allclose(user(plain, 2), user(plain, model.history_length), atol=1e-6)


def test_sigmoid_is_exact() -> None:
    x = np.linspace(-80, 80, 1601, dtype=np.float32)
    exact = 1 / (1 + np.exp(-x.astype(np.float64)))
    assert np.abs(sigmoid(x) / exact - 1).max() < 1e-6
