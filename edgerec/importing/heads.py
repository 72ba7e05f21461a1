"""Lower ops on tensors with a third axis: what an op does happens to each part in turn."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from edgerec.errors import ModelError
from edgerec.importing.builder import Builder
from edgerec.importing.reductions import axes_of
from edgerec.importing.shapes import cat, new_shape, stretch
from edgerec.importing.values import Heads, Shape, Value, large, reshaped

__all__ = ["call", "flat", "solid"]


def flat(arguments: Any) -> Iterator[Any]:
    """The arguments of an op, those in lists included."""
    for one in arguments:
        if isinstance(one, list | tuple):
            yield from flat(one)
        else:
            yield one


def solid(builder: Builder, x: Value | Heads) -> Value:
    """The same tensor as a single value, if it has one axis besides that of its heads.

    Raises:
        ModelError: it has a history, heads and a width.
    """
    if isinstance(x, Value):
        return x
    if len(large(x.shape)) > 2:
        raise ModelError(f"a tensor of shape {[*x.shape]} has more axes than a history and a width")
    return cat(builder, list(x.parts), x.axis)


def call(
    name: str, rule: Callable[..., Any], builder: Builder, arguments: Any, options: dict[str, Any]
) -> Any:
    """Apply a rule to arguments with heads among them.

    Raises:
        ModelError: it mixes the heads in a way that cannot be lowered.
    """
    special = _SPECIAL.get(name)
    if special is not None and isinstance(arguments[0], Heads):
        options.pop("_name", None)
        found = special(builder, *arguments, **options)
    else:
        found = _each(rule, builder, arguments, options)
    return _settled(builder, found)


def _settled(builder: Builder, found: Any) -> Any:
    """The result, as a single value if each part is a single column."""
    if isinstance(found, list | tuple):
        return [_settled(builder, one) for one in found]
    narrow = isinstance(found, Heads) and {*large(found.parts[0].shape)} <= {found.parts[0].axes[0]}
    return solid(builder, found) if narrow else found


def _each(
    rule: Callable[..., Any], builder: Builder, arguments: Any, options: dict[str, Any]
) -> Any:
    """Apply a rule, which keeps axes where they are, to each part."""
    first = next(one for one in flat(arguments) if isinstance(one, Heads))
    back, count = first.axis - len(first.shape), len(first.parts)

    def part(one: Any, place: int) -> Any:
        if isinstance(one, list | tuple):
            return [part(inner, place) for inner in one]
        if isinstance(one, Heads):
            if one.axis - len(one.shape) != back or len(one.parts) != count:
                raise ModelError("tensors whose heads are on different axes cannot be combined")
            return one.parts[place]
        if not isinstance(one, Value | Tensor) or len(one.shape) < -back or one.shape[back] == 1:
            return one
        if isinstance(one, Value):
            return stretch(builder, one, len(one.shape) + back, place, place + 1)
        return one.narrow(back, place, 1)

    found = [rule(builder, *part(list(arguments), n), **options) for n in range(count)]
    if isinstance(found[0], Value):
        return Heads(tuple(found), len(found[0].shape) + back)
    if isinstance(found[0], Tensor):  # it depends on no user
        return torch.cat(found, found[0].dim() + back)
    return [Heads(parts, len(parts[0].shape) + back) for parts in zip(*found, strict=True)]


def _view(builder: Builder, x: Heads, shape: Shape) -> Value | Heads:
    shape = new_shape(x.shape, [shape], "view")
    count = len(x.parts)
    before, after = large(x.shape), large(shape)
    if [x.shape[a] for a in before] == [shape[a] for a in after]:
        place = after[before.index(x.axis)]
        one = tuple(1 if a == place else n for a, n in enumerate(shape))
        return Heads(tuple(_as(part, one) for part in x.parts), place)
    place = before.index(x.axis)
    lengths = [x.shape[a] for a in before]
    lengths[place : place + 2] = [count * length for length in lengths[place + 1 : place + 2]]
    if lengths != [shape[a] for a in after]:
        raise ModelError(f"view: from {[*x.shape]} to {[*shape]} mixes the history and the heads")
    return _as(cat(builder, list(x.parts), before[place + 1]), shape)


def _as(part: Value, shape: Shape) -> Value:
    found = reshaped(part, shape)
    if found is None:
        raise ModelError(f"view: from {[*part.shape]} to {[*shape]} mixes axes")
    return found


def _permute(builder: Builder, x: Heads, order: Sequence[int]) -> Heads:
    order = [axis % len(x.shape) for axis in order]
    places = {axis: place for place, axis in enumerate(order)}
    parts = [part.moved([part.shape[a] for a in order], places) for part in x.parts]
    return Heads(tuple(parts), order.index(x.axis))


def _expand(builder: Builder, x: Heads, sizes: Sequence[int], **_: Any) -> Heads:
    shift = len(sizes) - len(x.shape)
    own = [1] * shift + list(x.shape)
    shape = [n if size == -1 else size for size, n in zip(sizes, own, strict=True)]
    shape[x.axis + shift] = 1
    parts = []
    for part in x.parts:
        axes = range(len(part.shape))
        kept = {a: a + shift for a in axes if shape[a + shift] == part.shape[a]}
        parts.append(part.moved(shape, kept))
    return Heads(tuple(parts), x.axis + shift)


def _select(builder: Builder, x: Heads, dim: int, index: int) -> Value | Heads:
    axis = dim % len(x.shape)
    part = _slice(builder, x, axis, index % x.shape[axis], index % x.shape[axis] + 1)
    return _view(builder, part, tuple(n for a, n in enumerate(part.shape) if a != axis))


def _slice(
    builder: Builder, x: Heads, dim: int, start: int | None, end: int | None, step: int = 1
) -> Heads:
    axis = dim % len(x.shape)
    begin, stop, stride = slice(start, end, step).indices(x.shape[axis])
    if stride != 1 or begin >= stop:
        raise ModelError("slice: only a stretch of an axis can be lowered")
    if axis == x.axis:
        return Heads(x.parts[begin:stop], axis)
    return Heads(tuple(stretch(builder, one, axis, begin, stop) for one in x.parts), x.axis)


def _reduced(kind: str) -> Callable[..., Value | Heads]:
    """The rule of a sum, mean or maximum, over the heads as over the other axes."""

    def rule(
        builder: Builder, x: Heads, dims: Any = None, keepdim: bool = False, **_: Any
    ) -> Value | Heads:
        axes = axes_of(dims, len(x.shape))
        parts, where = list(x.parts), x.axis
        if x.axis in axes:
            parts = [functools.reduce(lambda a, b: builder.pointwise("Add", a, b), parts)]
            if kind == "mean":
                parts = [builder.pointwise("Mul", parts[0], 1 / len(x.parts))]
        for axis in axes - {x.axis}:
            parts = [_along(builder, one, axis, kind) for one in parts]
        if not keepdim:
            left = [a for a in range(len(x.shape)) if a not in axes]
            places = {a: i for i, a in enumerate(left)}
            parts = [one.moved([one.shape[a] for a in left], places) for one in parts]
            where = places.get(x.axis, 0)
        return parts[0] if x.axis in axes else Heads(tuple(parts), where)

    return rule


def _along(builder: Builder, part: Value, axis: int, kind: str) -> Value:
    """Reduce a part along an axis, which is kept with length 1."""
    part = builder.stored(part) if part.repeats(axis) else part
    if axis not in part.axes:
        return part
    op = {"sum": "ReduceSum", "mean": "ReduceMean", "amax": "ReduceMax"}[kind]
    name = builder.op(op, [part.name], {"axis": part.axes.index(axis)})
    shape = tuple(1 if a == axis else n for a, n in enumerate(part.shape))
    return Value(name, shape, part.axes)


#: The rules of ops that name axes, for tensors with heads.
_SPECIAL: dict[str, Callable[..., Any]] = {
    "view": _view,
    "unsqueeze": lambda b, x, *given: _view(b, x, new_shape(x.shape, given, "unsqueeze")),
    "squeeze": lambda b, x, *given: _view(b, x, new_shape(x.shape, given, "squeeze")),
    "permute": _permute,
    "expand": _expand,
    "select": _select,
    "slice": _slice,
    "sum": _reduced("sum"),
    "mean": _reduced("mean"),
}
