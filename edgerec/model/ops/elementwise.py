"""Ops that compute each number on its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from edgerec.model.integers import F32
from edgerec.model.ops.rule import Attributes, Padding, Rule, Shape, broadcast

__all__ = [
    "ELEMENTWISE",
    "Add",
    "Div",
    "Elu",
    "Equal",
    "Exp",
    "Gelu",
    "LeakyRelu",
    "Mul",
    "Relu",
    "Sigmoid",
    "Sqrt",
    "Sub",
    "Tanh",
    "Where",
    "sigmoid",
]


class Relu(Rule):
    """max(x, 0)."""

    kind = "Relu"
    keeps_zeros = True

    def numpy(self, given: Attributes, x: Sequence[F32]) -> F32:
        return np.maximum(x[0], 0)


class LeakyRelu(Rule):
    """x where x ≥ 0, otherwise alpha · x."""

    kind = "LeakyRelu"
    attributes: ClassVar[Attributes] = {"alpha": 0.01}
    keeps_zeros = True

    def numpy(self, given: Attributes, x: Sequence[F32]) -> F32:
        return np.where(x[0] >= 0, x[0], np.float32(given["alpha"]) * x[0])


class Elu(Rule):
    """x where x ≥ 0, otherwise alpha · (exp(x) - 1)."""

    kind = "Elu"
    attributes: ClassVar[Attributes] = {"alpha": 1.0}
    keeps_zeros = True

    def numpy(self, given: Attributes, x: Sequence[F32]) -> F32:
        low = np.float32(given["alpha"]) * np.expm1(np.minimum(x[0], 0))
        return np.where(x[0] >= 0, x[0], low)


class Gelu(Rule):
    """x · Φ(x), with Φ the distribution function of the normal distribution."""

    kind = "Gelu"
    keeps_zeros = True

    def numpy(self, given: Attributes, x: Sequence[F32]) -> F32:
        return np.asarray(x[0] * 0.5 * (1 + _erf(x[0] / np.sqrt(2.0))), np.float32)


class Sigmoid(Rule):
    """1 / (1 + exp(-x))."""

    kind = "Sigmoid"

    def numpy(self, given: Attributes, x: Sequence[F32]) -> F32:
        return sigmoid(x[0])


class Tanh(Rule):
    """tanh(x)."""

    kind = "Tanh"
    keeps_zeros = True

    def numpy(self, given: Attributes, x: Sequence[F32]) -> F32:
        return np.tanh(x[0])


class Exp(Rule):
    """exp(x)."""

    kind = "Exp"

    def padding(self, given: Attributes, x: Sequence[Padding]) -> Padding | None:
        return Padding.ZERO if x[0] is Padding.LOW else super().padding(given, x)

    def numpy(self, given: Attributes, x: Sequence[F32]) -> F32:
        return np.exp(x[0])


class Sqrt(Rule):
    """√x, for x ≥ 0."""

    kind = "Sqrt"
    keeps_zeros = True

    def numpy(self, given: Attributes, x: Sequence[F32]) -> F32:
        return np.sqrt(x[0])


class _Broadcasting(Rule):
    inputs = 2

    def shape(self, given: Attributes, x: Sequence[Shape]) -> Shape:
        return broadcast(self, x)


class Mul(_Broadcasting):
    """a · b, broadcasting."""

    kind = "Mul"

    def padding(self, given: Attributes, x: Sequence[Padding]) -> Padding | None:
        return Padding.ZERO if Padding.ZERO in x else super().padding(given, x)

    def numpy(self, given: Attributes, x: Sequence[F32]) -> F32:
        return x[0] * x[1]


class Add(_Broadcasting):
    """a + b, broadcasting."""

    kind = "Add"
    keeps_zeros = True

    def padding(self, given: Attributes, x: Sequence[Padding]) -> Padding | None:
        return Padding.LOW if Padding.LOW in x else super().padding(given, x)

    def numpy(self, given: Attributes, x: Sequence[F32]) -> F32:
        return x[0] + x[1]


class Sub(_Broadcasting):
    """a - b, broadcasting."""

    kind = "Sub"
    keeps_zeros = True

    def padding(self, given: Attributes, x: Sequence[Padding]) -> Padding | None:
        low = x[0] is Padding.LOW and x[1] is not Padding.LOW
        return Padding.LOW if low else super().padding(given, x)

    def numpy(self, given: Attributes, x: Sequence[F32]) -> F32:
        return x[0] - x[1]


class Div(_Broadcasting):
    """a / b, broadcasting; b must not be 0, in padding either."""

    kind = "Div"

    def padding(self, given: Attributes, x: Sequence[Padding]) -> Padding | None:
        is_zero = x[0] is Padding.ZERO and x[1] is not Padding.ZERO
        return Padding.ZERO if is_zero else super().padding(given, x)

    def numpy(self, given: Attributes, x: Sequence[F32]) -> F32:
        return x[0] / x[1]


class Equal(_Broadcasting):
    """1 where a = b, otherwise 0; broadcasting."""

    kind = "Equal"

    def numpy(self, given: Attributes, x: Sequence[F32]) -> F32:
        return (x[0] == x[1]).astype(np.float32)


class Where(_Broadcasting):
    """a where c ≠ 0, otherwise b; inputs are c, a and b, broadcasting."""

    kind = "Where"
    inputs = 3
    keeps_zeros = True

    def numpy(self, given: Attributes, x: Sequence[F32]) -> F32:
        return np.where(x[0] != 0, x[1], x[2])


#: The rules of this module.
ELEMENTWISE: tuple[Rule, ...] = (
    *(Mul(), Add(), Sub(), Div(), Equal(), Where(), Exp(), Sqrt()),
    *(Relu(), LeakyRelu(), Elu(), Gelu(), Sigmoid(), Tanh()),
)


def sigmoid(x: F32) -> F32:
    """1 / (1 + exp(-x)), exact to the last digits of float32 even where the result is tiny."""
    small = np.exp(-np.abs(x))
    return np.asarray(np.where(x < 0, small, 1) / (1 + small), np.float32)


def _erf(x: F32) -> F32:
    """The error function, with an error of at most 1.5e-7.

    Abramowitz & Stegun, Handbook of Mathematical Functions, 1964, 7.1.26.
    """
    x = x.astype(np.float64)
    t = 1 / (1 + 0.3275911 * np.abs(x))
    series = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * -1.453152027)))
    series += t**5 * 1.061405429
    found: F32 = np.sign(x) * (1 - series * np.exp(-(x**2)))
    return found
