"""Tables whose rows are multiplied in float: floats and integers.

For integers this is the generic form: codes are widened block by block, and multiplied in float,

    u · x_i = Σ_g scale_ig (u_g · codes_ig) + offset_ig Σ_j u_gj.
"""

from __future__ import annotations

import numpy as np

from edgerec.plugin import Affine, Dense
from edgerec_tflite.ops import planes, signed, unpack
from edgerec_tflite.stored import Stored
from edgerec_tflite.tflite_graph import Graph, Tensor

__all__ = ["Floats", "Integers"]

#: Numbers that are widened at a time, in rows of 64 columns; each block adds a few ops to the file.
NUMBERS = 2**20


class Floats(Stored):
    """A table in single or half precision; half-precision values are widened on loading."""

    def __init__(self, graph: Graph, dense: Dense) -> None:
        self.graph, self.values = graph, graph.floats(dense.values)

    def read(self, rows: Tensor) -> Tensor:
        """Rows int32[k] as float[k, d]."""
        return self.graph.gather(self.values, rows)

    def scan(self, user: Tensor) -> Tensor:
        """Score all rows: float[1, n]."""
        return self.graph.fully_connected(user, self.values)


class Integers(Stored):
    """Integers with a scale, and perhaps an offset, per row or per group of columns."""

    def __init__(self, graph: Graph, affine: Affine) -> None:
        self.graph, self.affine, self.rows = graph, affine, len(affine.codes)
        shape = (self.rows, affine.groups)
        self.arrays = [graph.constant(affine.codes)] + [
            graph.floats(array, shape)
            for array in (affine.scale, affine.offset)
            if array is not None
        ]

    def read(self, rows: Tensor) -> Tensor:
        """Rows int32[k] as float[k, d]."""
        return self._values([self.graph.gather(array, rows) for array in self.arrays])

    def scan(self, user: Tensor) -> Tensor:
        """Score all rows: float[1, n]."""
        graph, n, factors = self.graph, self.rows, self._factors(user)
        block = NUMBERS // min(64, self.affine.columns)
        return graph.concatenate(
            [
                self._products(
                    [graph.slice(one, start, min(block, n - start)) for one in self.arrays], factors
                )
                for start in range(0, n, block)
            ],
            1,
        )

    def some(self, rows: Tensor, user: Tensor) -> Tensor:
        """The products of rows int32[k] with float[1, d], float[1, k]; scales apply to sums."""
        parts = [self.graph.gather(array, rows) for array in self.arrays]
        return self._products(parts, self._factors(user))

    def _products(self, parts: list[Tensor], factors: Tensor) -> Tensor:
        """The products of k rows, of which codes, scales and offsets are given, float[1, k]."""
        (codes, *ranges), graph, groups = parts, self.graph, self.affine.groups
        scores = graph.fully_connected(self._codes(codes), factors)
        scores = graph.op("MUL", [scores, ranges[0]], scores.shape)
        if len(ranges) > 1:
            sums = graph.op("SUM", [factors, graph.small([1])], (groups,))
            shift = graph.op("MUL", [ranges[1], sums], scores.shape)
            scores = graph.op("ADD", [scores, shift], scores.shape)
        high = scores.shape[0]
        if groups > 1:
            scores = graph.op("SUM", [scores, graph.small([1])], (high, 1), keepDims=True)
        return graph.reshape(scores, (1, high))

    def _codes(self, codes: Tensor) -> Tensor:
        """Codes of k rows in the order of their planes, float[k, m]."""
        graph, bits = self.graph, self.affine.bits
        if bits == 8:
            return graph.op("DEQUANTIZE", [codes], codes.shape)
        byte = graph.op("CAST", [codes], codes.shape)
        return signed(graph, graph.concatenate(planes(graph, byte, bits), 1), bits)

    def _factors(self, user: Tensor) -> Tensor:
        """By what planes of codes are multiplied: u in each group's own columns, float[G, m]."""
        graph, affine, d = self.graph, self.affine, self.affine.columns
        columns, group = (array.astype(np.int32) for array in affine.planes)
        shape = (affine.groups, len(columns))
        every = graph.constant(np.arange(affine.groups, dtype=np.int32)[:, None])
        is_own = graph.op("EQUAL", [every, graph.constant(group[None])], shape, "bool")
        own = graph.gather(graph.reshape(user, (d,)), graph.constant(columns))
        is_own = graph.op("CAST", [is_own], shape)
        return graph.op("MUL", [is_own, graph.reshape(own, (1, len(columns)))], shape)

    def _values(self, parts: list[Tensor]) -> Tensor:
        """Codes, scales and offsets of k rows as float[k, d]."""
        (codes, *ranges), graph, affine = parts, self.graph, self.affine
        k, d, groups = codes.shape[0], affine.columns, affine.groups
        if affine.bits == 8:
            values = graph.op("DEQUANTIZE", [codes], codes.shape)
        else:
            values = unpack(graph, codes, (k, d), affine.bits)
        shape = (k, groups, d // groups)
        values = graph.reshape(values, shape)
        for kind, part in zip(("MUL", "ADD"), ranges, strict=False):
            values = graph.op(kind, [values, graph.reshape(part, (k, groups, 1))], shape)
        return graph.reshape(values, (k, d))
