"""What tables have in common whose rows are all scored exactly."""

from __future__ import annotations

import abc

from edgerec.plugin import F32
from edgerec_onnx.onnx_graph import Graph
from edgerec_onnx.proposal import members

__all__ = ["Exact", "product"]


class Exact(abc.ABC):
    """A table that is read by row, and whose rows are all scored in float.

    Args:
        graph: the graph that reads it.
        rows: the number of rows.
        factor: float[n], by which scores are multiplied; none for no factor.
    """

    def __init__(self, graph: Graph, rows: int, factor: F32 | None = None) -> None:
        self.graph, self.rows = graph, rows
        self.factor = None if factor is None else graph.table(factor[None], "candidate_factor")

    @abc.abstractmethod
    def read(self, rows: str) -> str:
        """Rows int64[k] as float[k, d]."""

    @abc.abstractmethod
    def scores(self, user: str) -> str:
        """The products of all rows with float[1, d], float[n]."""

    def scan(self, user: str) -> str:
        """Score all rows: float[1, n]."""
        graph = self.graph
        scores = graph.add("Reshape", self.scores(user), graph.constant([1, self.rows]))
        return str(scores if self.factor is None else graph.add("Mul", scores, self.factor))

    def some(self, user: str, rows: str) -> str:
        """The products of rows int64[k] with float[1, d], float[k]; by default they are read."""
        return product(self.graph, self.read(rows), user)

    def of_blocks(self, user: str, blocks: str, read: int, height: int) -> str:
        """The products of the rows of ``read`` blocks int64[read], float[read * height].

        Of a shorter last block, what follows the last row may be any number.
        """
        graph = self.graph
        rows = graph.add("Min", members(graph, blocks, height), graph.constant([self.rows - 1]))
        return self.some(user, rows)

    def factor_of(self, rows: str) -> str:
        """The factors of the scores of rows int64[k], float[k]; only if there is a ``factor``."""
        assert self.factor is not None  # noqa: S101  # for mypy
        factor = self.graph.add("Gather", self.factor, rows, axis=1)
        return str(self.graph.add("Reshape", factor, self.graph.constant([-1])))


def product(graph: Graph, rows: str, user: str) -> str:
    """The products of rows float[k, d] with float[1, d], float[k]."""
    column = graph.add("Reshape", user, graph.constant([-1, 1]))
    return str(graph.add("Reshape", graph.add("MatMul", rows, column), graph.constant([-1])))
