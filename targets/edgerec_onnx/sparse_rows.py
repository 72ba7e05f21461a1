"""A table of rows that are zero but for a few numbers.

A block of rows is scored at a time: its numbers are multiplied with those of u that they meet, and
the score of a row is the difference between two running sums. Those are in double precision,
because a sum over many rows is far larger than a score.
"""

from __future__ import annotations

import numpy as np

from edgerec.plugin import F32, Sparse
from edgerec_onnx.blocks import by_blocks
from edgerec_onnx.exact import Exact
from edgerec_onnx.onnx_graph import Graph

__all__ = ["SparseRows"]

#: Numbers of the types of ONNX.
FLOAT, INT32, INT64, DOUBLE = 1, 6, 7, 11

#: Rows scored at a time.
BLOCK = 8192


class SparseRows(Exact):
    """Compressed sparse rows."""

    def __init__(self, graph: Graph, name: str, sparse: Sparse, factor: F32 | None) -> None:
        super().__init__(graph, len(sparse.starts) - 1, factor)
        self.width, self.most, self.count = sparse.width, sparse.most, max(1, len(sparse.values))
        columns, values = sparse.stored
        self.starts = graph.table(sparse.starts.astype(np.int32), f"{name}.starts")
        self.columns = graph.table(columns, f"{name}.columns")
        self.values = graph.table(values, f"{name}.values")
        self.scale = None
        if sparse.scale is not None:
            self.scale = graph.table(sparse.scale, f"{name}.scale")

    def read(self, rows: str) -> str:
        """Rows int64[k] as float[k, d]; as many numbers are read as the longest row has."""
        graph = self.graph
        values, columns = self._numbers(rows)
        columns = graph.add("Reshape", columns, graph.constant([-1, self.most, 1]))
        across = graph.constant(np.arange(self.width, dtype=np.int32), f"first_{self.width}")
        is_there = graph.add("Cast", graph.add("Equal", columns, across), to=FLOAT)
        wide = graph.add("Reshape", values, graph.constant([-1, 1, self.most]))
        found = graph.add("MatMul", wide, is_there)
        found = graph.add("Reshape", found, graph.constant([-1, self.width]))
        if self.scale is None:
            return str(found)
        return str(graph.add("Mul", found, self._scales(rows, [-1, 1])))

    def some(self, user: str, rows: str) -> str:
        """The products of rows int64[k] with float[1, d], float[k]."""
        graph = self.graph
        values, columns = self._numbers(rows)
        column = graph.add("Reshape", user, graph.constant([-1]))
        met = graph.add("Mul", values, graph.add("Gather", column, columns, axis=0))
        scores = graph.add("ReduceSum", met, graph.constant([1]), keepdims=0)
        if self.scale is None:
            return str(scores)
        return str(graph.add("Mul", scores, self._scales(rows, [-1])))

    def _numbers(self, rows: str) -> tuple[str, str]:
        """The numbers of rows int64[k], then zeros, float[k, most], and their columns."""
        graph, tall = self.graph, self.graph.constant([-1, 1])
        after = graph.add("Add", rows, graph.constant([1]))
        first, end = (
            graph.add("Reshape", graph.add("Gather", self.starts, at, axis=0), tall)
            for at in (rows, after)
        )
        every = graph.constant(np.arange(self.most, dtype=np.int32), f"first_{self.most}")
        places = graph.add("Add", first, every)
        is_inside = graph.add("Cast", graph.add("Less", places, end), to=FLOAT)
        last = graph.constant(np.array(self.count - 1, np.int32), f"last_{self.count}")
        places = graph.add("Min", places, last)
        values = graph.add("Cast", graph.add("Gather", self.values, places, axis=0), to=FLOAT)
        columns = graph.add("Cast", graph.add("Gather", self.columns, places, axis=0), to=INT32)
        return str(graph.add("Mul", values, is_inside)), str(columns)

    def _scales(self, rows: str, shape: list[int]) -> str:
        """The scales of rows int64[k]."""
        graph, scale = self.graph, self.scale
        assert scale is not None  # noqa: S101  # for mypy
        part = graph.add("Cast", graph.add("Gather", scale, rows, axis=0), to=FLOAT)
        return str(graph.add("Reshape", part, graph.constant(shape)))

    def scores(self, user: str) -> str:
        """The products of all rows with float[1, d], float[n], block by block."""
        graph, zero, one = self.graph, self.graph.constant([0]), self.graph.constant([1])
        column = graph.add("Reshape", user, graph.constant([-1]))
        nothing = graph.constant(np.zeros(1, np.float64), "nothing_yet")
        axis = graph.constant(np.array(0, np.int32), "axis_0")

        def score(body: Graph, start: str, end: str) -> str:
            after = body.add("Add", end, one)
            starts = body.add("Cast", body.add("Slice", self.starts, start, after, zero), to=INT64)
            height = body.add("Sub", end, start)
            first = body.add("Slice", starts, zero, one, zero)
            last = body.add("Slice", starts, height, body.add("Add", height, one), zero)
            columns = body.add("Slice", self.columns, first, last, zero)
            met = body.add("Gather", column, body.add("Cast", columns, to=INT32), axis=0)
            values = body.add("Slice", self.values, first, last, zero)
            products = body.add("Mul", body.add("Cast", values, to=FLOAT), met)
            sums = body.add("CumSum", body.add("Cast", products, to=DOUBLE), axis)
            sums = body.add("Concat", nothing, sums, axis=0)
            sums = body.add("Gather", sums, body.add("Sub", starts, first), axis=0)
            before = body.add("Slice", sums, zero, height, zero)
            upto = body.add("Slice", sums, one, body.add("Add", height, one), zero)
            scores = body.add("Cast", body.add("Sub", upto, before), to=FLOAT)
            if self.scale is None:
                return str(scores)
            scale = body.add("Slice", self.scale, start, end, zero)
            return str(body.add("Mul", scores, body.add("Cast", scale, to=FLOAT)))

        return by_blocks(graph, self.rows, BLOCK, score)
