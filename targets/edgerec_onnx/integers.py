"""A table of integers with a scale, and perhaps an offset, per row or per group of columns.

This is the generic form: rows are decoded block by block in a Loop, and multiplied in float.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgerec.plugin import F32, Affine
from edgerec_onnx.blocks import by_blocks
from edgerec_onnx.exact import Exact
from edgerec_onnx.onnx_graph import Graph

__all__ = ["Integers", "numbers", "stored"]

#: The number of the type in ONNX.
FLOAT = 1

#: Rows decoded at a time: 1 MiB of floats at d = 64.
BLOCK = 4096


class Integers(Exact):
    """Integers that no kernel scans as they are."""

    def __init__(self, graph: Graph, name: str, affine: Affine, factor: F32 | None) -> None:
        super().__init__(graph, len(affine.codes), factor)
        self.bits, self.groups, self.width = affine.bits, affine.groups, affine.columns
        ranges = {"scale": affine.scale, "offset": affine.offset}
        self.arrays = [graph.table(stored(affine.codes, self.bits), f"{name}.codes")] + [
            graph.table(array.reshape(self.rows, self.groups, 1), f"{name}.{key}")
            for key, array in ranges.items()
            if array is not None
        ]

    def read(self, rows: str) -> str:
        """Rows int64[k] as float[k, d]."""
        graph = self.graph
        return self._values(graph, [graph.add("Gather", a, rows, axis=0) for a in self.arrays])

    def scores(self, user: str) -> str:
        """The products of all rows with float[1, d], float[n], block by block."""
        graph, zero = self.graph, self.graph.constant([0])
        column = graph.add("Reshape", user, graph.constant([-1, 1]))

        def score(body: Graph, start: str, end: str) -> str:
            parts = [body.add("Slice", array, start, end, zero) for array in self.arrays]
            return str(body.add("MatMul", self._values(body, parts), column))

        return by_blocks(graph, self.rows, BLOCK, score)

    def _values(self, graph: Graph, parts: list[str]) -> str:
        """Codes, scales and offsets of some rows as float[k, d]."""
        codes, *ranges = parts
        if self.bits == 8:
            values = graph.add("Cast", codes, to=FLOAT)
        else:
            values = numbers(graph, codes, self.bits, self.width)
        shape = graph.constant([-1, self.groups, self.width // self.groups])
        values = graph.add("Reshape", values, shape)
        for kind, part in zip(("Mul", "Add"), ranges, strict=False):
            values = graph.add(kind, values, graph.add("Cast", part, to=FLOAT))
        return str(graph.add("Reshape", values, graph.constant([-1, self.width])))


def stored(codes: NDArray[Any], bits: int) -> NDArray[Any]:
    """Codes as the graph stores them: those of 4 bits above 8, so that they are unsigned."""
    return codes ^ np.uint8(0x88) if bits == 4 else codes


def numbers(graph: Graph, packed: str, bits: int, width: int) -> str:
    """Bytes uint8[k, w] of ``stored`` codes as the numbers they stand for, float[k, width].

    A code is what is left of a byte without the higher ones: ⌊b / 2^s⌋ - 2^bits ⌊b / 2^(s + bits)⌋.
    """
    shifts = 2.0 ** -np.arange(0, 8 + bits, bits, dtype=np.float32)
    low = graph.constant(shifts[:-1], f"low_of_{bits}")
    high = graph.constant(shifts[1:], f"high_of_{bits}")
    per_byte = 8 // bits
    held = -(-width // per_byte)
    byte = graph.add("Cast", packed, to=FLOAT)
    byte = graph.add("Reshape", byte, graph.constant([-1, held, 1]))
    above = graph.add("Floor", graph.add("Mul", byte, high))
    above = graph.add("Mul", above, graph.constant(float(2**bits)))
    codes = graph.add("Sub", graph.add("Floor", graph.add("Mul", byte, low)), above)
    codes = graph.add("Reshape", codes, graph.constant([-1, held * per_byte]))
    if held * per_byte > width:
        one = graph.constant([1])
        codes = graph.add("Slice", codes, graph.constant([0]), graph.constant([width]), one)
    if bits == 4:
        return str(graph.add("Sub", codes, graph.constant(8.0)))
    # Of single bits, 0 stands for -1.
    return str(graph.add("Sub", graph.add("Add", codes, codes), graph.constant(1.0)))
