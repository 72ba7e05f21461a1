"""Lower each op of an encoder to TFLite."""

from __future__ import annotations

from edgerec.plugin import MASKED, DeviceModel, Op, TargetError
from edgerec_tflite.history import Past
from edgerec_tflite.tflite_graph import Graph, Shape, Tensor

__all__ = ["built_in_values", "lower_op", "normalize", "planes", "signed", "unpack"]

#: Ops that need no attributes, by their names in TFLite.
SAME = {
    **{kind: kind.upper() for kind in ("Mul", "Add", "Sub", "Div", "Exp", "Sqrt", "Relu", "Tanh")},
    "Sigmoid": "LOGISTIC",
}

#: Reductions, by their names in TFLite.
REDUCTIONS = {"ReduceSum": "SUM", "ReduceMean": "MEAN", "ReduceMax": "REDUCE_MAX"}


def built_in_values(graph: Graph, model: DeviceModel, past: Past) -> dict[str, Tensor]:
    """Add the built-in values that the encoder reads."""
    read, tall = {name for op in model.encoder for name in op.inputs}, (model.history_length, 1)
    values = {"weights": graph.reshape(past.weights, tall)}
    if read & {"mask", "present", "count", "row_number"}:
        values["present"] = present = graph.reshape(past.present, tall)
    if "row_number" in read:
        rows = graph.op("CAST", [graph.reshape(past.rows, tall)], tall)
        counted = graph.op("ADD", [rows, graph.small(1.0)], tall)
        values["row_number"] = graph.op("MUL", [counted, present], tall)
    if "mask" in read:
        absent = graph.op("SUB", [graph.small(1.0), present], tall)
        values["mask"] = graph.op("MUL", [absent, graph.small(MASKED)], tall)
    if "count" in read:
        total = graph.op("SUM", [present, graph.small([0])], (1, 1), keepDims=True)
        values["count"] = graph.op("MAXIMUM", [total, graph.small(1.0)], (1, 1))
    return values


def lower_op(graph: Graph, op: Op, x: list[Tensor], shape: tuple[int, int]) -> Tensor:
    """Add an op that reads some values and has an output of a shape.

    Raises:
        TargetError: there is no rule for it.
    """
    given = op.given
    axis = int(given.get("axis", 0))
    match op.kind:
        case kind if kind in SAME:
            return graph.op(SAME[kind], x, shape)
        case kind if kind in REDUCTIONS:
            return graph.op(REDUCTIONS[kind], [x[0], graph.small([axis])], shape, keepDims=True)
        case "MatMul":
            return graph.op("BATCH_MATMUL", x, shape)
        case "Gemm":
            return graph.op("ADD", [graph.op("BATCH_MATMUL", x[:2], shape), x[2]], shape)
        case "LeakyRelu":
            return graph.op("LEAKY_RELU", x, shape, alpha=given["alpha"])
        case "Elu":
            return _elu(graph, x[0], given["alpha"])
        case "Gelu":
            return graph.op("GELU", x, shape, approximate=False)
        case "Equal":
            return graph.op("CAST", [graph.op("EQUAL", x, shape, "bool")], shape)
        case "Where":
            is_zero = graph.op("EQUAL", [x[0], graph.small(0.0)], x[0].shape, "bool")
            return graph.op("SELECT_V2", [is_zero, x[2], x[1]], shape)
        case "Softmax":
            return _softmax(graph, x[0], axis)
        case "Concat":
            return graph.op("CONCATENATION", x, shape, axis=axis)
        case "Slice":
            start, size = graph.small([0, int(given["start"])]), graph.small([*shape])
            return graph.op("SLICE", [x[0], start, size], shape)
        case "Transpose":
            return _transpose(graph, x[0])
        case "LpNormalization":
            return normalize(graph, x[0])
        case "LayerNormalization":
            return _layer_normalization(graph, x, given["epsilon"])
    raise TargetError(f"tflite: no rule for op {op.kind!r}")


def normalize(graph: Graph, value: Tensor) -> Tensor:
    """X / max(|x|, 1e-12)."""
    tall = (value.shape[0], 1)
    square = graph.op("MUL", [value, value], value.shape)
    total = graph.op("SUM", [square, graph.small([1])], tall, keepDims=True)
    norm = graph.op("SQRT", [total], tall)
    safe = graph.op("MAXIMUM", [norm, graph.small(1e-12)], tall)
    return graph.op("DIV", [value, safe], value.shape)


