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

#: What a traced op reads: a value, or a number or tensor that is the same for every user.
Operand = Value | Tensor | float


class Builder:
    """An encoder under construction."""

    def __init__(self) -> None:
        self.ops: list[Op] = []
        self.constants: dict[str, F32] = {}
        self._known: dict[tuple[Shape, bytes], str] = {}

    def op(
        self, kind: str, inputs: Sequence[str], attributes: Mapping[str, Any] | None = None
    ) -> str:
        """Add an op; return the name of its output."""
        name = f"v{len(self.ops)}"
        self.ops.append(Op(kind, tuple(inputs), name, dict(attributes or {})))
        return name

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
        axes = self._axes(shape, [t for t in tensors if isinstance(t, Value)])
        names = [self._laid_out(t, shape, axes) for t in tensors]
        return Value(self.op(kind, names, attributes), shape, axes)

    def matrix(self, operand: Value | Tensor, rows: int, columns: int) -> str:
        """The name of an operand whose given axes are the height and the width of a matrix."""
        shape = tuple(operand.shape)
        if isinstance(operand, Tensor):
            array = operand.detach().movedim((rows, columns), (-2, -1))
            return self.constant(array.reshape(shape[rows], shape[columns]).float().numpy())
        return self._turned(operand, (rows, columns))

    def spread(self, value: Value, shape: Shape) -> Value:
        """Repeat a value along axes of length 1."""
        if tuple(value.shape) == shape:
            return value
        return self.pointwise("Mul", value, torch.ones(shape))

    def _axes(self, shape: Shape, values: Sequence[Value]) -> Axes:
        """The axes of a result: those of its operands, and any other long axis for what is free."""
        long = large(shape)
        if len(long) > 2:
            raise ModelError(
                f"a tensor of shape {[*shape]} has more axes than a history and a width"
            )
        found: list[int | None] = [None, None]
        for value in values:
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
        high, wide = (1 if axis is None else operand.shape[axis] for axis in own)
        order = [axis for axis in own if axis is not None]
        array = (
            operand.detach()
            .float()
            .permute([a for a in range(operand.dim()) if a not in order] + order)
        )
        return self.constant(array.reshape(high, wide).numpy())

    def _turned(self, value: Value, axes: Sequence[int | None]) -> str:
        """The name of a value with the given axes as its height and its width."""
        for which, axis in enumerate(value.axes):
            if axis is not None and value.shape[axis] != 1 and axes[which] != axis:
                return self.op("Transpose", [value.name])
        return value.name
