"""The rows that an integer scan proposes, and the search for the best of them.

An integer scan rounds the user vector, so it only proposes. It keeps the highest rough score of
each group of adjacent rows, and all rows of the groups that may contain the best are scored again
in float. The scores of a chunk therefore never leave the cache, and no table is ever dequantized.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from edgerec_onnx.onnx_graph import Graph

__all__ = ["Grouped", "highest", "members", "rescore", "top", "user_sum"]

#: The score of rows that only fill a layout, less than any real score.
LOWEST = -3.4e38


class Grouped(Protocol):
    """A table whose rows are in groups of ``height``; the last groups may contain filler rows."""

    rows: int
    height: int
    groups: int

    def propose(self, user: str, returned: str, proposed: str) -> str:
        """Groups that may hold the best rows of float[1, d], int64[g].

        Args:
            user: float[1, d].
            returned: int64[1], the number of rows wanted.
            proposed: int64[1], the number of rows to score again if no tighter bound is known.
        """
        ...

    def score(self, user: str, groups: str) -> tuple[str, str]:
        """Scores float[1, m] of the rows int64[m] of groups int64[g]."""
        ...


def highest(graph: Graph, table: Grouped, maxima: str, k: str) -> tuple[str, str]:
    """The groups that hold the k highest rows, and their maxima: (float[g], int64[g]).

    The k highest rows are in at most k groups. Groups that contain none of the table's rows may be
    among the highest as well.
    """
    spare = table.groups - table.rows // table.height
    most = graph.add("Add", k, graph.constant([spare])) if spare else k
    most = graph.add("Min", most, graph.add("Shape", maxima))
    scores, groups = graph.add("TopK", maxima, most, outputs=2, axis=0)
    return scores, groups


def rescore(graph: Graph, table: Grouped, user: str, groups: str, k: str) -> tuple[str, str]:
    """Scores float[1, k] and rows int64[k] of the k best rows of groups, in float."""
    scores, rows = table.score(user, groups)
    if table.groups * table.height > table.rows:
        real = graph.add("Less", rows, graph.constant(np.array(table.rows), "rows"))
        scores = graph.add("Where", real, scores, graph.constant(LOWEST))
    return top(graph, scores, rows, k)


def top(graph: Graph, scores: str, rows: str, k: str) -> tuple[str, str]:
    """The k highest of float[1, m], float[1, k], and their rows among int64[m]."""
    highest, places = graph.add("TopK", scores, k, outputs=2, axis=1)
    places = graph.add("Reshape", places, graph.constant([-1]))
    return highest, graph.add("Gather", rows, places, axis=0)


def members(graph: Graph, groups: str, size: int) -> str:
    """The rows of groups int64[g] of adjacent rows, int64[g * size]."""
    column = graph.add("Reshape", groups, graph.constant([-1, 1]))
    starts = graph.add("Mul", column, graph.constant([size]))
    rows = graph.add("Add", starts, graph.count(size))
    return str(graph.add("Reshape", rows, graph.constant([-1])))


def user_sum(graph: Graph, user: str) -> str:
    """The sum over u, float[1, 1], which multiplies offsets."""
    return str(graph.add("ReduceSum", user, graph.constant([1]), keepdims=1))
