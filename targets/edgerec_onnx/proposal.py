"""What an integer scan proposes, and how the best of it is found.

An integer scan rounds the user vector, so it only proposes: of each group of neighbouring rows
the highest rough score is kept, and all rows of the groups that may hold the best are scored
again, in float. So the scores of a chunk never leave the cache, and no table is ever dequantized.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from edgerec_onnx.graph import Graph

__all__ = ["Grouped", "highest", "members", "rescore", "top", "user_sum"]

#: Less than any score: that of the rows that fill a layout.
LOWEST = -3.4e38


class Grouped(Protocol):
    """A table whose rows lie in groups of ``height``; the last ones may be filled up."""

    rows: int
    height: int
    groups: int

    def propose(self, user: str, returned: str, proposed: str) -> str:
        """Groups that may hold the best rows of float[1, d], int64[g].

        Args:
            user: float[1, d].
            returned: int64[1], how many are wanted.
            proposed: int64[1], how many rows to score again where nothing better is known.
        """
        ...

    def score(self, user: str, groups: str) -> tuple[str, str]:
        """Scores float[1, m] of the rows int64[m] of groups int64[g]."""
        ...


def highest(graph: Graph, table: Grouped, maxima: str, k: str) -> tuple[str, str]:
    """The groups that hold the k highest rows, and their maxima: (float[g], int64[g]).

    These are in as many groups; groups that hold none of the table's rows may be among the
    highest, too.
    """
    spare = table.groups - table.rows // table.height
    most = graph.add("Add", k, graph.constant([spare])) if spare else k
    most = graph.add("Min", most, graph.constant([table.groups]))
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
    """The k highest of float[1, m], float[1, k], and which of the rows int64[m] they are of."""
    highest, places = graph.add("TopK", scores, k, outputs=2, axis=1)
    places = graph.add("Reshape", places, graph.constant([-1]))
    return highest, graph.add("Gather", rows, places, axis=0)


def members(graph: Graph, groups: str, size: int) -> str:
    """Rows of groups int64[g] of neighbouring rows, int64[g * size]."""
    column = graph.add("Reshape", groups, graph.constant([-1, 1]))
    starts = graph.add("Mul", column, graph.constant([size]))
    rows = graph.add("Add", starts, graph.count(size))
    return str(graph.add("Reshape", rows, graph.constant([-1])))


def user_sum(graph: Graph, user: str) -> str:
    """The sum over u, float[1, 1]: what an offset is multiplied by."""
    return str(graph.add("ReduceSum", user, graph.constant([1]), keepdims=1))
