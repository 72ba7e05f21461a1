"""Ops that compute along an axis: 0 is the history, 1 the width."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np

from edgerec.errors import ModelError
from edgerec.model.integers import F32
from edgerec.model.ops.rule import Attributes, Padding, Rule, Shape

__all__ = [
    "REDUCTIONS",
    "LayerNormalization",
    "LpNormalization",
    "ReduceMax",
    "ReduceMean",
    "ReduceSum",
    "Softmax",
    "normalize",
]


class _Along(Rule):
    """Something along an axis, which padding enters unless it has ``harmless`` values there."""

    attributes: ClassVar[Attributes] = {"axis": 0}
    harmless: ClassVar[Padding | None] = None

    def padding(self, given: Attributes, x: Sequence[Padding]) -> Padding | None:
        if given["axis"] == 1:
            return super().padding(given, x)
        return Padding.NONE if x[0] in (Padding.NONE, self.harmless) else None

    def keeps_columns(self, given: Attributes) -> bool:
        return given["axis"] == 0


class _Reduction(_Along):
    keeps_zeros = True

    #: numpy's own reduction.
    reduce: ClassVar[Callable[..., Any]]

    def shape(self, given: Attributes, x: Sequence[Shape]) -> Shape:
        return (1, x[0][1]) if given["axis"] == 0 else (x[0][0], 1)

    def numpy(self, given: Attributes, x: Sequence[F32]) -> F32:
        found: F32 = self.reduce(x[0], axis=_axis(given), keepdims=True)
        return found


class ReduceSum(_Reduction):
    """The sum over the history, or over the width."""

    kind = "ReduceSum"
    reduce = staticmethod(np.sum)
    harmless = Padding.ZERO


class ReduceMean(_Reduction):
    """The mean over the history, padding included, or over the width."""

    kind = "ReduceMean"
    reduce = staticmethod(np.mean)


class ReduceMax(_Reduction):
    """The greatest over the history (add ``mask`` before), or over the width."""

    kind = "ReduceMax"
    reduce = staticmethod(np.max)
    harmless = Padding.LOW


class Softmax(_Along):
    """exp(x) / Σ exp(x) over the history (add ``mask`` before), or over the width."""

    kind = "Softmax"
    harmless = Padding.LOW

    def padding(self, given: Attributes, x: Sequence[Padding]) -> Padding | None:
        found = super().padding(given, x)
        # What is harmless gets no share.
        masked = given["axis"] == 0 and x[0] is self.harmless
        return Padding.ZERO if masked else found

    def numpy(self, given: Attributes, x: Sequence[F32]) -> F32:
        axis = _axis(given)
        exp = np.exp(x[0] - x[0].max(axis=axis, keepdims=True))
        found: F32 = exp / exp.sum(axis=axis, keepdims=True)
        return found


class LpNormalization(Rule):
    """x / max(‖x‖₂, 1e-12), along the width."""

    kind = "LpNormalization"
    keeps_zeros = True

    def numpy(self, given: Attributes, x: Sequence[F32]) -> F32:
        return normalize(x[0])


class LayerNormalization(Rule):
    """(x - mean) / √(variance + epsilon) · scale + bias, along the width; inputs x, scale, bias."""

    kind = "LayerNormalization"
    inputs = 3
    attributes: ClassVar[Attributes] = {"epsilon": 1e-5}

    def check(self, given: Attributes) -> None:
        if not given["epsilon"] > 0:
            raise ModelError(
                f"encoder: {self.kind}: epsilon: expected more than 0, got {given['epsilon']:g}"
            )

    def shape(self, given: Attributes, x: Sequence[Shape]) -> Shape:
        if x[1] != (1, x[0][1]) or x[2] != (1, x[0][1]):
            raise self.misfit(x)
        return x[0]

    def numpy(self, given: Attributes, x: Sequence[F32]) -> F32:
        rest = x[0] - x[0].mean(axis=-1, keepdims=True)
        variance = np.square(rest).mean(axis=-1, keepdims=True)
        found: F32 = rest / np.sqrt(variance + np.float32(given["epsilon"])) * x[1] + x[2]
        return found


#: The rules of this module.
REDUCTIONS: tuple[Rule, ...] = (
    *(ReduceSum(), ReduceMean(), ReduceMax(), Softmax()),
    *(LpNormalization(), LayerNormalization()),
)


def normalize(x: F32) -> F32:
    """Scale the last axis to unit length; zeros stay zeros."""
    return x / np.maximum(np.linalg.norm(x, axis=-1, keepdims=True), np.float32(1e-12))


def _axis(given: Attributes) -> int:
    """The axis of an array, which may have a batch axis first."""
    return int(given["axis"]) - 2
