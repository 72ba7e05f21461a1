"""Rules of ops that compute each number on its own."""

from __future__ import annotations

import math
from typing import Any

import torch

from edgerec.errors import ModelError
from edgerec.importing.builder import Builder, Operand
from edgerec.importing.edges import masked
from edgerec.importing.rules import RULES, Rule, rule
from edgerec.importing.values import Value

__all__ = ["maximum"]


def _simple(kind: str) -> Rule:
    return lambda builder, x, *_, **__: builder.pointwise(kind, x)


RULES |= {name: _simple(name.capitalize()) for name in ("sqrt", "relu", "sigmoid", "tanh")}


@rule("add", "sub", "mul", "div")
def _arithmetic(builder: Builder, x: Operand, y: Operand, *, alpha: float = 1, _name: str) -> Value:
    if alpha != 1:
        y = builder.pointwise("Mul", y, alpha) if isinstance(y, Value) else y * alpha
    return builder.pointwise(_name.capitalize(), x, y)


@rule("exp")
def _exp(builder: Builder, x: Value) -> Value:
    return builder.pointwise("Exp", masked(builder, x))


@rule("neg")
def _neg(builder: Builder, x: Value) -> Value:
    return builder.pointwise("Mul", x, -1.0)


@rule("reciprocal")
def _reciprocal(builder: Builder, x: Value) -> Value:
    return builder.pointwise("Div", 1.0, x)


@rule("rsqrt")
def _rsqrt(builder: Builder, x: Value) -> Value:
    return _reciprocal(builder, builder.pointwise("Sqrt", x))


@rule("pow")
def _pow(builder: Builder, x: Operand, exponent: Operand) -> Value:
    if isinstance(x, Value) and exponent in (1, -1):
        return x if exponent == 1 else _reciprocal(builder, x)
    if isinstance(x, Value) and exponent == 2:
        return builder.pointwise("Mul", x, x)
    if isinstance(x, Value) and exponent == 0.5:
        return builder.pointwise("Sqrt", x)
    if isinstance(x, Value) and exponent == -0.5:
        return _rsqrt(builder, x)
    raise ModelError(
        f"pow: only the exponents 2, 1, 0.5, -0.5 and -1 can be lowered, got {exponent}"
    )


@rule("abs")
def _abs(builder: Builder, x: Value) -> Value:
    minus = builder.pointwise("Relu", _neg(builder, x))
    return builder.pointwise("Add", builder.pointwise("Relu", x), minus)


@rule("leaky_relu")
def _leaky_relu(builder: Builder, x: Value, slope: float = 0.01) -> Value:
    return builder.pointwise("LeakyRelu", x, alpha=float(slope))


@rule("elu")
def _elu(builder: Builder, x: Value, alpha: float = 1, scale: float = 1, inner: float = 1) -> Value:
    if scale != 1 or inner != 1:
        raise ModelError("elu: only the plain form can be lowered, without scales")
    return builder.pointwise("Elu", x, alpha=float(alpha))


@rule("gelu")
def _gelu(builder: Builder, x: Value, approximate: str = "none") -> Value:
    if approximate != "none":
        raise ModelError(f"gelu: only the exact form can be lowered, not {approximate!r}")
    return builder.pointwise("Gelu", x)


@rule("maximum")
def maximum(builder: Builder, x: Operand, y: Operand) -> Value:
    """Max(x, y) = max(x - y, 0) + y."""
    rest = builder.pointwise("Relu", builder.pointwise("Sub", x, y))
    return builder.pointwise("Add", rest, y)


@rule("clamp")
def _clamp(builder: Builder, x: Value, low: Any = None, high: Any = None) -> Value:
    if low is not None:
        x = maximum(builder, x, low)
    if high is not None:
        x = _neg(builder, maximum(builder, _neg(builder, x), -high))
    return x


@rule("eq")
def _eq(builder: Builder, x: Operand, y: Operand) -> Operand:
    if any(isinstance(one, float) and math.isinf(one) for one in (x, y)):
        # Degrees of 0 are excluded by dividing by them; in a star there are none.
        return torch.zeros((x if isinstance(x, Value) else y).shape)  # type: ignore[union-attr]  # one is a value
    return builder.pointwise("Equal", x, y)


@rule("ne")
def _ne(builder: Builder, x: Operand, y: Operand) -> Value:
    return builder.pointwise("Sub", 1.0, builder.pointwise("Equal", x, y))


@rule("le", "ge", "gt", "lt")
def _compare(builder: Builder, x: Operand, y: Operand, *, _name: str) -> Value:
    """X ≤ y where max(x - y, 0) = 0."""
    x, y = (x, y) if _name in ("le", "gt") else (y, x)
    over = builder.pointwise("Relu", builder.pointwise("Sub", x, y))
    found = builder.pointwise("Equal", over, 0.0)
    return found if _name in ("le", "ge") else builder.pointwise("Sub", 1.0, found)


@rule("logical_not", "bitwise_not")
def _not(builder: Builder, x: Value) -> Value:
    return builder.pointwise("Equal", x, 0.0)


@rule("logical_and", "bitwise_and")
def _and(builder: Builder, x: Operand, y: Operand) -> Value:
    return builder.pointwise("Mul", x, y)


@rule("logical_or", "bitwise_or")
def _or(builder: Builder, x: Operand, y: Operand) -> Value:
    return maximum(builder, x, y)


@rule("index_put")
def _index_put(builder: Builder, x: Value, indices: Any, number: Operand, *_: Any) -> Operand:
    if len(indices) != 1 or tuple(indices[0].shape) != tuple(x.shape):
        raise ModelError("index_put: only with a condition on each number can be lowered")
    return _where(builder, indices[0], number, x)


@rule("where")
def _where(builder: Builder, condition: Operand, x: Operand, y: Operand) -> Operand:
    if isinstance(condition, torch.Tensor) and not condition.any():
        return y
    return builder.pointwise("Where", condition, x, y)
