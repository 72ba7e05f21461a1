"""Build an encoder out of values: name ops and constants, and bring operands into one layout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from edgerec.errors import ModelError
from edgerec.importing.values import Axes, Shape, Value, large
from edgerec.model.integers import F32
from edgerec.model.ops import Op

__all__ = ["Builder", "Operand"]

#: The built-in values that have a single row.
_ONCE = ("count", "user_vector", "context")

#: What a traced op reads: a value, or a number or tensor that is the same for every user.
Operand = Value | Tensor | float


class Builder:
    """An encoder under construction.

    Args:
        length: H, the number of rows of a history.
        widths: of tables, and of the inputs that users have.
        star: whether what is traced passes messages on a star (see ``edges.py``).
    """

    def __init__(self, length: int, widths: Mapping[str, int], *, star: bool = False) -> None:
        self.length, self.widths, self.star = length, dict(widths), star
        self.ops: list[Op] = []
        self.constants: dict[str, F32] = {}
        self._known: dict[Any, str] = {}
        self._made: dict[str, Op] = {}
        self._shapes: dict[str, tuple[int, int]] = {}

    def op(
        self, kind: str, inputs: Sequence[str], attributes: Mapping[str, Any] | None = None
    ) -> str:
        """Add an op, unless it is there already; return the name of its output."""
        key = kind, tuple(inputs), tuple((attributes or {}).items())
        if key not in self._known:
            self._known[key] = name = f"v{len(self.ops)}"
            self._made[name] = made = Op(kind, tuple(inputs), name, dict(attributes or {}))
            self._shapes[name] = (
                (self.length, self.widths[inputs[0]])
                if kind == "Gather"
                else made.rule.shape(made.given, [self.shape(one) for one in inputs])
            )
            self.ops.append(made)
        return self._known[key]

    def rows(self, name: str, start: int, end: int) -> str:
        """The name of some rows of a value, computed from the same rows of what it is made of."""
        high = self.shape(name)[0]
        if high == 1 or (start, end) == (0, high):
            return name
        if name in self.constants:
            return self.constant(self.constants[name][start:end])
        op = self._made.get(name)
        if op is not None and op.kind == "Concat" and op.given["axis"] == 0:
            at = 0
            for part in op.inputs:
                tall = self.shape(part)[0]
                if at <= start and end <= at + tall:
                    return self.rows(part, start - at, end - at)
                at += tall
        elif op is not None and _is_by_row(op):
            products = op.kind in ("MatMul", "Gemm")
            inputs = [
                one if products and place else self.rows(one, start, end)
                for place, one in enumerate(op.inputs)
            ]
            return self.op(op.kind, inputs, op.given)
        turned = self.op("Transpose", [name])
        return self.op("Transpose", [self.op("Slice", [turned], {"start": start, "end": end})])

    def shape(self, name: str) -> tuple[int, int]:
        """The shape [height, width] of a value."""
        if name in self.constants:
            high, wide = self.constants[name].shape
            return high, wide
        if name in self._shapes:
            return self._shapes[name]
        return (1 if name in _ONCE else self.length), self.widths.get(name, 1)

    def constant(self, array: Any) -> str:
        """Store a matrix once; return its name."""
        matrix = np.ascontiguousarray(array, np.float32)
        key = matrix.shape, matrix.tobytes()
        if key not in self._known:
            self._known[key] = name = f"c{len(self.constants)}"
            self.constants[name] = matrix
        return self._known[key]

    def pointwise(self, kind: str, *operands: Operand, **attributes: Any) -> Value:
        """Add an op that broadcasts its inputs, of which at least one is a value.

        Raises:
            ModelError: the result has more axes than a history and a width.
        """
        tensors = [torch.as_tensor(o) if not isinstance(o, Value) else o for o in operands]
        shape = tuple(torch.broadcast_shapes(*(tuple(t.shape) for t in tensors)))  # type: ignore[no-untyped-call]  # torch leaves it untyped
        axes = self._axes(shape, tensors)
        if kind == "Mul" and any(isinstance(t, Tensor) and bool((t == 1).all()) for t in tensors):
            (value,) = (t for t in tensors if isinstance(t, Value))
            shift = len(shape) - len(value.shape)
            return value.moved(shape, {a: a + shift for a in value.axes if a is not None})
        names = [self._laid_out(t, shape, axes) for t in tensors]
        return Value(self.op(kind, names, attributes), shape, axes)

    def matrix(self, operand: Value | Tensor, rows: int, columns: int) -> str:
        """The name of an operand whose given axes are the height and the width of a matrix."""
        shape = tuple(operand.shape)
        if isinstance(operand, Tensor):
            array = operand.detach().movedim((rows, columns), (-2, -1))
            return self.constant(array.reshape(shape[rows], shape[columns]).float().numpy())
        return self._turned(operand, (rows, columns))

    def stored(self, value: Value) -> Value:
        """The same value with no axis that is only repeated."""
        axes = [*value.axes]
        for axis in filter(value.repeats, range(len(value.shape))):
            free = [n for n in (0, 1) if axes[n] is None or value.shape[axes[n] or 0] == 1]
            if not free:
                raise ModelError(
                    f"a tensor of shape {[*value.shape]} has more axes than a history and a width"
                )
            axes[free[0]] = axis
        if tuple(axes) == value.axes:
            return value
        high, wide = (1 if axis is None else value.shape[axis] for axis in axes)
        ones = self.constant(np.ones((high, wide)))
        return Value(self.op("Mul", [value.name, ones]), value.shape, (axes[0], axes[1]))

    def _axes(self, shape: Shape, operands: Sequence[Value | Tensor]) -> Axes:
        """The axes of a result: those of its operands, and any other long axis for what is free."""
        long = [a for a in large(shape) if any(_varies(o, a - len(shape)) for o in operands)]
        if len(long) > 2:
            raise ModelError(
                f"a tensor of shape {[*shape]} has more axes than a history and a width"
            )
        found: list[int | None] = [None, None]
        for value in operands:
            if isinstance(value, Tensor):
                continue
            shift = len(shape) - len(value.shape)
            for which, axis in enumerate(value.axes):
                taken = None if axis is None else axis + shift
                if taken in long and taken not in found and found[which] is None:
                    found[which] = taken
        for axis in long:
            if axis not in found:
                found[found.index(None)] = axis
        return found[0], found[1]

    def _laid_out(self, operand: Value | Tensor, shape: Shape, axes: Axes) -> str:
        """The name of an operand whose height and width are where those of the result are."""
        shift = len(shape) - len(operand.shape)
        own = tuple(None if axis is None or axis < shift else axis - shift for axis in axes)
        if isinstance(operand, Value):
            return self._turned(operand, own)
        array = operand.detach().float()
        for axis in range(operand.dim()):
            if not _varies(operand, axis - operand.dim()):
                array = array.narrow(axis, 0, 1)
        high, wide = (1 if axis is None else array.shape[axis] for axis in own)
        order = [axis for axis in own if axis is not None]
        array = array.permute([a for a in range(array.dim()) if a not in order] + order)
        return self.constant(array.reshape(high, wide).numpy())

    def _turned(self, value: Value, axes: Sequence[int | None]) -> str:
        """The name of a value with the given axes as its height and its width."""
        for which, axis in enumerate(value.axes):
            if axis is not None and value.shape[axis] != 1 and axes[which] != axis:
                return self.op("Transpose", [value.name])
        return value.name


def _is_by_row(op: Op) -> bool:
    """Whether each row of an op's result is made of the same row of its inputs."""
    reads = op.kind in ("Gather", "Transpose") or op.given.get("axis") == 0
    return not reads


def _varies(operand: Value | Tensor, back: int) -> bool:
    """Whether the numbers of an operand differ along an axis, counted from the last."""
    axis = back + len(operand.shape)
    if axis < 0 or operand.shape[axis] == 1:
        return False
    if isinstance(operand, Value):
        return not operand.repeats(axis)
    return bool((operand != operand.narrow(axis, 0, 1)).any())
