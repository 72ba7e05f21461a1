"""Compute a number per row block by block, so that what a block needs stays in the cache."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from onnx import TensorProto, helper

from edgerec_onnx.onnx_graph import Graph

__all__ = ["by_blocks"]

#: Adds what is computed of the rows from a start up to an end, int64[1] each, to a loop's body.
Score = Callable[[Graph, str, str], str]


def by_blocks(graph: Graph, rows: int, most: int, score: Score) -> str:
    """The numbers of all rows, float[n], from blocks of at most ``most`` rows.

    All blocks have the same height, so the last one starts early, and its overlap with the
    previous block is cut off.
    """
    height = min(most, rows)
    blocks = -(-rows // height)
    last = rows - (blocks - 1) * height
    step, limit = graph.constant([height]), graph.constant([rows - height])
    flat, zero = graph.constant([-1]), graph.constant([0])
    # A graph may have several loops, of which each has names of its own.
    prefix = f"block{graph.size}/"
    body, i, going_on = Graph(prefix, outer=graph), f"{prefix}i", f"{prefix}going"
    start = body.add("Min", body.add("Mul", body.add("Reshape", i, flat), step), limit)
    found = body.add("Reshape", score(body, start, body.add("Add", start, step)), flat)
    going = body.add("Identity", going_on)
    loop = body.body(
        [
            helper.make_tensor_value_info(i, TensorProto.INT64, []),
            helper.make_tensor_value_info(going_on, TensorProto.BOOL, []),
        ],
        [
            helper.make_tensor_value_info(going, TensorProto.BOOL, []),
            helper.make_tensor_value_info(found, TensorProto.FLOAT, [height]),
        ],
    )
    count = graph.constant(np.array(blocks, np.int64), f"scalar_{blocks}")
    every = graph.add("Reshape", graph.add("Loop", count, "", body=loop), flat)
    whole = graph.add("Slice", every, zero, graph.constant([(blocks - 1) * height]))
    end = graph.constant([blocks * height])
    rest = graph.add("Slice", every, graph.constant([blocks * height - last]), end)
    return str(graph.add("Concat", whole, rest, axis=0))
