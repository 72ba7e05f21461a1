"""Values of a traced graph: tensors of any rank that are a matrix of (history, width) inside."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Axes", "Shape", "Value", "large", "reshaped"]

#: The shape of a tensor.
Shape = tuple[int, ...]

#: The places of the history and of the width among the axes of a tensor; none if it lacks one.
Axes = tuple[int | None, int | None]


@dataclass(frozen=True)
class Value:
    """A tensor that depends on the user.

    All axes besides those two have length 1.

    Args:
        name: the name of the value [height, width] in the encoder.
        shape: the tensor's shape.
        axes: the places of its history and its width.
    """

    name: str
    shape: Shape
    axes: Axes

    @property
    def size(self) -> tuple[int, int]:
        """The shape [height, width] of the value in the encoder."""
        high, wide = (1 if axis is None else self.shape[axis] for axis in self.axes)
        return high, wide

    def moved(self, shape: Sequence[int], places: dict[int, int]) -> Value:
        """The same numbers under another shape; ``places`` maps old axes to new ones."""
        high, wide = (None if axis is None else places.get(axis) for axis in self.axes)
        return Value(self.name, tuple(shape), (high, wide))


def large(shape: Shape) -> list[int]:
    """The axes that are longer than 1."""
    return [axis for axis, length in enumerate(shape) if length != 1]


def reshaped(value: Value, shape: Sequence[int]) -> Value | None:
    """A value under a shape that only adds or removes axes of length 1; None if it does more."""
    known = math.prod(length for length in shape if length != -1)
    full = tuple(math.prod(value.shape) // known if n == -1 else n for n in shape)
    before, after = large(value.shape), large(full)
    if [value.shape[a] for a in before] != [full[a] for a in after]:
        return None
    return value.moved(full, dict(zip(before, after, strict=True)))
