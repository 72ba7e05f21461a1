"""Tables whose rows are decoded and multiplied in float: floats and integers.

For integers this is the generic form, which decodes rows block by block.
"""

from __future__ import annotations

from edgerec.plugin import Affine, Dense
from edgerec_tflite.ops import unpack
from edgerec_tflite.tflite_graph import Graph, Tensor

__all__ = ["Floats", "Integers"]

#: Rows decoded at a time; each block adds a few ops to the file.
BLOCK = 16384


class Floats:
    """A table in single or half precision; half-precision values are widened on loading."""

    def __init__(self, graph: Graph, dense: Dense) -> None:
        self.graph, self.values = graph, graph.floats(dense.values)

    def read(self, rows: Tensor) -> Tensor:
        """Rows int32[k] as float[k, d]."""
        return self.graph.gather(self.values, rows)

    def scan(self, user: Tensor) -> Tensor:
        """Score all rows: float[1, n]."""
        return self.graph.fully_connected(user, self.values)


class Integers:
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
        graph, n, found = self.graph, self.rows, []
        for start in range(0, n, BLOCK):
            high = min(BLOCK, n - start)
            parts = [graph.slice(array, start, high) for array in self.arrays]
            found.append(graph.fully_connected(user, self._values(parts)))
        return graph.concatenate(found, 1)

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
