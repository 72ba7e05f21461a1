"""Lower a DeviceModel to ONNX.

A table is stored once, and read in place both by the scan and by row:

=====  ======  ======================  ================================================
codec  layout  stored as               scan
=====  ======  ======================  ================================================
fp32   Floats  float[n, d]             MatMul
fp16   Floats  float16[n, d]           Scan over blocks of rows: Slice, Cast, MatMul
int8   Tiles   int8[C, T, d, 64], the  Scan over chunks of tiles: MatMulInteger; u is
               codec's codes, 64 rows  rounded to 127 steps
               side by side in a tile
int4   Packed  uint8[n, 1, d / 2],     com.microsoft MatMulNBits, which takes codes + 8,
               the codec's codes + 8   part by part
=====  ======  ======================  ================================================

Another codec is stored in the layout of the structure that it declares (``structures.py``), and
integers of 4 bits whose groups of columns are whole blocks of 16 are ``Packed`` as well.

Tables are external data. Each array is a separate part of the payload, which onnxruntime reads in
place in the bundle.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgerec.plugin import (
    CANDIDATES,
    F32,
    Affine,
    DeviceModel,
    Payload,
    Signature,
    as_core,
    candidate_centroids,
    candidate_factor,
    check_size,
    group_size,
)
from edgerec_onnx.exact import Exact
from edgerec_onnx.history import Past, list_unseen, read_history, seen_rows
from edgerec_onnx.nearest import best_of, nearest
from edgerec_onnx.onnx_graph import Dims, Graph
from edgerec_onnx.ops import built_in_values, lower_op, normalize
from edgerec_onnx.packed import Packed, fits
from edgerec_onnx.proposal import members, rescore, top
from edgerec_onnx.structures import layout_of
from edgerec_onnx.tiles import TILE, Tiles

__all__ = ["lower"]

#: Room for nodes, names and shapes.
OVERHEAD = 64 * 1024

#: Constants of at least this many bytes are stored once for both graphs.
LARGE = 1024

Layout = Exact | Tiles | Packed


def lower(model: DeviceModel, signature: Signature) -> Payload:
    """Return two graphs, ``model.onnx`` and ``score.onnx``, and the files of their external data.

    Raises:
        TargetError: the files are larger than their tables account for.
    """
    model, files = as_core(model), dict[str, NDArray[Any]]()
    graphs = {"model.onnx": _recommend, "score.onnx": _score}
    payload = {name: write(Graph(files=files), model, signature) for name, write in graphs.items()}
    written = sum(map(len, payload.values())) + sum(array.nbytes for array in files.values())
    check_size("onnx", written, model, OVERHEAD)
    return {**payload, **files}


def _recommend(graph: Graph, model: DeviceModel, signature: Signature) -> bytes:
    """The graph that recommends: ids int32[R], scores float[R] and user float[d]."""
    past, user, table = _user(graph, model)
    returned, proposed = _counts(graph, signature, model.takes_any_length)
    unit = normalize(graph, user) if model.head.kind == "cosine" else user
    blocks, centroids = model.head.blocks, candidate_centroids(model)
    if blocks is not None and centroids is not None:
        near = nearest(graph, unit, blocks, centroids)
        scores, ids = best_of(graph, table, unit, near, blocks, returned)
    elif isinstance(table, Exact):
        scores, ids = _best(graph, table.scan(unit), signature.items, signature.returned, returned)
    else:
        groups = table.propose(unit, returned, proposed)
        scores, ids = rescore(graph, table, unit, groups, returned)
    flat = graph.constant([-1])
    if model.leaves_out_seen:
        seen = seen_rows(graph, model, past)
        ids, scores, left_over = list_unseen(graph, ids, scores, seen, returned)
        ids = graph.add("Where", left_over, flat, ids)
    scores = graph.add("Reshape", _finish(graph, model, scores), flat)
    if model.leaves_out_seen:
        scores = graph.add("Where", left_over, graph.constant(0.0), scores)
    graph.rename(graph.add("Cast", graph.add("Reshape", ids, flat), to=6), "ids")
    graph.rename(scores, "scores")
    graph.rename(graph.add("Reshape", user, flat), "user")
    found: Dims = ["found"] if model.takes_any_length else [signature.returned]
    outputs = {"ids": (np.int32, found), "scores": (np.float32, found)}
    return graph.build(_inputs(model), outputs | {"user": (np.float32, [model.width])})


def _score(graph: Graph, model: DeviceModel, signature: Signature) -> bytes:
    """The graph that scores the rows int32[C] that are given: scores float[C]."""
    _, user, table = _user(graph, model)
    unit = normalize(graph, user) if model.head.kind == "cosine" else user
    zero = graph.constant([0])
    given = graph.add("Cast", "rows", to=7)
    rows = graph.add("Max", given, zero)
    column = graph.add("Reshape", unit, graph.constant([-1, 1]))
    scores = graph.add("MatMul", table.read(rows), column)
    scores = graph.add("Reshape", scores, graph.constant([-1]))
    if table.factor is not None:
        scores = graph.add("Mul", scores, table.factor_of(rows))
    is_padding = graph.add("Less", given, zero)
    scores = graph.add("Where", is_padding, graph.constant(0.0), _finish(graph, model, scores))
    graph.rename(scores, "scores")
    count: Dims = [CANDIDATES]
    inputs = _inputs(model) | {"rows": (np.int32, count)}
    return graph.build(inputs, {"scores": (np.float32, count)})


def _inputs(model: DeviceModel) -> dict[str, tuple[Any, Dims]]:
    """The inputs of a graph; the length of a history may be left open."""
    past: Dims = ["past"] if model.takes_any_length else [model.history_length]
    inputs: dict[str, tuple[Any, Dims]] = {"history": (np.int32, past)}
    for name, length in model.inputs.items():
        inputs[name] = np.float32, past if name == "weights" else [length]
    return inputs


def _user(graph: Graph, model: DeviceModel) -> tuple[Past, str, Layout]:
    """The history as it is read, the user vector float[1, d], and the table of candidates."""
    head, factor = model.head.table, candidate_factor(model)
    tables = {
        name: _lay_out(graph, model, name, factor if name == head else None)
        for name in model.used_tables
    }
    past = read_history(graph, model)
    return past, _encoder(graph, model, tables, past), tables[head]


def _finish(graph: Graph, model: DeviceModel, scores: str) -> str:
    """Turn logits into probabilities for a sigmoid head."""
    if model.head.kind != "sigmoid":
        return scores
    # The kernel of Sigmoid is not used, because it is inaccurate for small probabilities.
    rest = graph.add("Exp", graph.add("Neg", scores))
    one = graph.constant(1.0)
    return str(graph.add("Div", one, graph.add("Add", one, rest)))


def _lay_out(graph: Graph, model: DeviceModel, name: str, factor: F32 | None) -> Layout:
    """Store a table in the layout that suits its structure, with the factor of its scores."""
    table, blocks = model.tables[name], model.head.blocks
    height = blocks.height if blocks and name == model.head.table else 0
    if table.codec.name == "int8":
        # A block is made of whole tiles if it can be.
        tiles = 1 if height % TILE else max(1, height // TILE)
        return Tiles(graph, name, table, factor, tiles)
    structure = table.codec.structure(table.arrays)
    assert structure is not None  # noqa: S101  # the target refuses any other codec
    if isinstance(structure, Affine) and fits(structure):
        return Packed(graph, name, structure, factor)
    return layout_of(graph, name, structure, table.shape[0], factor, height)


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


def _encoder(graph: Graph, model: DeviceModel, tables: dict[str, Layout], past: Past) -> str:
    """Add the user encoder; return the name of float[1, d]."""
    values = built_in_values(graph, model, past)
    for name, constant in model.constants.items():
        store = graph.table if constant.nbytes >= LARGE else graph.constant
        values[name] = store(constant, f"{name}.constant")
    for op in model.encoder:
        if op.kind == "Gather":
            values[op.output] = tables[op.inputs[0]].read(past.rows)
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
