"""The torch rule of each op, which computes what its numpy rule computes, and has a gradient.

The last two axes of a value are (history, width); constants have no batch axis.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from edgerec.errors import ModelError
from edgerec.model.ops import MASKED, Op
from edgerec.model.ops.rule import Attributes

__all__ = ["built_in_values", "torch_rule"]


def torch_rule(op: Op, x: list[Tensor]) -> Tensor:
    """Apply one op, as the oracle does.

    Raises:
        ModelError: the op has no torch rule.
    """
    rule = _RULES.get(op.kind)
    if rule is None:
        raise ModelError(f"encoder: no torch rule for op {op.kind!r}")
    return rule(op.given, x)


def built_in_values(history: Tensor, weights: Tensor) -> dict[str, Tensor]:
    """The built-in values of histories int[..., H], -1 for padding, with weights float[..., H]."""
    absent = (history < 0).to(weights.dtype)[..., None]
    present = 1 - absent
    return {
        "weights": weights[..., None],
        "mask": absent * MASKED,
        "present": present,
        "row_number": (history[..., None] + 1).to(weights.dtype),
        "count": present.sum(-2, keepdim=True).clamp(min=1),
    }


def _axis(given: Attributes) -> int:
    return int(given["axis"]) - 2


def _concat(given: Attributes, x: list[Tensor]) -> Tensor:
    if len({a.dim() for a in x}) > 1:
        batch = torch.broadcast_shapes(*(a.shape[:-2] for a in x))  # type: ignore[no-untyped-call]  # torch leaves it untyped
        x = [a.expand(*batch, *a.shape[-2:]) for a in x]
    return torch.cat(x, _axis(given))


def _layer_normalization(given: Attributes, x: list[Tensor]) -> Tensor:
    rest = x[0] - x[0].mean(-1, keepdim=True)
    variance = (rest * rest).mean(-1, keepdim=True)
    return rest / (variance + given["epsilon"]).sqrt() * x[1] + x[2]


_RULES: Mapping[str, Callable[[Attributes, list[Tensor]], Tensor]] = {
    "Mul": lambda given, x: x[0] * x[1],
    "Add": lambda given, x: x[0] + x[1],
    "Sub": lambda given, x: x[0] - x[1],
    "Div": lambda given, x: x[0] / x[1],
    "Equal": lambda given, x: (x[0] == x[1]).to(x[0].dtype),
    "Where": lambda given, x: torch.where(x[0] != 0, x[1], x[2]),
    "Exp": lambda given, x: x[0].exp(),
    "Sqrt": lambda given, x: x[0].sqrt(),
    "Relu": lambda given, x: x[0].relu(),
    "LeakyRelu": lambda given, x: F.leaky_relu(x[0], given["alpha"]),
    "Elu": lambda given, x: F.elu(x[0], given["alpha"]),
    "Gelu": lambda given, x: F.gelu(x[0]),
    "Sigmoid": lambda given, x: x[0].sigmoid(),
    "Tanh": lambda given, x: x[0].tanh(),
    "MatMul": lambda given, x: x[0] @ x[1],
    "Gemm": lambda given, x: x[0] @ x[1] + x[2],
    "Concat": _concat,
    "Slice": lambda given, x: x[0][..., int(given["start"]) : int(given["end"])],
    "Transpose": lambda given, x: x[0].transpose(-1, -2),
    "ReduceSum": lambda given, x: x[0].sum(_axis(given), keepdim=True),
    "ReduceMean": lambda given, x: x[0].mean(_axis(given), keepdim=True),
    "ReduceMax": lambda given, x: x[0].amax(_axis(given), keepdim=True),
    "Softmax": lambda given, x: x[0].softmax(_axis(given)),
    "LpNormalization": lambda given, x: F.normalize(x[0], dim=-1),
    "LayerNormalization": _layer_normalization,
}
