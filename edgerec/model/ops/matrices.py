"""Ops that read tables, multiply matrices, and arrange columns and rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from edgerec.errors import ModelError
from edgerec.model.integers import F32
from edgerec.model.ops.rule import Attributes, Padding, Rule, Shape

__all__ = ["MATRICES", "Concat", "Gather", "Gemm", "MatMul", "Slice", "Transpose"]


class Gather(Rule):
    """Rows of a table for the history; inputs are a table and ``history``. Padding reads row 0."""

    kind = "Gather"
    inputs = 2

    def padding(self, given: Attributes, x: Sequence[Padding]) -> Padding | None:
        return Padding.ANY

    def numpy(self, given: Attributes, x: Sequence[F32]) -> F32:
        raise ModelError("encoder: Gather reads tables, which an interpreter does itself")


class MatMul(Rule):
    """x W, where W is a constant or another value."""

    kind = "MatMul"
    inputs = 2
    keeps_zeros = True

    def shape(self, given: Attributes, x: Sequence[Shape]) -> Shape:
        if x[0][1] != x[1][0]:
            raise self.misfit(x)
        return x[0][0], x[1][1]

    def padding(self, given: Attributes, x: Sequence[Padding]) -> Padding | None:
        return super().padding(given, x[:1]) if x[1] is Padding.NONE else None

    def keeps_columns(self, given: Attributes) -> bool:
        return False

    def products(self, given: Attributes, x: Sequence[Shape]) -> int:
        return x[0][0] * x[0][1] * x[1][1]

    def numpy(self, given: Attributes, x: Sequence[F32]) -> F32:
        found: F32 = x[0] @ x[1]
        return found


class Gemm(MatMul):
    """x W + b."""

    kind = "Gemm"
    inputs = 3
    keeps_zeros = False

    def shape(self, given: Attributes, x: Sequence[Shape]) -> Shape:
        if x[0][1] != x[1][0] or x[2] != (1, x[1][1]):
            raise self.misfit(x)
        return x[0][0], x[1][1]

    def numpy(self, given: Attributes, x: Sequence[F32]) -> F32:
        return super().numpy(given, x[:2]) + x[2]


class Concat(Rule):
    """Values side by side (axis 1), or one after the other (axis 0)."""

    kind = "Concat"
    inputs = -2
    attributes: ClassVar[Attributes] = {"axis": 1}

    def shape(self, given: Attributes, x: Sequence[Shape]) -> Shape:
        axis = int(given["axis"])
        if len({shape[1 - axis] for shape in x}) != 1:
            raise self.misfit(x)
        total = sum(shape[axis] for shape in x)
        return (x[0][0], total) if axis == 1 else (total, x[0][1])

    def padding(self, given: Attributes, x: Sequence[Padding]) -> Padding | None:
        tall = {one for one in x if one is not Padding.NONE}
        if len(tall) == 1 and (given["axis"] == 0 or Padding.NONE not in x):
            return tall.pop()
        return Padding.ANY if tall else Padding.NONE

    def keeps_columns(self, given: Attributes) -> bool:
        return given["axis"] == 0

    def numpy(self, given: Attributes, x: Sequence[F32]) -> F32:
        # A constant has no batch axis, so give it one.
        batch = np.broadcast_shapes(*(a.shape[:-2] for a in x))
        parts = [np.broadcast_to(a, (*batch, *a.shape[-2:])) for a in x]
        return np.concatenate(parts, axis=int(given["axis"]) - 2)


class Slice(Rule):
    """Columns from ``start`` up to, but not including, ``end``."""

    kind = "Slice"
    attributes: ClassVar[Attributes] = {"start": 0, "end": 1}

    def check(self, given: Attributes) -> None:
        start, end = given["start"], given["end"]
        if start != int(start) or end != int(end) or not 0 <= start < end:
            raise ModelError(
                f"encoder: Slice: expected integers with 0 ≤ start < end, got {start:g} and {end:g}"
            )

    def shape(self, given: Attributes, x: Sequence[Shape]) -> Shape:
        if given["end"] > x[0][1]:
            raise self.misfit(x)
        return x[0][0], int(given["end"]) - int(given["start"])

    def padding(self, given: Attributes, x: Sequence[Padding]) -> Padding | None:
        return x[0]

    def keeps_columns(self, given: Attributes) -> bool:
        return False

    def numpy(self, given: Attributes, x: Sequence[F32]) -> F32:
        return x[0][..., int(given["start"]) : int(given["end"])]


class Transpose(Rule):
    """Rows become columns."""

    kind = "Transpose"

    def shape(self, given: Attributes, x: Sequence[Shape]) -> Shape:
        return x[0][1], x[0][0]

    def padding(self, given: Attributes, x: Sequence[Padding]) -> Padding | None:
        return Padding.NONE if x[0] is Padding.NONE else None

    def keeps_columns(self, given: Attributes) -> bool:
        return False

    def numpy(self, given: Attributes, x: Sequence[F32]) -> F32:
        return np.swapaxes(x[0], -1, -2)


#: The rules of this module.
MATRICES: tuple[Rule, ...] = (Gather(), MatMul(), Gemm(), Concat(), Slice(), Transpose())
