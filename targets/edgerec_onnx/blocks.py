"""Compute a number per row block by block, so that what a block needs stays in the cache."""

from __future__ import annotations

from collections.abc import Callable

from onnx import TensorProto, helper

from edgerec_onnx.onnx_graph import Graph

__all__ = ["by_blocks"]

#: Adds what is computed of the rows from a start up to an end, int64[1] each, to a loop's body.
Score = Callable[[Graph, str, str], str]


def by_blocks(graph: Graph, rows: int, most: int, score: Score) -> str:
    """The numbers of all rows, float[n], from blocks of at most ``most`` rows.

    All blocks have the same height. If none divides the rows, the last block starts early, and its
    overlap with the previous one is cut off.
    """
    height = min(most, rows)
    # Blocks that end with the last row need no copies.
    height = next((one for one in range(height, height // 2, -1) if rows % one == 0), height)
    blocks = -(-rows // height)
    last = rows - (blocks - 1) * height
    step, limit = graph.constant([height]), graph.constant([rows - height])
    starts = graph.add("Min", graph.add("Mul", graph.count(blocks), step), limit)
    starts = graph.add("Reshape", starts, graph.constant([-1, 1]))
    # A graph may have several loops, of which each has names of its own.
    prefix = f"block{graph.size}/"
    body, start = Graph(prefix, outer=graph), f"{prefix}start"
    flat = graph.constant([-1])
    found = body.add("Reshape", score(body, start, body.add("Add", start, step)), flat)
    loop = body.body(
        [helper.make_tensor_value_info(start, TensorProto.INT64, [1])],
        [helper.make_tensor_value_info(found, TensorProto.FLOAT, [height])],
    )
    every = graph.add("Scan", starts, body=loop, num_scan_inputs=1)
    every = graph.add("Reshape", every, flat)
    if last == height:
        return str(every)
    whole = graph.add("Slice", every, graph.constant([0]), graph.constant([(blocks - 1) * height]))
    end = graph.constant([blocks * height])
    rest = graph.add("Slice", every, graph.constant([blocks * height - last]), end)
    return str(graph.add("Concat", whole, rest, axis=0))
