"""Values of a traced graph: tensors of any rank that are a matrix of (history, width) inside."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

__all__ = ["Axes", "Edges", "Heads", "Shape", "Value", "large", "reshaped"]

#: The shape of a tensor.
Shape = tuple[int, ...]

#: The places of the history and of the width among the axes of a tensor; none if it lacks one.
Axes = tuple[int | None, int | None]


@dataclass(frozen=True)
class Value:
    """A tensor that depends on the user.

    Any axis besides those two has length 1, or repeats the same numbers.

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

    def repeats(self, axis: int) -> bool:
        """Whether the same numbers are repeated along an axis, and stored once."""
        return self.shape[axis] != 1 and axis not in self.axes

    def moved(self, shape: Sequence[int], places: dict[int, int]) -> Value:
        """The same numbers under another shape; ``places`` maps old axes to new ones."""
        high, wide = (None if axis is None else places.get(axis) for axis in self.axes)
        return Value(self.name, tuple(shape), (high, wide))


@dataclass(frozen=True)
class Heads:
    """A tensor with a third axis, such as the heads of attention: one value per place on it.

    Args:
        parts: the values, of length 1 along the axis.
        axis: the axis.
    """

    parts: tuple[Value, ...]
    axis: int

    @property
    def shape(self) -> Shape:
        """The tensor's shape."""
        shape = self.parts[0].shape
        return (*shape[: self.axis], len(self.parts), *shape[self.axis + 1 :])


@dataclass(frozen=True)
class Edges:
    """The nodes that the edges of a star connect: edge e runs from past item e to the user.

    Args:
        shape: the tensor's shape.
        side: which of its nodes the tensor names; both in an ``edge_index``.
        loop: whether there is a last edge from the user to itself.
    """

    shape: Shape
    side: Literal["source", "target", "both"] = "both"
    loop: bool = False


def large(shape: Shape) -> list[int]:
    """The axes that are longer than 1."""
    return [axis for axis, length in enumerate(shape) if length != 1]


def reshaped(value: Value, shape: Sequence[int]) -> Value | None:
    """A value under a shape that only adds or removes axes of length 1; None if it does more."""
    before, after = large(value.shape), large(tuple(shape))
    if [value.shape[a] for a in before] != [shape[a] for a in after]:
        return None
    return value.moved(shape, dict(zip(before, after, strict=True)))
