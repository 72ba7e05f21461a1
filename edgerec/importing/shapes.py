"""Rules of ops that move, repeat, cut and join numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch

from edgerec.errors import ModelError
from edgerec.importing.builder import Builder, Operand
from edgerec.importing.rules import rule
from edgerec.importing.values import Heads, Value, large, reshaped

__all__ = ["cat", "new_shape", "stretch", "view"]


@rule("view", "squeeze", "unsqueeze")
def _view(builder: Builder, x: Value, *given: Any, _name: str) -> Value | Heads:
    return view(builder, x, new_shape(x.shape, given, _name))


def new_shape(shape: Sequence[int], given: Sequence[Any], name: str) -> tuple[int, ...]:
    """The shape that view, squeeze or unsqueeze make of another."""
    rank = len(shape)
    if name == "unsqueeze":
        place = given[0] % (rank + 1)
        return (*shape[:place], 1, *shape[place:])
    if name == "squeeze":
        named = given[0] if given else range(rank)
        dims = {d % rank for d in ([named] if isinstance(named, int) else named)}
        return tuple(n for d, n in enumerate(shape) if d not in dims or n != 1)
    known = math.prod(length for length in given[0] if length != -1)
    return tuple(math.prod(shape) // known if n == -1 else n for n in given[0])


def view(builder: Builder, x: Value, shape: tuple[int, ...]) -> Value | Heads:
    """A value under another shape, which may divide its width among heads.

    Raises:
        ModelError: it mixes the history and the width.
    """
    found = reshaped(x, shape)
    if found is not None:
        return found
    before, after = large(x.shape), large(shape)
    for place, axis in enumerate(before):
        heads = after[place] if place < len(after) else None
        if axis != x.axes[1] or heads is None or place + 1 >= len(after):
            continue
        count, width = shape[heads], shape[after[place + 1]]
        lengths = [x.shape[a] for a in before]
        lengths[place : place + 1] = [count, width]
        if lengths == [shape[a] for a in after]:
            parts = [stretch(builder, x, axis, n * width, (n + 1) * width) for n in range(count)]
            one = (*shape[:heads], 1, *shape[heads + 1 :])
            made = [reshaped(part, one) for part in parts]
            return Heads(tuple(part for part in made if part is not None), heads)
    raise ModelError(f"view: from {[*x.shape]} to {[*shape]} mixes the history and the width")


@rule("permute")
def _permute(builder: Builder, x: Value, order: Sequence[int]) -> Value:
    order = [axis % len(x.shape) for axis in order]
    return x.moved([x.shape[a] for a in order], {axis: i for i, axis in enumerate(order)})


@rule("clone", "alias", "_to_copy", "detach")
def _same(builder: Builder, x: Value, *_: Any, **__: Any) -> Value:
    return x


@rule("full_like", "zeros_like", "ones_like", "new_zeros", "new_ones", "new_full")
def _filled(builder: Builder, x: Value, *given: Any, _name: str, **_: Any) -> torch.Tensor:
    """A tensor of one number; only its shape may come from a value."""
    number = 0.0 if "zeros" in _name else 1.0 if "ones" in _name else float(given[-1])
    return torch.full(given[0] if _name.startswith("new") else x.shape, number)


@rule("expand")
def _expand(builder: Builder, x: Value, sizes: Sequence[int], **_: Any) -> Value:
    shift = len(sizes) - len(x.shape)
    own = [1] * shift + list(x.shape)
    shape = [n if size == -1 else size for size, n in zip(sizes, own, strict=True)]
    # An axis of length 1 that is expanded holds nothing but repeated numbers.
    kept = {
        axis: axis + shift for axis in range(len(x.shape)) if shape[axis + shift] == x.shape[axis]
    }
    return x.moved(shape, kept)


@rule("cat")
def cat(builder: Builder, parts: Sequence[Operand], dim: int = 0) -> Value:
    """Values side by side, or one below the other."""
    parts = [
        builder.stored(part) if isinstance(part, Value) else part
        for part in parts
        if math.prod(part.shape)  # type: ignore[union-attr]  # none is a number
    ]
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
    names = [_oriented(builder, part, (high, wide), at, axis == high) for part in parts]
    return Value(builder.op("Concat", names, {"axis": axes.index(axis)}), shape, (high, wide))


def _oriented(builder: Builder, part: Operand, axes: Any, rank: int, below: bool) -> str:
    """The name of a part to concatenate, with the axes of the result."""
    if isinstance(part, Value):
        return part.name if rank else builder.matrix(part, *axes)
    tensor = torch.as_tensor(part)
    if rank:
        shape = (-1, 1) if below else (1, -1)
        return builder.constant(tensor.detach().float().reshape(shape).numpy())
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
    if stride != 1 or begin >= stop:
        raise ModelError("slice: only a stretch of the history or of the width can be lowered")
    return stretch(builder, x, axis, begin, stop)


def stretch(builder: Builder, x: Value, axis: int, start: int, end: int) -> Value:
    """A stretch of a value along an axis."""
    shape = tuple(end - start if a == axis else n for a, n in enumerate(x.shape))
    if axis not in x.axes or (start, end) == (0, x.shape[axis]):
        return Value(x.name, shape, x.axes)
    if axis == x.axes[0]:
        return Value(builder.rows(x.name, start, end), shape, x.axes)
    return Value(builder.op("Slice", [x.name], {"start": start, "end": end}), shape, x.axes)


@rule("select")
def _select(builder: Builder, x: Value, dim: int, index: int) -> Value:
    axis = dim % len(x.shape)
    place = index % x.shape[axis]
    part = stretch(builder, x, axis, place, place + 1)
    kept = [a for a in range(len(part.shape)) if a != axis]
    return part.moved([part.shape[a] for a in kept], {a: i for i, a in enumerate(kept)})


@rule("split_with_sizes")
def _split(builder: Builder, x: Value, sizes: Sequence[int], dim: int = 0) -> list[Value]:
    starts = [sum(sizes[:place]) for place in range(len(sizes))]
    return [
        stretch(builder, x, dim % len(x.shape), start, start + size)
        for start, size in zip(starts, sizes, strict=True)
    ]
