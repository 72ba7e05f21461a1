"""The rows of the blocks that suit the user, where not all rows are scored."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from edgerec.plugin import OPTIMISM, Blocks, Centroids
from edgerec_tflite.tflite_graph import Graph, Tensor

__all__ = ["score_nearest"]

#: Rows scored at a time, whose numbers stay in the cache; each part adds a few ops to the file.
ROWS = 16384

#: The score of what is no row, less than any real score.
LOWEST = -3.4e38


def score_nearest(
    graph: Graph,
    user: Tensor,
    blocks: Blocks,
    centroids: Centroids,
    n: int,
    exact: Callable[[Tensor, Tensor, Tensor], Tensor],
) -> tuple[Tensor, Tensor]:
    """Scores float[1, m] and rows int32[m] of the blocks that suit the user.

    Args:
        graph: to add ops to.
        user: float[1, d].
        blocks: how rows are divided, and how many blocks are read.
        centroids: of each block.
        n: the number of rows.
        exact: scores float[1, k] of the rows int32[k] of blocks int32[b], for the user.
    """
    _, near = graph.top(_expected(graph, user, centroids), blocks.read)
    count, height = blocks.read, blocks.height
    first = graph.op("MUL", [near, graph.small([height])], (1, count), "int32")
    along = graph.constant(np.arange(height, dtype=np.int32)[None])
    rows = graph.op("ADD", [graph.reshape(first, (count, 1)), along], (count, height), "int32")
    rows = graph.reshape(rows, (count * height,))
    safe = graph.op("MINIMUM", [rows, graph.small([n - 1])], rows.shape, "int32")
    near, step, found = graph.reshape(near, (count,)), max(1, ROWS // height), []
    for start in range(0, count, step):
        read = min(step, count - start)
        part = graph.slice(near, start, read), graph.slice(safe, start * height, read * height)
        found.append(graph.reshape(exact(*part, user), (1, read * height)))
    scores = graph.concatenate(found, 1)
    if n % height == 0:
        return scores, rows
    # The last block is shorter.
    is_row = graph.op("LESS", [rows, graph.small([n])], rows.shape, "bool")
    is_row = graph.reshape(is_row, scores.shape)
    return graph.op("SELECT_V2", [is_row, scores, graph.small(LOWEST)], scores.shape), rows


def _expected(graph: Graph, user: Tensor, centroids: Centroids) -> Tensor:
    """What is expected of each block for float[1, d], float[1, blocks]."""
    square = graph.op("MUL", [user, user], user.shape)
    total = graph.op("SUM", [square, graph.small([1])], (1, 1), keepDims=True)
    length = graph.op("SQRT", [total], (1, 1))
    radius = graph.op("MUL", [length, graph.small(OPTIMISM)], (1, 1))
    both = graph.concatenate([user, radius], 1)
    both = graph.op("MUL", [both, graph.constant(centroids.scale[None])], both.shape)
    codes = graph.constant(centroids.codes)
    # Widened, because a product with integers would round the user vector.
    return graph.fully_connected(both, graph.op("DEQUANTIZE", [codes], codes.shape))
