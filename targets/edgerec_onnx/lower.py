"""Lower a DeviceModel to ONNX.

A table is stored once, and read in place both by the scan and by row:

=====  ======  ======================  ================================================
codec  layout  stored as               scan
=====  ======  ======================  ================================================
fp32   Floats  float[n, d]             MatMul
fp16   Floats  float16[n, d]           Loop over blocks of rows: Slice, Cast, MatMul
int8   Tiles   int8[C, T, d, 64], the  Scan over chunks of tiles: MatMulInteger; u is
               codec's codes, 64 rows  rounded to 127 steps
               side by side in a tile
int4   Packed  uint8[n, 1, d / 2],     com.microsoft MatMulNBits, which takes codes + 8,
               the codec's codes + 8   part by part
=====  ======  ======================  ================================================

Tables are external data. Each array is a separate part of the payload, which onnxruntime reads in
place in the bundle.
"""

from __future__ import annotations

import numpy as np

from edgerec.plugin import (
    F32,
    DeviceModel,
    Payload,
    Signature,
    Table,
    candidate_factor,
    check_size,
    group_size,
)
from edgerec_onnx.floats import Floats
from edgerec_onnx.onnx_graph import Dims, Graph
from edgerec_onnx.ops import built_in_values, lower_op, normalize
from edgerec_onnx.packed import Packed
from edgerec_onnx.proposal import members, rescore, top
from edgerec_onnx.tiles import Tiles

__all__ = ["lower"]

#: Room for nodes, names and shapes.
OVERHEAD = 64 * 1024


def lower(model: DeviceModel, signature: Signature) -> Payload:
    """Return the graph, ``model.onnx``, and the files of its external data.

    Raises:
        TargetError: the file is larger than its tables account for.
    """
    graph, head = Graph(), model.head.table
    factor = candidate_factor(model)
    tables = {
        name: _lay_out(graph, name, model.tables[name], factor if name == head else None)
        for name in model.used_tables
    }
    user = _encoder(graph, model, tables)
    if model.head.kind == "cosine":
        user = normalize(graph, user)
    table = tables[head]
    returned, proposed = _counts(graph, signature, model.takes_any_length)
    if isinstance(table, Floats):
        scores, ids = _best(graph, table.scan(user), signature.items, signature.returned, returned)
    else:
        groups = table.propose(user, returned, proposed)
        scores, ids = rescore(graph, table, user, groups, returned)
    if model.head.kind == "sigmoid":
        # The kernel of Sigmoid is not used, because it is inaccurate for small probabilities.
        rest = graph.add("Exp", graph.add("Neg", scores))
        one = graph.constant(1.0)
        scores = graph.add("Div", one, graph.add("Add", one, rest))
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
    written = len(data) + sum(array.nbytes for array in graph.files.values())
    check_size("onnx", written, model, OVERHEAD)
    return {"model.onnx": data, **graph.files}


def _lay_out(graph: Graph, name: str, table: Table, factor: F32 | None) -> Floats | Tiles | Packed:
    """Store a table in the layout of its codec, with the factor of its scores."""
    match table.codec.name:
        case "int8":
            return Tiles(graph, name, table, factor)
        case "int4":
            return Packed(graph, name, table, factor)
    return Floats(graph, name, table, factor)


def _counts(graph: Graph, signature: Signature, any_length: bool) -> tuple[str, str]:
    """The numbers of rows returned and proposed, int64[1] each, as ``Signature`` defines them."""
    if not any_length:
        return graph.constant([signature.returned]), graph.constant([signature.proposed])
    items = graph.constant([signature.items])
    wanted = graph.add("Add", graph.add("Shape", "history"), graph.constant([signature.top_k]))
    returned = graph.add("Min", wanted, items)
    margin = graph.add("Div", returned, graph.constant([4]))
    margin = graph.add("Max", margin, graph.constant([64]))
    return returned, graph.add("Min", graph.add("Add", returned, margin), items)


def _encoder(graph: Graph, model: DeviceModel, tables: dict[str, Floats | Tiles | Packed]) -> str:
    """Add the user encoder; return the name of float[1, d]."""
    values = built_in_values(graph, model)
    history = graph.add("Max", "history", graph.constant(np.array(0, np.int32)))
    history = graph.add("Cast", history, to=7)
    for name, constant in model.constants.items():
        values[name] = graph.constant(constant, f"constant/{name}")
    for op in model.encoder:
        if op.kind == "Gather":
            values[op.output] = tables[op.inputs[0]].read(history)
        else:
            values[op.output] = lower_op(graph, op, [values[i] for i in op.inputs])
    return values["user"]


def _best(graph: Graph, logits: str, n: int, most: int, k: str) -> tuple[str, str]:
    """Scores float[1, k] and rows int64[k] of the k highest of float[1, n], k at most ``most``.

    TopK over a million rows takes a large part of the time of a scan, so the first TopK sees group
    maxima only. The few rows that belong to no group enter the second TopK.
    """
    size = group_size(n, most)
    if size < 2:
        scores, rows = graph.add("TopK", logits, k, outputs=2, axis=1)
        return scores, graph.add("Reshape", rows, graph.constant([-1]))
    whole, grouped, one = n // size * size, logits, graph.constant([1])
    if whole < n:
        grouped = graph.add("Slice", logits, graph.constant([0]), graph.constant([whole]), one)
    grouped = graph.add("Reshape", grouped, graph.constant([-1, size]))
    maxima = graph.add("ReduceMax", grouped, axes=[1], keepdims=0)
    _, groups = graph.add("TopK", maxima, k, outputs=2, axis=0)
    rows = members(graph, groups, size)
    if whole < n:
        rows = graph.add("Concat", rows, graph.constant(np.arange(whole, n), "rest"), axis=0)
    return top(graph, graph.add("Gather", logits, rows, axis=1), rows, k)
