"""Rules of sums, maxima, normalizations and matrix products."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from edgerec.errors import ModelError
from edgerec.importing.builder import Builder, Operand
from edgerec.importing.pointwise import maximum
from edgerec.importing.rules import rule
from edgerec.importing.values import Value

__all__ = ["axes_of"]


@rule("sum", "mean", "amax")
def _reduce(
    builder: Builder, x: Value, dims: Any = None, keepdim: bool = False, *, _name: str, **_: Any
) -> Value:
    kind = {"sum": "ReduceSum", "mean": "ReduceMean", "amax": "ReduceMax"}[_name]
    rank = len(x.shape)
    reduced = axes_of(dims, rank)
    if any(map(x.repeats, reduced)):
        x = builder.stored(x)
    name = x.name
    for which, axis in enumerate(x.axes):
        if axis in reduced:
            name = builder.op(kind, [name], {"axis": which})
    shape = [1 if axis in reduced else length for axis, length in enumerate(x.shape)]
    kept = Value(name, tuple(shape), x.axes)
    if keepdim:
        return kept
    left = [axis for axis in range(rank) if axis not in reduced]
    return kept.moved([shape[axis] for axis in left], {axis: i for i, axis in enumerate(left)})


@rule("linalg_vector_norm")
def _norm(
    builder: Builder, x: Value, order: float = 2, dims: Any = None, keepdim: bool = False, **_: Any
) -> Value:
    if order != 2:
        raise ModelError(f"linalg_vector_norm: only the order 2 can be lowered, got {order}")
    square = builder.pointwise("Mul", x, x)
    return builder.pointwise("Sqrt", _reduce(builder, square, dims, keepdim, _name="sum"))


def axes_of(dims: Any, rank: int) -> set[int]:
    """The axes that a reduction names; all if it names none."""
    given = range(rank) if dims is None or dims == [] else [dims] if isinstance(dims, int) else dims
    return {axis % rank for axis in given}


@rule("max")
def _max(builder: Builder, x: Value, dim: Any = None, keepdim: bool = False, **_: Any) -> Any:
    if isinstance(dim, Value):
        return maximum(builder, x, dim)
    found = _reduce(builder, x, dim, keepdim, _name="amax")
    return found if dim is None else (found,)


@rule("var")
def _var(
    builder: Builder, x: Value, dims: Any = None, *, correction: float = 1, keepdim: bool = False
) -> Value:
    rest = builder.pointwise("Sub", x, _reduce(builder, x, dims, True, _name="mean"))
    square = builder.pointwise("Mul", rest, rest)
    mean = _reduce(builder, square, dims, keepdim, _name="mean")
    count = math.prod(x.shape) / math.prod(mean.shape)
    return builder.pointwise("Mul", mean, count / (count - correction))


@rule("_softmax")
def _softmax(builder: Builder, x: Value, dim: int, *_: Any, **__: Any) -> Value:
    axis = dim % len(x.shape)
    if x.repeats(axis):
        x = builder.stored(x)
    if axis not in x.axes:
        return builder.pointwise("Exp", builder.pointwise("Mul", x, 0.0))  # of one number, 1
    name = builder.op("Softmax", [x.name], {"axis": x.axes.index(axis)})
    return Value(name, x.shape, x.axes)


@rule("native_layer_norm")
def _layer_norm(
    builder: Builder, x: Value, sides: Sequence[int], weight: Any, bias: Any, epsilon: float
) -> tuple[Value]:
    last = len(x.shape) - 1
    if len(sides) != 1 or x.axes[1] != last:
        raise ModelError("layer_norm: only one along the width can be lowered")
    scale = torch.ones(*sides) if weight is None else weight
    shift = torch.zeros(*sides) if bias is None else bias
    names = [builder.constant(one.detach().reshape(1, -1).numpy()) for one in (scale, shift)]
    name = builder.op("LayerNormalization", [x.name, *names], {"epsilon": float(epsilon)})
    return (Value(name, x.shape, x.axes),)


@rule("_native_batch_norm_legit_no_training")
def _batch_norm(
    builder: Builder, x: Value, weight: Any, bias: Any, mean: Tensor, variance: Tensor, *rest: Any
) -> tuple[Value]:
    if len(x.shape) != 2:
        raise ModelError(f"batch_norm: expected a matrix, got the shape {[*x.shape]}")
    factor = (variance + rest[-1]).rsqrt() * (1 if weight is None else weight)
    shift = (0 if bias is None else bias) - mean * factor
    return (builder.pointwise("Add", builder.pointwise("Mul", x, factor), shift),)


@rule("mm", "bmm")
def _mm(builder: Builder, x: Operand, y: Operand, **_: Any) -> Value:
    shape = (*x.shape[:-1], y.shape[-1])  # type: ignore[union-attr]  # both are matrices
    if math.prod(shape[:-2]) != 1:
        raise ModelError(f"bmm: only a single matrix can be lowered, got the shape {[*shape]}")
    rank = len(shape)
    if isinstance(x, Value) and x.repeats(rank - 1):
        x = builder.stored(x)
    if isinstance(y, Value):
        y = builder.stored(y)
    once = isinstance(x, Value) and x.repeats(rank - 2)
    names = [builder.matrix(one, rank - 2, rank - 1) for one in (x, y)]  # type: ignore[arg-type]  # as above
    return Value(builder.op("MatMul", names), shape, (None if once else rank - 2, rank - 1))


@rule("addmm")
def _addmm(
    builder: Builder, bias: Operand, x: Operand, y: Operand, beta: float = 1, alpha: float = 1
) -> Value:
    if beta != 1 or alpha != 1:
        raise ModelError("addmm: only beta = alpha = 1 can be lowered")
    return builder.pointwise("Add", _mm(builder, x, y), bias)
