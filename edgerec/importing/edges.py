"""Rules of message passing on a star: what is gathered and scattered along its edges.

A star is the user with one edge from each past item. Sources are the past items in order, so
gathering by source changes nothing, and every edge ends in the user, so scattering is a reduction
over the history without its padding. Where the user has an edge to itself, it is the last one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from edgerec.errors import ModelError
from edgerec.importing.builder import Builder, Operand
from edgerec.importing.rules import Rule, rule
from edgerec.importing.shapes import cat, new_shape, stretch
from edgerec.importing.values import Edges, Value

__all__ = ["DEGREE", "masked"]

#: The table of the degrees of items, [n, 1].
DEGREE = "degree"


def masked(builder: Builder, x: Value) -> Value:
    """On a star, a value with -1e9 added in padding, so that it may be exponentiated."""
    high = x.axes[0]
    if not builder.star or high is None or x.shape[high] < builder.length:
        return x
    mask = _per_edge(builder, "mask", 0.0, x.shape[high] > builder.length)
    return Value(builder.op("Add", [x.name, mask.name]), x.shape, x.axes)


@rule("unbind")
def _unbind(builder: Builder, x: Edges, dim: int = 0) -> list[Edges]:
    return [_select(builder, x, dim, place) for place in (0, 1)]


def _select(builder: Builder, x: Edges, dim: int, index: int) -> Edges:
    if x.side != "both" or dim % 2:
        raise ModelError("an edge of a star cannot be picked")
    return Edges(x.shape[1:], "target" if index % 2 else "source", x.loop)


def _slice(
    builder: Builder, x: Edges, dim: int = 0, start: int | None = 0, end: int | None = None
) -> Edges:
    begin, stop, _ = slice(start, end).indices(x.shape[dim])
    if (begin, stop) == (0, x.shape[dim]):
        return x
    if x.side != "both" or dim or stop - begin != 1:
        raise ModelError("an edge of a star cannot be picked")
    return Edges((1, *x.shape[1:]), "target" if begin else "source", x.loop)


def _view(builder: Builder, x: Edges, *given: Any, _name: str) -> Edges:
    return Edges(new_shape(x.shape, given, _name), x.side, x.loop)


def _expand(builder: Builder, x: Edges, sizes: Sequence[int], **_: Any) -> Edges:
    own = [1] * (len(sizes) - len(x.shape)) + list(x.shape)
    shape = tuple(n if size == -1 else size for size, n in zip(sizes, own, strict=True))
    return Edges(shape, x.side, x.loop)


def _same(builder: Builder, x: Edges, *_: Any, **__: Any) -> Edges:
    return x


def _with_loop(builder: Builder, parts: Sequence[Any], dim: int = 0) -> Edges:
    first, *rest = parts
    if not isinstance(first, Edges) or len(rest) != 1 or rest[0].shape[-1] != 1 or first.loop:
        raise ModelError("a star has edges from past items, and one from the user to itself")
    return Edges((*first.shape[:-1], first.shape[-1] + 1), first.side, True)


#: The rules of ops whose first argument names nodes.
ON_EDGES: dict[str, Rule] = {
    **dict.fromkeys(("view", "squeeze", "unsqueeze"), _view),
    **dict.fromkeys(("clone", "alias", "_to_copy", "detach"), _same),
    **{"expand": _expand, "select": _select, "slice": _slice, "unbind": _unbind, "cat": _with_loop},
}


@rule("index_select")
def _index_select(builder: Builder, x: Operand, dim: int, index: Edges) -> Any:
    """The rows of the nodes that edges start from or end in."""
    if not isinstance(index, Edges) or not isinstance(x, Value | Tensor) or dim % len(x.shape):
        raise ModelError("only the nodes of a star's edges can be selected")
    nodes, edges = x.shape[0], index.shape[0]
    if index.side == "source":
        return x[:edges] if isinstance(x, Tensor) else _sources(builder, x, edges)
    if isinstance(x, Tensor):
        return x[-1:].expand(edges, *x.shape[1:])
    user = stretch(builder, x, 0, nodes - 1, nodes)
    kept = {axis: axis for axis in range(1, len(x.shape))}
    return user.moved((edges, *x.shape[1:]), kept)


def _sources(builder: Builder, x: Value, edges: int) -> Value:
    if x.repeats(0):
        raise ModelError("items have no neighbors on a star, and what they receive is read")
    return stretch(builder, x, 0, 0, edges)


@rule("index")
def _index(builder: Builder, x: Operand, indices: Sequence[Edges]) -> Any:
    if len(indices) != 1:
        raise ModelError("index: only rows can be picked")
    return _index_select(builder, x, 0, indices[0])


@rule("gather")
def _gather(builder: Builder, x: Operand, dim: int, index: Edges, **_: Any) -> Any:
    return _index_select(builder, x, dim, Edges(index.shape[:1], index.side, index.loop))


@rule("scatter_add", "index_add")
def _scatter_add(builder: Builder, base: Any, dim: int, index: Edges, source: Operand) -> Value:
    return _scatter(builder, base, dim, index, source, "sum")


@rule("scatter_reduce")
def _scatter_reduce(
    builder: Builder,
    base: Any,
    dim: int,
    index: Edges,
    source: Operand,
    reduce: str,
    *,
    include_self: bool = True,
) -> Value:
    if include_self and reduce != "sum":
        raise ModelError(f"scatter_reduce: {reduce} with include_self cannot be lowered")
    return _scatter(builder, base, dim, index, source, reduce)


def _scatter(
    builder: Builder, base: Any, dim: int, index: Edges, source: Operand, reduce: str
) -> Value:
    """What nodes receive: the user from its edges, and any item the same, as nothing reads it."""
    if not isinstance(base, Tensor) or base.any() or not isinstance(index, Edges) or dim:
        raise ModelError("scatter: only along the edges of a star into zeros can be lowered")
    if isinstance(source, Tensor):
        return _degrees(builder, base, index, source)
    if index.side == "source":
        raise ModelError("scatter: a star has no edges from the user to items")
    if not isinstance(source, Value) or reduce not in ("sum", "mean", "amax", "amin"):
        raise ModelError(f"scatter_reduce: {reduce} cannot be lowered")
    sign = -1.0 if reduce == "amin" else 1.0
    if sign < 0:
        source = builder.pointwise("Mul", source, sign)
    shape = tuple(base.shape)
    low = reduce in ("amax", "amin")
    edge = _per_edge(builder, "mask" if low else "present", 0.0 if low else 1.0, index.loop)
    wide = Value(edge.name, (edge.shape[0], *[1] * (len(shape) - 1)), (0, None))
    heard = builder.pointwise("Add" if low else "Mul", source, wide)
    width = next((a for a in heard.axes if a not in (None, 0)), None)
    name = builder.matrix(heard, 0, width) if width else builder.matrix(heard, 0, -1)
    name = builder.op("ReduceMax" if low else "ReduceSum", [name], {"axis": 0})
    found = Value(name, shape, (None, width))
    if reduce == "mean":
        count = _count(builder, index.loop)
        return builder.pointwise("Div", found, count.moved([1] * len(shape), {}))
    return builder.pointwise("Mul", found, sign) if sign < 0 else found


def _degrees(builder: Builder, base: Tensor, index: Edges, source: Tensor) -> Value:
    """The sum of a constant over the edges of each node: its degree times the constant."""
    number = float(source.flatten()[0])
    if (source != number).any():
        raise ModelError("scatter: edges of different constant weights cannot be lowered")
    loop = 1.0 if index.loop else 0.0
    found = _count(builder, index.loop)
    if base.shape[0] > 1:
        items = Value(builder.op("Gather", (DEGREE, "history")), (base.shape[0] - 1, 1), (0, None))
        items = builder.pointwise("Add", items, loop) if loop else items
        found = cat(builder, [items, found])
    elif index.side == "source":
        raise ModelError("scatter: the degrees of items are not known here")
    if number != 1:
        found = builder.pointwise("Mul", found, number)
    axes = 0 if base.shape[0] > 1 else None
    return Value(found.name, tuple(base.shape), (axes, None))


def _count(builder: Builder, loop: bool) -> Value:
    """The number of the user's edges, [1, 1]."""
    count = Value("count", (1, 1), (None, None))
    return builder.pointwise("Add", count, 1.0) if loop else count


def _per_edge(builder: Builder, name: str, of_loop: float, loop: bool) -> Value:
    """A value per edge, [E, 1]."""
    value = Value(name, (builder.length, 1), (0, None))
    return cat(builder, [value, torch.full((1, 1), of_loop)]) if loop else value
