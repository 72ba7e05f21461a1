"""The ops of a user encoder, named and defined as ONNX defines them.

===============  ==========================================  =======================
op               value                                       ONNX
===============  ==========================================  =======================
Gather           rows of a table for the history; padding    Gather, axis 0
                 reads row 0 and weighs 0
ReduceSum        sum over the history, [H, d] to [1, d]      ReduceSum, axis 0
Mul, Add         element-wise, broadcasting                  Mul, Add
MatMul           x W                                         MatMul
Gemm             x W + b                                     Gemm
Relu, Sigmoid,   element-wise                                the same
Tanh
LeakyRelu        x if x ≥ 0 else alpha · x                   LeakyRelu
Softmax          over the history, axis 0                    Softmax, axis 0
Concat           along the width, axis 1                     Concat, axis 1
LpNormalization  x / max(|x|₂, 1e-12), along the width       LpNormalization, p = 2
===============  ==========================================  =======================

Built-in values are ``history`` (read by Gather only), ``weights`` [H, 1], ``mask`` [H, 1] (0 for a
past item and -1e9 for padding, to be added before a Softmax) and ``user_vector`` [1, d] (the user's
own trained vector, for models that read one).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from edgerec.errors import ModelError

__all__ = ["MASKED", "OPS", "Op", "Shape", "counts_padding", "infer_shapes"]

#: The two axes of a value: (history or 1, width).
Shape = tuple[int, int]

#: Added to the logits of padding before a Softmax.
MASKED = -1e9

#: What a device computes for one history at most: ops, inputs per op, numbers in all values, and
#: products in all matrix products.
_MOST_OPS, _MOST_INPUTS, _MOST_NUMBERS, _MOST_PRODUCTS = 1000, 64, 2**24, 2**31

#: The number of inputs of each op; -2 means two or more.
OPS: Mapping[str, int] = {
    "Gather": 2,
    "ReduceSum": 1,
    "Mul": 2,
    "Add": 2,
    "MatMul": 2,
    "Gemm": 3,
    "Relu": 1,
    "LeakyRelu": 1,
    "Sigmoid": 1,
    "Tanh": 1,
    "Softmax": 1,
    "Concat": -2,
    "LpNormalization": 1,
}


@dataclass(frozen=True)
class Op:
    """One step of an encoder, ``output = kind(*inputs)``.

    Inputs are names of tables (for Gather only), constants, built-in values or earlier outputs.
    """

    kind: str
    inputs: tuple[str, ...]
    output: str
    attributes: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        arity = OPS.get(self.kind)
        if arity is None:
            raise ModelError(f"encoder: unknown op {self.kind!r}; ops: {', '.join(OPS)}")
        if len(self.inputs) != arity and not (arity < 0 and len(self.inputs) >= -arity):
            expected = f"at least {-arity}" if arity < 0 else str(arity)
            raise ModelError(
                f"encoder: {self.kind} takes {expected} inputs, got {len(self.inputs)}"
            )
        if len(self.inputs) > _MOST_INPUTS:
            raise ModelError(
                f"encoder: {self.kind} takes at most {_MOST_INPUTS} inputs, got {len(self.inputs)}"
            )
        allowed = {"alpha"} if self.kind == "LeakyRelu" else set()
        if unknown := set(self.attributes) - allowed:
            raise ModelError(f"encoder: {self.kind} has no attribute {', '.join(sorted(unknown))}")
        for name, value in self.attributes.items():
            if not isinstance(value, int | float) or not abs(value) < 1e30:
                raise ModelError(
                    f"encoder: {self.kind}: {name}: expected a finite number, got {value!r}"
                )

    @property
    def alpha(self) -> float:
        """The slope of LeakyRelu below zero; 0.01 by default, as in ONNX."""
        return float(self.attributes.get("alpha", 0.01))


def infer_shapes(
    ops: tuple[Op, ...],
    tables: Mapping[str, Shape],
    constants: Mapping[str, Shape],
    history_length: int,
    width: int,
) -> dict[str, Shape]:
    """Infer the shape of every value, outputs and built-in values included.

    Args:
        ops: the encoder.
        tables: the shape of each table.
        constants: the shape of each constant.
        history_length: H.
        width: the width of a user vector.

    Raises:
        ModelError: an input is unknown, a name is used twice, or shapes do not fit.
    """
    builtin: dict[str, Shape] = {
        "weights": (history_length, 1),
        "mask": (history_length, 1),
        "user_vector": (1, width),
    }
    shapes: dict[str, Shape] = {**builtin, **constants}
    if len(ops) > _MOST_OPS:
        raise ModelError(f"encoder: expected at most {_MOST_OPS:,} ops, got {len(ops):,}")
    numbers = products = 0
    for clash in sorted((set(builtin) | {"history"}) & (set(constants) | set(tables))):
        raise ModelError(
            f"encoder: {clash!r} is a built-in value; choose another name for the constant"
        )
    for op in ops:
        if op.output in shapes or op.output in tables:
            raise ModelError(f"encoder: the name {op.output!r} is used twice")
        if op.kind == "Gather":
            table, index = op.inputs
            if table not in tables or index != "history":
                raise ModelError(f"encoder: Gather reads (table, history), got {op.inputs}")
            shapes[op.output] = (history_length, tables[table][1])
        else:
            for name in op.inputs:
                if name not in shapes:
                    raise ModelError(
                        f"encoder: {op.kind} reads {name!r}, which no earlier op computes"
                    )
            shapes[op.output] = _output_shape(op, [shapes[name] for name in op.inputs])
        height, wide = shapes[op.output]
        numbers += height * wide
        if op.kind in ("MatMul", "Gemm"):
            products += height * wide * shapes[op.inputs[0]][1]
        if numbers > _MOST_NUMBERS or products > _MOST_PRODUCTS:
            raise ModelError(
                f"encoder: up to {op.output!r} it computes {numbers:,} numbers and {products:,} "
                f"products, at most {_MOST_NUMBERS:,} and {_MOST_PRODUCTS:,} are run on a device; "
                "use a shorter history or narrower tables"
            )
    return shapes


def counts_padding(ops: tuple[Op, ...]) -> bool:
    """Whether padding takes part in a sum or a Softmax over the history.

    It does not if every sum is over values that ``weights``, or a Softmax after ``mask``, have set
    to zero there. Anything that cannot be shown to be zero counts.
    """
    # Values with one row per position, those that are zero in padding, and those with the mask.
    tall, zero, masked = {"weights", "mask"}, {"weights"}, {"mask"}
    for op in ops:
        given = set(op.inputs) & tall
        if op.kind == "Gather":
            tall.add(op.output)
        if not given:
            continue
        if (op.kind == "ReduceSum" and not given <= zero) or (
            op.kind == "Softmax" and not given <= masked
        ):
            return True
        if op.kind == "ReduceSum":
            continue
        tall.add(op.output)
        if op.kind == "Add" and given & masked:
            masked.add(op.output)
        if op.kind == "Mul":
            is_zero = bool(given & zero)
        elif op.kind in ("Add", "Concat"):
            is_zero = set(op.inputs) <= zero
        else:
            kept = ("MatMul", "Relu", "LeakyRelu", "Tanh", "LpNormalization")
            is_zero = op.kind == "Softmax" or (op.kind in kept and op.inputs[0] in zero)
        if is_zero:
            zero.add(op.output)
    return False


def _output_shape(op: Op, inputs: list[Shape]) -> Shape:
    first = inputs[0]
    if op.kind == "ReduceSum":
        return (1, first[1])
    if op.kind == "Concat":
        if len({shape[0] for shape in inputs}) != 1:
            raise ModelError(f"encoder: {op.output} = Concat of unequal heights {inputs}")
        return (first[0], sum(shape[1] for shape in inputs))
    if op.kind in ("Mul", "Add"):
        pairs = list(zip(*inputs, strict=True))
        if any(a != b and 1 not in (a, b) for a, b in pairs):
            raise ModelError(f"encoder: {op.output} = {op.kind} of shapes {inputs} that do not fit")
        return (max(pairs[0]), max(pairs[1]))
    if op.kind in ("MatMul", "Gemm"):
        weight = inputs[1]
        if first[1] != weight[0] or (op.kind == "Gemm" and inputs[2] != (1, weight[1])):
            raise ModelError(f"encoder: {op.output} = {op.kind} of shapes {inputs} that do not fit")
        return (first[0], weight[1])
    return first
