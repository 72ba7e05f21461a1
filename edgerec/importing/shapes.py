"""Rules of ops that move, repeat, cut and join numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from edgerec.errors import ModelError
from edgerec.importing.builder import Builder, Operand
from edgerec.importing.rules import rule
from edgerec.importing.values import Value, reshaped

__all__: list[str] = []


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
        return part.name if rank else builder.matrix(part, *axes)
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
def _split(builder: Builder, x: Value, sizes: Sequence[int], dim: int = 0) -> list[Value]:
    starts = [sum(sizes[:place]) for place in range(len(sizes))]
    return [
        _slice(builder, x, dim, start, start + size)
        for start, size in zip(starts, sizes, strict=True)
    ]
