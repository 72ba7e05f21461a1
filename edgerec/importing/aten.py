"""Lower the ops of a traced torch module to those of an encoder, one rule per ATen op."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from edgerec.errors import ModelError
from edgerec.importing.builder import Builder, Operand
from edgerec.importing.values import Value, reshaped

__all__ = ["RULES"]

#: A rule adds what an op computes to an encoder; it gets the op's arguments in order.
Rule = Callable[..., Any]
RULES: dict[str, Rule] = {}


def rule(*names: str) -> Callable[[Rule], Rule]:
    """Register a rule for the ATen ops of some names."""

    def register(function: Rule) -> Rule:
        RULES.update(dict.fromkeys(names, function))
        return function

    return register


def _simple(kind: str) -> Rule:
    return lambda builder, x, *_, **__: builder.pointwise(kind, x)


RULES |= {name: _simple(name.capitalize()) for name in ("exp", "sqrt", "relu", "sigmoid", "tanh")}


@rule("add", "sub", "mul", "div")
def _arithmetic(builder: Builder, x: Operand, y: Operand, *, alpha: float = 1, _name: str) -> Value:
    if alpha != 1:
        y = _scaled(builder, y, alpha)
    return builder.pointwise(_name.capitalize(), x, y)


def _scaled(builder: Builder, x: Operand, factor: float) -> Operand:
    if factor == 1:
        return x
    return builder.pointwise("Mul", x, factor) if isinstance(x, Value) else x * factor


@rule("neg")
def _neg(builder: Builder, x: Value) -> Value:
    return builder.pointwise("Mul", x, -1.0)


@rule("reciprocal")
def _reciprocal(builder: Builder, x: Value) -> Value:
    return builder.pointwise("Div", 1.0, x)


@rule("rsqrt")
def _rsqrt(builder: Builder, x: Value) -> Value:
    return builder.pointwise("Div", 1.0, builder.pointwise("Sqrt", x))


@rule("pow")
def _pow(builder: Builder, x: Operand, exponent: Operand) -> Value:
    if isinstance(x, Value) and exponent == 2:
        return builder.pointwise("Mul", x, x)
    if isinstance(x, Value) and exponent in (0.5, -0.5):
        root = builder.pointwise("Sqrt", x)
        return root if exponent == 0.5 else builder.pointwise("Div", 1.0, root)
    raise ModelError(f"pow: only the exponents 2, 0.5 and -0.5 can be lowered, got {exponent}")


@rule("abs")
def _abs(builder: Builder, x: Value) -> Value:
    minus = builder.pointwise("Relu", _neg(builder, x))
    return builder.pointwise("Add", builder.pointwise("Relu", x), minus)


@rule("leaky_relu")
def _leaky_relu(builder: Builder, x: Value, slope: float = 0.01) -> Value:
    return builder.pointwise("LeakyRelu", x, alpha=float(slope))


@rule("elu")
def _elu(builder: Builder, x: Value, alpha: float = 1, scale: float = 1, inner: float = 1) -> Value:
    if scale != 1 or inner != 1:
        raise ModelError("elu: only the plain form can be lowered, without scales")
    return builder.pointwise("Elu", x, alpha=float(alpha))


@rule("gelu")
def _gelu(builder: Builder, x: Value, approximate: str = "none") -> Value:
    if approximate != "none":
        raise ModelError(f"gelu: only the exact form can be lowered, not {approximate!r}")
    return builder.pointwise("Gelu", x)


@rule("maximum")
def _maximum(builder: Builder, x: Operand, y: Operand) -> Value:
    # max(x, y) = max(x - y, 0) + y
    rest = builder.pointwise("Relu", builder.pointwise("Sub", x, y))
    return builder.pointwise("Add", rest, y)


@rule("clamp")
def _clamp(builder: Builder, x: Value, low: Any = None, high: Any = None) -> Value:
    if low is not None:
        x = _maximum(builder, x, low)
    if high is not None:
        x = _neg(builder, _maximum(builder, _neg(builder, x), -high))
    return x


@rule("eq")
def _eq(builder: Builder, x: Operand, y: Operand) -> Value:
    return builder.pointwise("Equal", x, y)


@rule("ne")
def _ne(builder: Builder, x: Operand, y: Operand) -> Value:
    return builder.pointwise("Sub", 1.0, builder.pointwise("Equal", x, y))


@rule("logical_not", "bitwise_not")
def _not(builder: Builder, x: Value) -> Value:
    return builder.pointwise("Equal", x, 0.0)


@rule("where")
def _where(builder: Builder, condition: Operand, x: Operand, y: Operand) -> Value:
    return builder.pointwise("Where", condition, x, y)


@rule("sum", "mean", "amax")
def _reduce(
    builder: Builder, x: Value, dims: Any = None, keepdim: bool = False, *, _name: str, **_: Any
) -> Value:
    kind = {"sum": "ReduceSum", "mean": "ReduceMean", "amax": "ReduceMax"}[_name]
    rank = len(x.shape)
    given = range(rank) if dims is None or dims == [] else [dims] if isinstance(dims, int) else dims
    reduced = {axis % rank for axis in given}
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


@rule("max")
def _max(builder: Builder, x: Value, dim: Any = None, keepdim: bool = False, **_: Any) -> Any:
    if isinstance(dim, Value):
        return _maximum(builder, x, dim)
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
    names = [builder.matrix(one, rank - 2, rank - 1) for one in (x, y)]  # type: ignore[arg-type]  # as above
    return Value(builder.op("MatMul", names), shape, (rank - 2, rank - 1))


@rule("addmm")
def _addmm(
    builder: Builder, bias: Operand, x: Operand, y: Operand, beta: float = 1, alpha: float = 1
) -> Value:
    if beta != 1 or alpha != 1:
        raise ModelError("addmm: only beta = alpha = 1 can be lowered")
    return builder.pointwise("Add", _mm(builder, x, y), bias)


@rule("view", "squeeze", "unsqueeze")
def _view(builder: Builder, x: Value, *given: Any, _name: str) -> Value:
    shape = list(x.shape)
    if _name == "unsqueeze":
        shape.insert(given[0] % (len(shape) + 1), 1)
    elif _name == "squeeze":
        named = given[0] if given else range(len(shape))
        dims = {d % len(shape) for d in ([named] if isinstance(named, int) else named)}
        shape = [n for d, n in enumerate(shape) if d not in dims or n != 1]
    else:
        shape = list(given[0])
    found = reshaped(x, shape)
    if found is None:
        raise ModelError(
            f"{_name}: from {[*x.shape]} to {shape} mixes the history and the width, as several "
            "attention heads do; use one head, or one module per head"
        )
    return found


@rule("permute")
def _permute(builder: Builder, x: Value, order: Sequence[int]) -> Value:
    order = [axis % len(x.shape) for axis in order]
    return x.moved([x.shape[a] for a in order], {axis: i for i, axis in enumerate(order)})


@rule("clone", "alias", "_to_copy")
def _same(builder: Builder, x: Value, *_: Any, **__: Any) -> Value:
    return x


@rule("expand")
def _expand(builder: Builder, x: Value, sizes: Sequence[int], **_: Any) -> Value:
    own = [1] * (len(sizes) - len(x.shape)) + list(x.shape)
    shape = tuple(n if size == -1 else size for size, n in zip(sizes, own, strict=True))
    return builder.spread(x, shape)


@rule("cat")
def _cat(builder: Builder, parts: Sequence[Operand], dim: int = 0) -> Value:
    first = next(part for part in parts if isinstance(part, Value))
    if len(parts) == 1:
        return first
    axis = dim % len(first.shape)
    lengths: list[int] = [part.shape[axis] for part in parts]  # type: ignore[union-attr]  # none is a number
    total = sum(lengths)
    shape = tuple(total if a == axis else n for a, n in enumerate(first.shape))
    axes = list(first.axes)
    if axis not in axes:
        free = [which for which in (0, 1) if axes[which] is None or shape[axes[which] or 0] == 1]
        axes[free[-1]] = axis
    high, wide = axes
    at = len(shape) if None in axes else 0
    names = [_oriented(builder, part, (high, wide), at) for part in parts]
    return Value(builder.op("Concat", names, {"axis": axes.index(axis)}), shape, (high, wide))


def _oriented(builder: Builder, part: Operand, axes: Any, rank: int) -> str:
    """The name of a part to concatenate, with the axes of the result."""
    if isinstance(part, Value):
        part = Value(part.name, part.shape, part.axes)
        if rank:
            return part.name
        return builder.matrix(part, *axes)
    tensor = torch.as_tensor(part)
    if rank:
        return builder.constant(tensor.detach().float().reshape(1, -1).numpy())
    return builder.matrix(tensor, *axes)


@rule("slice")
def _slice(
    builder: Builder,
    x: Value,
    dim: int = 0,
    start: int | None = 0,
    end: int | None = None,
    step: int = 1,
) -> Value:
    axis = dim % len(x.shape)
    begin, stop, stride = slice(start, end, step).indices(x.shape[axis])
    if (begin, stop) == (0, x.shape[axis]) and stride == 1:
        return x
    if stride != 1 or axis not in x.axes:
        raise ModelError("slice: only a stretch of the history or of the width can be lowered")
    which, name = x.axes.index(axis), x.name
    ends = {"start": begin, "end": stop}
    if which == 0:
        name = builder.op("Transpose", [name])
    name = builder.op("Slice", [name], ends)
    if which == 0:
        name = builder.op("Transpose", [name])
    shape = tuple(stop - begin if a == axis else n for a, n in enumerate(x.shape))
    return Value(name, shape, x.axes)


@rule("select")
def _select(builder: Builder, x: Value, dim: int, index: int) -> Value:
    axis = dim % len(x.shape)
    place = index % x.shape[axis]
    part = _slice(builder, x, axis, place, place + 1)
    found = reshaped(part, [n for a, n in enumerate(part.shape) if a != axis])
    assert found is not None  # noqa: S101  # only an axis of length 1 is removed
    return found


@rule("split_with_sizes")
def _split(builder: Builder, x: Value, sizes: Any, dim: int = 0) -> list[Value]:
    length = x.shape[dim % len(x.shape)]
    if isinstance(sizes, int):
        sizes = [min(sizes, length - start) for start in range(0, length, sizes)]
    starts = [sum(sizes[:place]) for place in range(len(sizes))]
    return [
        _slice(builder, x, dim, start, start + size)
        for start, size in zip(starts, sizes, strict=True)
    ]