def _transpose(graph: Graph, value: Tensor) -> Tensor:
    turned: Shape = (value.shape[1], value.shape[0])
    return graph.op("TRANSPOSE", [value, graph.small([1, 0])], turned)


def _softmax(graph: Graph, value: Tensor, axis: int) -> Tensor:
    """TFLite's softmax is over the last axis."""
    if axis == 1:
        return graph.op("SOFTMAX", [value], value.shape, beta=1.0)
    turned = _transpose(graph, value)
    return _transpose(graph, graph.op("SOFTMAX", [turned], turned.shape, beta=1.0))


def _elu(graph: Graph, value: Tensor, alpha: float) -> Tensor:
    """TFLite's own has no alpha: max(x, 0) + alpha · (exp(min(x, 0)) - 1)."""
    shape, zero = value.shape, graph.small(0.0)
    low = graph.op("EXP", [graph.op("MINIMUM", [value, zero], shape)], shape)
    below = graph.op("SUB", [low, graph.small(1.0)], shape)
    below = graph.op("MUL", [below, graph.small(alpha)], shape)
    return graph.op("ADD", [graph.op("MAXIMUM", [value, zero], shape), below], shape)


def _layer_normalization(graph: Graph, x: list[Tensor], epsilon: float) -> Tensor:
    shape, tall, last = x[0].shape, (x[0].shape[0], 1), graph.small([1])
    mean = graph.op("MEAN", [x[0], last], tall, keepDims=True)
    rest = graph.op("SUB", [x[0], mean], shape)
    square = graph.op("MUL", [rest, rest], shape)
    variance = graph.op("MEAN", [square, last], tall, keepDims=True)
    safe = graph.op("ADD", [variance, graph.small(epsilon)], tall)
    unit = graph.op("DIV", [rest, graph.op("SQRT", [safe], tall)], shape)
    return graph.op("ADD", [graph.op("MUL", [unit, x[1]], shape), x[2]], shape)


def planes(graph: Graph, byte: Tensor, bits: int) -> list[Tensor]:
    """The first codes of all bytes, the second ones, and so on, in floats of the bytes' shape.

    A code is what is left of a byte without the higher ones: ⌊b / 2^s⌋ - 2^bits ⌊b / 2^(s + bits)⌋.
    """
    shape, found, rest = byte.shape, [], byte
    for _ in range(8 // bits - 1):
        higher = graph.op("MUL", [rest, graph.small(2.0**-bits)], shape)
        higher = graph.op("FLOOR", [higher], shape)
        above = graph.op("MUL", [higher, graph.small(2.0**bits)], shape)
        found.append(graph.op("SUB", [rest, above], shape))
        rest = higher
    return [*found, rest]


def signed(graph: Graph, codes: Tensor, bits: int) -> Tensor:
    """Codes of 4 bits in two's complement, or of 1 bit, as the numbers that they stand for."""
    shape = codes.shape
    if bits == 1:
        twice = graph.op("ADD", [codes, codes], shape)
        return graph.op("SUB", [twice, graph.small(1.0)], shape)
    # 8..15 stand for -8..-1.
    eighth = graph.op("FLOOR", [graph.op("MUL", [codes, graph.small(1 / 8)], shape)], shape)
    wrap = graph.op("MUL", [eighth, graph.small(16.0)], shape)
    return graph.op("SUB", [codes, wrap], shape)


def unpack(graph: Graph, packed: Tensor, shape: tuple[int, int], bits: int) -> Tensor:
    """Bytes uint8[rows, w] as the numbers in them, float[rows, d], the lowest bits first."""
    (rows, held), each = packed.shape, 8 // bits
    tall = (rows, held, 1)
    byte = graph.reshape(graph.op("CAST", [packed], packed.shape), tall)
    codes = graph.reshape(graph.concatenate(planes(graph, byte, bits), 2), (rows, held * each))
    if codes.shape != shape:
        ends = graph.small([0, 0]), graph.small([*shape])
        codes = graph.op("SLICE", [codes, *ends], shape)
    return signed(graph, codes, bits)
