"""Lower a DeviceModel to ONNX.

A table is stored once and read twice, by Gather and by the scan:

=====  =======================  =====================================================
codec  stored as                scan
=====  =======================  =====================================================
fp32   float[n, d]              MatMul
fp16   float16[n, d]            Loop over blocks of rows: Slice, Cast, MatMul; a Cast of
                                the table would be folded into a float copy on loading
int8   int8[n/64, d, 64], the   MatMulInteger: u is rounded to 127 steps
       codec's codes, 64 rows
       side by side in a tile
int4   uint8[n, 1, d / 2], the  com.microsoft MatMulNBits, which wants codes + 8
       codec's codes + 8
=====  =======================  =====================================================

An integer scan rounds the user vector, so it only proposes; the proposed rows are scored
again in float. The whole table is never dequantized. Tables are external data: each array
is a part of the payload of its own, which onnxruntime reads where it lies in the bundle.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper

from edgerec.plugin import (
    MASKED,
    DeviceModel,
    Op,
    Payload,
    Signature,
    Table,
    TargetError,
    candidate_factor,
)
from edgerec_onnx.graph import MICROSOFT, Dims, Graph

__all__ = ["lower"]

#: Rows of an int8 table in a tile, and most rows of a group of which only the maximum takes part
#: in the first TopK. A tile of 64 × 64 is a page of memory: the kernel is twice as fast on it as
#: on whole columns, and a row is in one place.
TILE = 64

#: Codecs whose scan only proposes.
INEXACT = ("int8", "int4")

#: Room for nodes, names and shapes.
OVERHEAD = 64 * 1024

#: Rows of a half float table that are widened at a time: 1 MiB of floats at d = 64.
BLOCK = 4096

#: Where u = 0 lies in uint8. Codes stay within 7 bits: x86 without VNNI adds products of
#: two pairs in saturating 16-bit arithmetic, and 2 · 255 · 127 does not fit.
ZERO = 64


def lower(model: DeviceModel, signature: Signature) -> Payload:
    """Return the graph, ``model.onnx``, and the files of its external data.

    Raises:
        TargetError: the file is larger than its tables account for.
    """
    graph = Graph()
    user = _encoder(graph, model)
    if model.head.kind == "cosine":
        user = _normalize(graph, user)
    name = model.head.table
    table, factor = model.tables[name], candidate_factor(model)
    logits = _scan(graph, name, table, user)
    factors = None if factor is None else graph.table(factor, "candidate_factor")
    if factors is not None:
        logits = graph.add("Mul", logits, factors)
    returned, proposed = _counts(graph, signature, model.takes_any_length)
    if table.codec.name in INEXACT:
        _, rows = _best(graph, logits, signature.items, signature.proposed, proposed)
        values = _rows(graph, name, table, rows)
        exact = graph.add("MatMul", user, graph.add("Transpose", values, perm=[1, 0]))
        if factors is not None:
            exact = graph.add("Mul", exact, graph.add("Gather", factors, rows, axis=0))
        scores, places = graph.add("TopK", exact, returned, outputs=2, axis=1)
        places = graph.add("Reshape", places, graph.constant([-1]))
        ids = graph.add("Gather", rows, places, axis=0)
    else:
        scores, ids = _best(graph, logits, signature.items, signature.returned, returned)
    if model.head.kind == "sigmoid":
        scores = graph.add("Sigmoid", scores)
    flat = graph.constant([-1])
    graph.rename(graph.add("Cast", graph.add("Reshape", ids, flat), to=6), "ids")
    graph.rename(graph.add("Reshape", scores, flat), "scores")
    past: Dims = [model.history_length]
    found: Dims = [signature.returned]
    if model.takes_any_length:
        past, found = ["past"], ["found"]
    data = graph.build(
        {"history": (np.int32, past), "weights": (np.float32, past)},
        {"ids": (np.int32, found), "scores": (np.float32, found)},
    )
    small = sum(c.nbytes for c in model.constants.values()) + (
        0 if factor is None else factor.nbytes
    )
    limit = 1.02 * model.table_bytes + small + OVERHEAD
    written = len(data) + sum(array.nbytes for array in graph.files.values())
    if written > limit:
        raise TargetError(f"onnx: {written:,} bytes, at most {limit:,.0f} expected")
    return {"model.onnx": data, **graph.files}


def _counts(graph: Graph, signature: Signature, any_length: bool) -> tuple[str, str]:
    """int64[1] each: how many are returned, and proposed, as ``Signature`` says."""
    if not any_length:
        return graph.constant([signature.returned]), graph.constant([signature.proposed])
    items = graph.constant([signature.items])
    wanted = graph.add("Add", graph.add("Shape", "history"), graph.constant([signature.top_k]))
    returned = graph.add("Min", wanted, items)
    margin = graph.add("Div", returned, graph.constant([4]))
    margin = graph.add("Max", margin, graph.constant([64]))
    return returned, graph.add("Min", graph.add("Add", returned, margin), items)


def _encoder(graph: Graph, model: DeviceModel) -> str:
    """Add the user encoder; return the name of float[1, d]."""
    history = graph.add("Max", "history", graph.constant(np.array(0, np.int32)))
    values = {"weights": graph.add("Reshape", "weights", graph.constant([-1, 1]))}
    if any("mask" in op.inputs for op in model.encoder):
        # 0 for a past item, MASKED for padding, which weighs nothing.
        is_padding = graph.add("Not", graph.add("Greater", values["weights"], graph.constant(0.0)))
        as_float = graph.add("Cast", is_padding, to=1)
        values["mask"] = graph.add("Mul", as_float, graph.constant(float(MASKED)))
    for name, constant in model.constants.items():
        values[name] = graph.constant(constant, f"constant/{name}")
    for op in model.encoder:
        if op.kind == "Gather":
            table = op.inputs[0]
            values[op.output] = _rows(graph, table, model.tables[table], history)
        else:
            values[op.output] = _op(graph, op, [values[i] for i in op.inputs])
    return values["user"]


def _op(graph: Graph, op: Op, inputs: list[str]) -> str:
    name: str
    match op.kind:
        case "ReduceSum":
            name = graph.add("ReduceSum", *inputs, graph.constant([0]), keepdims=1)
        case "LeakyRelu":
            name = graph.add("LeakyRelu", *inputs, alpha=op.alpha)
        case "Softmax":
            name = graph.add("Softmax", *inputs, axis=0)
        case "Concat":
            name = graph.add("Concat", *inputs, axis=1)
        case "LpNormalization":
            name = _normalize(graph, inputs[0])
        case _:
            name = graph.add(op.kind, *inputs)
    return name


def _normalize(graph: Graph, value: str) -> str:
    """X / max(|x|, 1e-12); ONNX's own LpNormalization divides zeros by zero."""
    norm = graph.add("ReduceL2", value, axes=[1], keepdims=1)
    safe: str = graph.add("Div", value, graph.add("Max", norm, graph.constant(1e-12)))
    return safe


