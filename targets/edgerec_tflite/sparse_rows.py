"""A table of rows that are zero but for a few numbers.

A block of numbers is multiplied with those of u that they meet, and each product is added to the
score of its row by SCATTER_ND, which adds up what has the same place. The row of a number follows
from where rows start.
"""

from __future__ import annotations

import numpy as np

from edgerec.plugin import Sparse
from edgerec_tflite.stored import Stored
from edgerec_tflite.tflite_graph import Graph, Tensor

__all__ = ["SparseRows"]

#: Numbers that are multiplied at a time.
NUMBERS = 65536


class SparseRows(Stored):
    """Compressed sparse rows."""

    def __init__(self, graph: Graph, sparse: Sparse) -> None:
        self.graph, self.rows, self.width = graph, len(sparse.starts) - 1, sparse.width
        self.most, self.blocks = sparse.most, sparse.blocks(NUMBERS)
        starts = sparse.starts.astype(np.int32)
        self.starts = graph.constant(starts, key=(id(sparse.starts), "int32"))
        columns, values = sparse.stored
        self.columns, self.values = graph.constant(columns), graph.constant(values)
        if self.values.dtype == "float16":
            self.values = graph.op("DEQUANTIZE", [self.values], values.shape)
        self.scale = None if sparse.scale is None else graph.floats(sparse.scale)

    def read(self, rows: Tensor) -> Tensor:
        """Rows int32[k] as float[k, d]; as many numbers are read as the longest row has."""
        graph, (k,) = self.graph, rows.shape
        values, columns = self._numbers(rows)
        deep = (k, self.most, self.width)
        across = graph.constant(np.arange(self.width, dtype=np.int32)[None, None])
        columns = graph.reshape(columns, (*columns.shape, 1))
        is_there = graph.op("CAST", [graph.op("EQUAL", [columns, across], deep, "bool")], deep)
        found = graph.op("MUL", [is_there, graph.reshape(values, (*values.shape, 1))], deep)
        found = graph.op("SUM", [found, graph.small([1])], (k, self.width))
        if self.scale is not None:
            scale = graph.reshape(graph.gather(self.scale, rows), (k, 1))
            found = graph.op("MUL", [found, scale], found.shape)
        return found

    def some(self, rows: Tensor, user: Tensor) -> Tensor:
        """The products of rows int32[k] with float[1, d], float[1, k]."""
        graph, shape = self.graph, (1, rows.shape[0])
        values, columns = self._numbers(rows)
        met = graph.gather(graph.reshape(user, (self.width,)), columns)
        met = graph.op("MUL", [values, met], values.shape)
        scores = graph.reshape(graph.op("SUM", [met, graph.small([1])], rows.shape), shape)
        if self.scale is not None:
            scale = graph.reshape(graph.gather(self.scale, rows), shape)
            scores = graph.op("MUL", [scores, scale], shape)
        return scores

    def _numbers(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """The numbers of rows int32[k], then zeros, float[k, most], and their columns."""
        graph, (k,) = self.graph, rows.shape
        wide = (k, self.most)
        after = graph.op("ADD", [rows, graph.small([1])], (k,), "int32")
        first, end = (graph.reshape(graph.gather(self.starts, at), (k, 1)) for at in (rows, after))
        every = graph.constant(np.arange(self.most, dtype=np.int32)[None])
        places = graph.op("ADD", [first, every], wide, "int32")
        is_inside = graph.op("CAST", [graph.op("LESS", [places, end], wide, "bool")], wide)
        last = graph.small([self.values.shape[0] - 1])
        places = graph.op("MINIMUM", [places, last], wide, "int32")
        values = graph.op("MUL", [self._floats(graph.gather(self.values, places)), is_inside], wide)
        return values, graph.op("CAST", [graph.gather(self.columns, places)], wide, "int32")

    def scan(self, user: Tensor) -> Tensor:
        """Score all rows: float[1, n]."""
        graph, shape = self.graph, (1, self.rows)
        flat = graph.reshape(user, (self.width,))
        scores = graph.concatenate([self._sums(flat, *block) for block in self.blocks], 0)
        scores = graph.reshape(scores, shape)
        if self.scale is None:
            return scores
        return graph.op("MUL", [scores, graph.reshape(self.scale, shape)], shape)

    def _sums(self, user: Tensor, start: int, stop: int, first: int, end: int) -> Tensor:
        """The products of rows from start to stop, whose numbers are those from first to end."""
        graph, high, count = self.graph, stop - start, end - first
        if not count:
            return graph.op("FILL", [graph.small([high]), graph.small(0.0)], (high,))
        columns = graph.slice(self.columns, first, count)
        met = graph.gather(user, graph.op("CAST", [columns], (count,), "int32"))
        values = self._floats(graph.slice(self.values, first, count))
        products = graph.op("MUL", [values, met], (count,))
        if high == 1:
            return graph.op("SUM", [products, graph.small([0])], (1,), keepDims=True)
        # Each row but the first begins with a mark, so their running sum is the row of a number.
        marks = graph.slice(self.starts, start + 1, high - 1)
        marks = graph.op("SUB", [marks, graph.small([first])], (high - 1,), "int32")
        ones = graph.op("FILL", [graph.small([high - 1]), graph.scalar(1)], (high - 1,), "int32")
        row = graph.op(
            "SCATTER_ND",
            [graph.reshape(marks, (high - 1, 1)), ones, graph.small([count + 1])],
            (count + 1,),
            "int32",
        )
        row = graph.op("CUMSUM", [row, graph.scalar(0)], row.shape, "int32")
        row = graph.reshape(graph.slice(row, 0, count), (count, 1))
        return graph.op("SCATTER_ND", [row, products, graph.small([high])], (high,))

    def _floats(self, values: Tensor) -> Tensor:
        if values.dtype == "float32":
            return values
        return self.graph.op("DEQUANTIZE", [values], values.shape)
