"""Tables that kernels of TFLite scan as they are stored: floats, and integers with a scale per row.

Integers have a quantization scale of 1 in the file, and ops apply the scale of each row.
"""

from __future__ import annotations

from edgerec.plugin import Table
from edgerec_tflite.ops import unpack
from edgerec_tflite.stored import Stored
from edgerec_tflite.tflite_graph import Graph, Shape, Tensor

__all__ = ["CODECS", "Plain"]

#: Codecs with kernels of their own.
CODECS = ("fp32", "fp16", "int8", "int4")


class Plain(Stored):
    """A table in one of the codecs with kernels.

    Args:
        graph: the graph that reads it.
        table: its arrays.
        integers: whether an int8 table is scanned in integers; otherwise it is widened on loading.
    """

    def __init__(self, graph: Graph, table: Table, integers: bool) -> None:
        self.graph, self.table, self.integers = graph, table, integers
        self.codec, self.arrays = table.codec.name, table.arrays
        self._widened: dict[str, Tensor] = {}

    def read(self, rows: Tensor) -> Tensor:
        """Rows int32[k] as float[k, d]."""
        graph, shape = self.graph, (rows.shape[0], self.table.shape[1])
        if self.codec in ("fp32", "fp16"):
            return graph.gather(self._floats(), rows)
        values = self._numbers(rows)
        for array, kind in (("scale", "MUL"), ("offset", "ADD")):
            if array in self.arrays:
                part = graph.gather(self._range(array), rows)
                values = graph.op(kind, [values, graph.reshape(part, (shape[0], 1))], shape)
        return values

    def some(self, rows: Tensor, user: Tensor) -> Tensor:
        """The products of rows int32[k] with float[1, d], float[1, k]; scales apply to sums."""
        graph, shape = self.graph, (1, rows.shape[0])
        if self.codec in ("fp32", "fp16"):
            return super().some(rows, user)
        found = graph.fully_connected(user, self._numbers(rows))
        scale = graph.reshape(graph.gather(self._range("scale"), rows), shape)
        found = graph.op("MUL", [found, scale], shape)
        if "offset" in self.arrays:
            offset = graph.reshape(graph.gather(self._range("offset"), rows), shape)
            shift = graph.op("MUL", [offset, self._sum(user)], shape)
            found = graph.op("ADD", [found, shift], shape)
        return found

    def scan(self, user: Tensor, layout: Shape | None = None) -> Tensor:
        """The products of all rows with float[1, d], up to a factor that all share.

        They are laid out in whole groups or, by default, as float[1, n].
        """
        graph, layout = self.graph, layout or (1, self.table.shape[0])
        if self.codec in ("fp32", "fp16"):
            return graph.reshape(graph.fully_connected(user, self._floats()), layout)
        codes = graph.constant(self.arrays["codes"], self.table.shape, self.codec)
        if not self.integers and self.codec == "int8":
            codes = self._widen("codes", codes)
        # Reshaped first, because XNNPACK would copy a value that other ops read as well.
        products = graph.reshape(graph.fully_connected(user, codes), layout)
        logits = graph.op("MUL", [products, self._range("scale", layout)], layout)
        if "offset" in self.arrays:
            offset = self._range("offset", layout)
            shift = graph.op("MUL", [offset, self._sum(user)], layout)
            logits = graph.op("ADD", [logits, shift], layout)
        return logits

    def _numbers(self, rows: Tensor) -> Tensor:
        """The codes of rows int32[k], float[k, d]."""
        graph = self.graph
        # GATHER reads int8, or bytes with two int4 each.
        codes = graph.gather(graph.constant(self.arrays["codes"]), rows)
        if self.codec == "int4":
            return unpack(graph, codes, (rows.shape[0], self.table.shape[1]), 4)
        return graph.op("DEQUANTIZE", [codes], codes.shape)

    def _sum(self, user: Tensor) -> Tensor:
        """The sum over u, float[1, 1], which multiplies offsets."""
        return self.graph.op("SUM", [user, self.graph.small([1])], (1, 1), keepDims=True)

    def _floats(self) -> Tensor:
        """A float table; half-precision values are widened once, on loading."""
        return self._widen("values", self.graph.constant(self.arrays["values"]))

    def _range(self, array: str, layout: Shape | None = None) -> Tensor:
        """Scale or offset as float32[n], or in whole groups."""
        shape = layout if layout and layout[0] > 1 else None
        return self._widen(array, self.graph.constant(self.arrays[array], shape))

    def _widen(self, key: str, stored: Tensor) -> Tensor:
        if stored.dtype == "float32":
            return stored
        if key not in self._widened:
            self._widened[key] = self.graph.op("DEQUANTIZE", [stored], stored.shape)
        return self._widened[key]
