"""A table of floats in single or half precision.

Half-precision rows are widened block by block in a Loop, because a Cast of the whole table would be
folded into a float copy of it on loading.
"""

from __future__ import annotations

from edgerec.plugin import F32, Table
from edgerec_onnx.blocks import by_blocks
from edgerec_onnx.onnx_graph import Graph

__all__ = ["Floats"]

#: Rows in half precision that are widened at a time: 1 MiB of floats at d = 64.
BLOCK = 4096


class Floats:
    """A table in single or half precision."""

    def __init__(self, graph: Graph, name: str, table: Table, factor: F32 | None) -> None:
        self.graph, self.rows = graph, table.shape[0]
        self.halves = table.codec.name == "fp16"
        self.stored = graph.table(table.arrays["values"], f"{name}.values")
        self.factor = None if factor is None else graph.table(factor[None], "candidate_factor")

    def read(self, rows: str) -> str:
        """Rows int64[k] as float[k, d]."""
        values = self.graph.add("Gather", self.stored, rows, axis=0)
        return str(self.graph.add("Cast", values, to=1) if self.halves else values)

    def factor_of(self, rows: str) -> str:
        """The factors of the scores of rows int64[k], float[k]; only if there is a ``factor``."""
        assert self.factor is not None  # noqa: S101  # for mypy
        factor = self.graph.add("Gather", self.factor, rows, axis=1)
        return str(self.graph.add("Reshape", factor, self.graph.constant([-1])))

    def scan(self, user: str) -> str:
        """Score all rows: float[1, n]."""
        graph = self.graph
        column = graph.add("Reshape", user, graph.constant([-1, 1]))
        if self.halves:
            scores = self._scan_blocks(column)
        else:
            scores = graph.add("MatMul", self.stored, column)
        scores = graph.add("Reshape", scores, graph.constant([1, self.rows]))
        return str(scores if self.factor is None else graph.add("Mul", scores, self.factor))

    def _scan_blocks(self, column: str) -> str:
        """Score half-precision rows block by block: float[n]."""
        zero = self.graph.constant([0])

        def score(body: Graph, start: str, end: str) -> str:
            part = body.add("Slice", self.stored, start, end, zero)
            return str(body.add("MatMul", body.add("Cast", part, to=1), column))

        return by_blocks(self.graph, self.rows, BLOCK, score)
