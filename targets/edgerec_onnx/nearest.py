"""The rows of the blocks that suit the user, where not all rows are scored."""

from __future__ import annotations

import numpy as np

from edgerec.plugin import OPTIMISM, Blocks, Centroids
from edgerec_onnx.exact import Exact, product
from edgerec_onnx.onnx_graph import Graph
from edgerec_onnx.packed import Packed
from edgerec_onnx.proposal import LOWEST, members, rescore, top
from edgerec_onnx.tiles import Tiles

__all__ = ["best_of", "nearest"]


def nearest(graph: Graph, user: str, blocks: Blocks, centroids: Centroids) -> str:
    """The blocks to read for float[1, d], int64[blocks.read]."""
    flat, axis = graph.constant([-1]), graph.constant([1])
    square = graph.add("ReduceSum", graph.add("Mul", user, user), axis, keepdims=1)
    radius = graph.add("Mul", graph.add("Sqrt", square), graph.constant(OPTIMISM))
    both = graph.add("Concat", user, radius, axis=1)
    both = graph.add("Mul", both, graph.constant(centroids.scale[None], "centroids.scale"))
    codes = graph.add("Cast", graph.table(centroids.codes, "centroids"), to=1)
    scores = graph.add("MatMul", codes, graph.add("Reshape", both, graph.constant([-1, 1])))
    scores = graph.add("Reshape", scores, flat)
    count = graph.constant([blocks.read])
    # Their order does not matter, and sorting them takes a quarter of the time.
    return str(graph.add("TopK", scores, count, outputs=2, axis=0, sorted=0)[1])


def best_of(
    graph: Graph, table: Exact | Tiles | Packed, user: str, near: str, blocks: Blocks, k: str
) -> tuple[str, str]:
    """Scores float[1, k] and rows int64[k] of the k best rows of blocks int64[blocks.read]."""
    height = blocks.height
    if isinstance(table, Tiles) and height % table.height == 0:
        tiles = members(graph, near, height // table.height)
        return rescore(graph, table, user, table.propose(user, k, k, tiles), k)
    rows = members(graph, near, height)
    safe = graph.add("Min", rows, graph.constant([table.rows - 1]))
    if isinstance(table, Exact):
        scores = table.of_blocks(user, near, blocks.read, height)
    elif isinstance(table, Packed):
        scores = table.some(user, safe)
    else:
        scores = product(graph, table.read(safe), user)
    if table.factor is not None:
        scores = graph.add("Mul", scores, table.factor_of(safe))
    scores = graph.add("Reshape", scores, graph.constant([1, -1]))
    if table.rows % height:
        # The last block is shorter.
        real = graph.add("Less", rows, graph.constant(np.array(table.rows), "rows"))
        scores = graph.add("Where", real, scores, graph.constant(LOWEST))
    return top(graph, scores, rows, k)
