"""Lower each op of an encoder to ONNX."""

from __future__ import annotations

import math

from edgerec.plugin import MASKED, DeviceModel, Op, TargetError
from edgerec_onnx.history import Past
from edgerec_onnx.onnx_graph import Graph

__all__ = ["built_in_values", "lower_op", "normalize"]

#: Ops that have the same name and meaning in ONNX.
SAME = (
    *("Mul", "Add", "Sub", "Div", "Exp", "Sqrt", "MatMul", "Gemm"),
    *("Relu", "Sigmoid", "Tanh"),
)

#: Numbers of the types of ONNX.
FLOAT, INT64 = 1, 7


def built_in_values(graph: Graph, model: DeviceModel, past: Past) -> dict[str, str]:
    """Add the built-in values that the encoder reads; return their names."""
    read = {name for op in model.encoder for name in op.inputs}
    column = graph.constant([-1, 1])
    values = {"weights": graph.add("Reshape", past.weights, column)}
    for name in ("user_vector", "context"):
        if name in model.inputs:
            values[name] = graph.add("Reshape", name, graph.constant([1, -1]))
    if read & {"mask", "present", "count", "row_number"}:
        values["present"] = present = graph.add("Reshape", past.present, column)
    if "row_number" in read:
        counted = graph.add("Add", past.rows, graph.constant([1]))
        counted = graph.add("Reshape", graph.add("Cast", counted, to=FLOAT), column)
        values["row_number"] = graph.add("Mul", counted, present)
    if "mask" in read:
        absent = graph.add("Sub", graph.constant(1.0), present)
        values["mask"] = graph.add("Mul", absent, graph.constant(float(MASKED)))
    if "count" in read:
        total = graph.add("ReduceSum", present, graph.constant([0]), keepdims=1)
        values["count"] = graph.add("Max", total, graph.constant(1.0))
    return values


def lower_op(graph: Graph, op: Op, x: list[str]) -> str:
    """Add an op that reads some values; return the name of its output.

    Raises:
        TargetError: there is no rule for it.
    """
    given, name = op.given, ""
    axis = int(given.get("axis", 0))
    match op.kind:
        case kind if kind in SAME:
            name = graph.add(kind, *x)
        case "ReduceSum":
            name = graph.add("ReduceSum", *x, graph.constant([axis]), keepdims=1)
        case "ReduceMean" | "ReduceMax" as kind:
            name = graph.add(kind, *x, axes=[axis], keepdims=1)
        case "Softmax" | "Concat" as kind:
            name = graph.add(kind, *x, axis=axis)
        case "LeakyRelu" | "Elu" as kind:
            name = graph.add(kind, *x, alpha=given["alpha"])
        case "Gelu":
            # The op set has none yet: x / 2 · (1 + erf(x / √2)).
            erf = graph.add("Erf", graph.add("Mul", x[0], graph.constant(math.sqrt(0.5))))
            half = graph.add("Mul", x[0], graph.constant(0.5))
            name = graph.add("Mul", half, graph.add("Add", erf, graph.constant(1.0)))
        case "Equal":
            name = graph.add("Cast", graph.add("Equal", *x), to=FLOAT)
        case "Where":
            is_zero = graph.add("Equal", x[0], graph.constant(0.0))
            name = graph.add("Where", is_zero, x[2], x[1])
        case "Slice":
            ends = [graph.constant([int(given[end])]) for end in ("start", "end")]
            name = graph.add("Slice", x[0], *ends, graph.constant([1]))
        case "Transpose":
            name = graph.add("Transpose", x[0], perm=[1, 0])
        case "LpNormalization":
            name = normalize(graph, x[0])
        case "LayerNormalization":
            rest = graph.add("Sub", x[0], graph.add("ReduceMean", x[0], axes=[1], keepdims=1))
            square = graph.add("Mul", rest, rest)
            variance = graph.add("ReduceMean", square, axes=[1], keepdims=1)
            safe = graph.add("Add", variance, graph.constant(float(given["epsilon"])))
            unit = graph.add("Div", rest, graph.add("Sqrt", safe))
            name = graph.add("Add", graph.add("Mul", unit, x[1]), x[2])
        case _:
            raise TargetError(f"onnx: no rule for op {op.kind!r}")
    return name


def normalize(graph: Graph, value: str) -> str:
    """X / max(|x|, 1e-12), because ONNX's own LpNormalization divides zero by zero."""
    square = graph.add("Mul", value, value)
    norm = graph.add("Sqrt", graph.add("ReduceSum", square, graph.constant([1]), keepdims=1))
    safe: str = graph.add("Div", value, graph.add("Max", norm, graph.constant(1e-12)))
    return safe
