"""Rule: what an op takes, and what it makes of shapes, of padding and of numbers."""

from __future__ import annotations

import abc
import enum
from collections.abc import Mapping, Sequence
from typing import ClassVar

from edgerec.errors import ModelError
from edgerec.model.integers import F32

__all__ = ["MASKED", "Attributes", "Padding", "Rule", "Shape", "broadcast"]

#: The two axes of a value: (history or 1, width).
Shape = tuple[int, int]

#: The attributes of an op by name.
Attributes = Mapping[str, float]

#: Added to the values of padding before a maximum or a Softmax over the history.
MASKED = -1e9


class Padding(enum.Enum):
    """What a value has in the rows of padding."""

    #: It has no row per past item.
    NONE = "no such rows"
    ANY = "anything"
    ZERO = "zero"
    #: So low that neither a maximum nor a Softmax sees it.
    LOW = "low"


class Rule(abc.ABC):
    """How an op behaves. The first line of a subclass's docstring documents it."""

    kind: ClassVar[str]

    #: The number of inputs; -2 means two or more.
    inputs: ClassVar[int] = 1

    #: The attributes that it has, with their defaults.
    attributes: ClassVar[Attributes] = {}

    #: Whether zeros in give zeros out.
    keeps_zeros: ClassVar[bool] = False

    def check(self, given: Attributes) -> None:
        """Check the values of attributes.

        Raises:
            ModelError: one is out of range.
        """
        if "axis" in given and given["axis"] not in (0, 1):
            raise ModelError(
                f"encoder: {self.kind}: axis: expected 0, the history, or 1, the width, got "
                f"{given['axis']!r}"
            )

    def shape(self, given: Attributes, x: Sequence[Shape]) -> Shape:
        """The shape of the output.

        Raises:
            ModelError: the shapes of the inputs do not fit.
        """
        return x[0]

    def padding(self, given: Attributes, x: Sequence[Padding]) -> Padding | None:
        """What the output has in padding; None if padding takes part in something else."""
        if all(one is Padding.NONE for one in x):
            return Padding.NONE
        kept = self.keeps_zeros and all(one is Padding.ZERO for one in x)
        return Padding.ZERO if kept else Padding.ANY

    def keeps_columns(self, given: Attributes) -> bool:
        """Whether a column of the output is made of the same column of each input."""
        return True

    def products(self, given: Attributes, x: Sequence[Shape]) -> int:
        """The number of products, if it is a matrix product."""
        return 0

    @abc.abstractmethod
    def numpy(self, given: Attributes, x: Sequence[F32]) -> F32:
        """Compute the output of values whose last two axes are (history, width)."""

    def misfit(self, x: Sequence[Shape]) -> ModelError:
        """The error for shapes that do not fit."""
        return ModelError(f"{self.kind} of shapes {[*x]} that do not fit")


def broadcast(rule: Rule, x: Sequence[Shape]) -> Shape:
    """The common shape of values whose axes are equal or 1.

    Raises:
        ModelError: there is none.
    """
    axes = [{length for length in axis if length != 1} for axis in zip(*x, strict=True)]
    if any(len(lengths) > 1 for lengths in axes):
        raise rule.misfit(x)
    high, wide = (max(lengths, default=1) for lengths in axes)
    return high, wide