def _rows(graph: Graph, name: str, table: Table, rows: str) -> str:
    """Read rows of a table as float[rows, d]."""
    stored = _store(graph, name, table)
    codec = table.codec.name
    if codec == "int8":
        values = graph.add("Cast", _from_tiles(graph, stored, table.shape, rows), to=1)
    elif codec == "int4":
        values = _unpack(graph, graph.add("Gather", stored, rows, axis=0), table.shape[1])
    else:
        values = graph.add("Gather", stored, rows, axis=0)
        if codec == "fp16":
            values = graph.add("Cast", values, to=1)
    for array, kind in (("scale", "Mul"), ("offset", "Add")):
        if array in table.arrays:
            part = graph.add("Gather", _range(graph, name, table, array), rows, axis=1)
            values = graph.add(kind, values, graph.add("Transpose", part, perm=[1, 0]))
    return str(values)


def _scan(graph: Graph, name: str, table: Table, user: str) -> str:
    """Score all rows: float[1, n]."""
    stored = _store(graph, name, table)
    codec, (n, d) = table.codec.name, table.shape
    if codec in ("fp32", "fp16"):
        column = graph.add("Reshape", user, graph.constant([d, 1]))
        if codec == "fp16":
            return _scan_blocks(graph, stored, column, n)
        scores = graph.add("MatMul", stored, column)
        return str(graph.add("Reshape", scores, graph.constant([1, n])))
    scale = _range(graph, name, table, "scale")
    if codec == "int8":
        codes, step = _round_user(graph, user)
        logits = graph.add("Mul", _tile_products(graph, codes, stored, n), scale)
        if "offset" in table.arrays:
            # The step multiplies all scores alike, but an offset is not to be scaled by it.
            logits = graph.add("Mul", logits, step)
    else:
        block = _block(d)
        flat = graph.add("Reshape", scale, graph.constant([n, 1]))
        scales = graph.add("Expand", flat, graph.constant([n, d // block]))
        scales = graph.add("Reshape", scales, graph.constant([-1]))
        logits = graph.add(
            *("MatMulNBits", user, stored, scales),
            domain=MICROSOFT,
            K=d,
            N=n,
            bits=4,
            block_size=block,
            accuracy_level=4,
        )
    if "offset" in table.arrays:
        total = graph.add("ReduceSum", user, graph.constant([1]), keepdims=1)
        shift = graph.add("Mul", _range(graph, name, table, "offset"), total)
        logits = graph.add("Add", logits, shift)
    return str(logits)


def _tile_products(graph: Graph, user: str, tiles: str, n: int) -> str:
    """uint8[1, d] by all rows of a tiled table: float[1, n]."""
    zero = graph.constant(np.array(ZERO, np.uint8), "zero_point")
    products = graph.add("MatMulInteger", user, tiles, zero)
    products = graph.add("Reshape", products, graph.constant([1, -1]))
    if n % min(TILE, n):
        ends = (graph.constant([0]), graph.constant([n]), graph.constant([1]))
        products = graph.add("Slice", products, *ends)
    return str(graph.add("Cast", products, to=1))


def _from_tiles(graph: Graph, tiles: str, shape: tuple[int, int], rows: str) -> str:
    """Read rows of a tiled table as int8[rows, d]."""
    n, d = shape
    height = graph.constant(np.array(min(TILE, n)), "tile")
    rows = graph.add("Cast", rows, to=7)
    chosen = graph.add("Gather", tiles, graph.add("Div", rows, height), axis=0)
    place = graph.add("Reshape", graph.add("Mod", rows, height), graph.constant([-1, 1, 1]))
    places = graph.add("Expand", place, graph.constant([1, d, 1]))
    found = graph.add("GatherElements", chosen, places, axis=2)
    return str(graph.add("Reshape", found, graph.constant([-1, d])))


def _best(graph: Graph, logits: str, n: int, most: int, k: str) -> tuple[str, str]:
    """Scores float[1, k] and rows int64[k] of the k highest of float[1, n], k at most ``most``.

    TopK over a million takes a good part of the time of a scan. The k highest are in the k
    groups of neighbouring rows with the highest maxima, or among the few rows that no group has.
    """
    flat, size = graph.constant([-1]), min(TILE, n // (4 * most))
    if size < 2:
        scores, rows = graph.add("TopK", logits, k, outputs=2, axis=1)
        return scores, graph.add("Reshape", rows, flat)
    whole, grouped, one = n // size * size, logits, graph.constant([1])
    if whole < n:
        grouped = graph.add("Slice", logits, graph.constant([0]), graph.constant([whole]), one)
    grouped = graph.add("Reshape", grouped, graph.constant([-1, size]))
    maxima = graph.add("ReduceMax", grouped, axes=[1], keepdims=0)
    _, groups = graph.add("TopK", maxima, k, outputs=2, axis=0)
    column = graph.add("Reshape", groups, graph.constant([-1, 1]))
    starts = graph.add("Mul", column, graph.constant([size]))
    within = graph.constant(np.arange(size)[None], "within")
    rows = graph.add("Reshape", graph.add("Add", starts, within), flat)
    if whole < n:
        rows = graph.add("Concat", rows, graph.constant(np.arange(whole, n), "rest"), axis=0)
    candidates = graph.add("Gather", logits, rows, axis=1)
    scores, places = graph.add("TopK", candidates, k, outputs=2, axis=1)
    return scores, graph.add("Gather", rows, graph.add("Reshape", places, flat), axis=0)


def _scan_blocks(graph: Graph, stored: str, column: str, n: int) -> str:
    """Score half float rows block by block: float[1, n].

    All blocks are of one height, so the last starts early and what it shares with the one
    before is cut off.
    """
    height = min(BLOCK, n)
    blocks = -(-n // height)
    last = n - (blocks - 1) * height
    step, limit = graph.constant([height]), graph.constant([n - height])
    flat, rows = graph.constant([-1]), graph.constant([0])
    body = Graph("block/")
    start = body.add("Min", body.add("Mul", body.add("Reshape", "block/i", flat), step), limit)
    part = body.add("Slice", stored, start, body.add("Add", start, step), rows)
    scores = body.add("MatMul", body.add("Cast", part, to=1), column)
    scores = body.add("Reshape", scores, flat)
    going = body.add("Identity", "block/going")
    loop = body.body(
        [
            helper.make_tensor_value_info("block/i", TensorProto.INT64, []),
            helper.make_tensor_value_info("block/going", TensorProto.BOOL, []),
        ],
        [
            helper.make_tensor_value_info(going, TensorProto.BOOL, []),
            helper.make_tensor_value_info(scores, TensorProto.FLOAT, [height]),
        ],
    )
    count = graph.constant(np.array(blocks, np.int64), "blocks")
    scored = graph.add("Reshape", graph.add("Loop", count, "", body=loop), flat)
    whole = graph.constant([(blocks - 1) * height])
    end = graph.constant([blocks * height])
    first = graph.add("Slice", scored, rows, whole)
    rest = graph.add("Slice", scored, graph.constant([blocks * height - last]), end)
    joined = graph.add("Concat", first, rest, axis=0)
    return str(graph.add("Reshape", joined, graph.constant([1, n])))


def _round_user(graph: Graph, user: str) -> tuple[str, str]:
    """Round u to uint8 around ZERO, the fast operand of MatMulInteger: (codes, step)."""
    highest = graph.add("ReduceMax", graph.add("Abs", user), keepdims=0)
    safe = graph.add("Max", highest, graph.constant(1e-30))
    step = graph.add("Div", safe, graph.constant(float(ZERO - 1)))
    zero = graph.constant(np.array(ZERO, np.uint8), "zero_point")
    return str(graph.add("QuantizeLinear", user, step, zero)), str(step)


def _unpack(graph: Graph, packed: str, width: int) -> str:
    """uint8[rows, blocks, block / 2] to float[rows, width]: low half first, minus 8."""
    four = graph.constant(np.array(4, np.uint8), "four")
    flat = graph.add("Reshape", packed, graph.constant([-1, width // 2, 1]))
    high = graph.add("BitShift", flat, four, direction="RIGHT")
    shifted = graph.add("BitShift", flat, four, direction="LEFT")
    low = graph.add("BitShift", shifted, four, direction="RIGHT")
    both = graph.add("Concat", low, high, axis=2)
    codes = graph.add("Cast", graph.add("Reshape", both, graph.constant([-1, width])), to=1)
    return str(graph.add("Sub", codes, graph.constant(8.0)))


def _store(graph: Graph, name: str, table: Table) -> str:
    """Store a table's codes once; return the initializer's name."""
    file = f"{name}.codes"
    if file in graph.files:
        return file
    if table.codec.name == "int8":
        return graph.table(_tiles(table.arrays["codes"]), file)
    if table.codec.name == "int4":
        codes = table.arrays["codes"] ^ np.uint8(0x88)
        if not table.shape[1] % 16:
            codes = codes.reshape(len(codes), -1, _block(table.shape[1]) // 2)
        return graph.table(codes, file)
    return graph.table(table.arrays["values"], f"{name}.values")


def _tiles(codes: NDArray[np.int8]) -> NDArray[np.int8]:
    """int8[n, d] to int8[n / TILE, d, TILE]; rows of zeros fill the last tile."""
    n, d = codes.shape
    height = min(TILE, n)
    whole = np.zeros((-(-n // height), height, d), np.int8)
    whole.reshape(-1, d)[:n] = codes
    return whole.transpose(0, 2, 1)


def _range(graph: Graph, name: str, table: Table, array: str) -> str:
    """A table's scale or offset as float[1, n]; half floats are widened on loading."""
    stored = graph.table(table.arrays[array][None], f"{name}.{array}")
    return (
        stored if table.arrays[array].dtype == np.float32 else str(graph.add("Cast", stored, to=1))
    )


def _block(width: int) -> int:
    """Largest block of MatMulNBits (a power of two from 16 to 256) that divides a width."""
    return max(block for block in (16, 32, 64, 128, 256) if width % block == 0)
