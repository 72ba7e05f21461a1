"""A table of floats in single or half precision.

Half-precision rows are widened block by block in a Scan, because a Cast of the whole table would be
folded into a float copy of it on loading.
"""

from __future__ import annotations

import numpy as np

from edgerec.plugin import F32, Dense
from edgerec_onnx.blocks import by_blocks
from edgerec_onnx.exact import Exact
from edgerec_onnx.onnx_graph import Graph

__all__ = ["Floats"]

#: Rows in half precision that are widened at a time: 1 MiB of floats at d = 64.
BLOCK = 4096


class Floats(Exact):
    """A table in single or half precision."""

    def __init__(self, graph: Graph, name: str, dense: Dense, factor: F32 | None) -> None:
        super().__init__(graph, len(dense.values), factor)
        self.halves = dense.values.dtype == np.float16
        self.stored = graph.table(dense.values, f"{name}.values")

    def read(self, rows: str) -> str:
        """Rows int64[k] as float[k, d]."""
        values = self.graph.add("Gather", self.stored, rows, axis=0)
        return str(self.graph.add("Cast", values, to=1) if self.halves else values)

    def scores(self, user: str) -> str:
        """The products of all rows with float[1, d], float[n]."""
        graph, flat = self.graph, self.graph.constant([-1])
        column = graph.add("Reshape", user, graph.constant([-1, 1]))
        if self.halves:
            return self._scan_blocks(column)
        return str(graph.add("Reshape", graph.add("MatMul", self.stored, column), flat))

    def _scan_blocks(self, column: str) -> str:
        """Score half-precision rows block by block: float[n]."""
        zero = self.graph.constant([0])

        def score(body: Graph, start: str, end: str) -> str:
            part = body.add("Slice", self.stored, start, end, zero)
            return str(body.add("MatMul", body.add("Cast", part, to=1), column))

        return by_blocks(self.graph, self.rows, BLOCK, score)
