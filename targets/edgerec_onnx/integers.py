"""A table of integers with a scale, and perhaps an offset, per row or per group of columns.

This is the generic form: codes are widened block by block in a Scan, and multiplied in float,

    u · x_i = Σ_g scale_ig (u_g · codes_ig) + offset_ig Σ_j u_gj.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgerec.plugin import F32, Affine
from edgerec_onnx.blocks import by_blocks
from edgerec_onnx.exact import Exact
from edgerec_onnx.onnx_graph import Graph

__all__ = ["Integers", "Products", "numbers", "stored"]

#: The number of the type in ONNX.
FLOAT = 1

#: Rows decoded at a time: 1 MiB of floats at d = 64.
BLOCK = 4096


class Integers(Exact):
    """Integers that no kernel scans as they are."""

    def __init__(self, graph: Graph, name: str, affine: Affine, factor: F32 | None) -> None:
        super().__init__(graph, len(affine.codes), factor)
        self.bits, self.groups, self.width = affine.bits, affine.groups, affine.columns
        self.affine = affine
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
        zero, products = self.graph.constant([0]), Products(self.graph, self.affine, user)

        def score(body: Graph, start: str, end: str) -> str:
            parts = (body.add("Slice", array, start, end, zero) for array in self.arrays)
            return products.of(body, *parts)

        return by_blocks(self.graph, self.rows, BLOCK, score)

    def some(self, user: str, rows: str) -> str:
        """The products of rows int64[k] with float[1, d], float[k]."""
        parts = (self.graph.add("Gather", array, rows, axis=0) for array in self.arrays)
        return Products(self.graph, self.affine, user).of(self.graph, *parts)

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


class Products:
    """The products of u with rows of integers, of which only sums are multiplied by scales.

    Args:
        graph: to which factors are added, once.
        affine: what the integers stand for.
        user: float[1, d].
    """

    def __init__(self, graph: Graph, affine: Affine, user: str) -> None:
        self.bits, self.groups = affine.bits, affine.groups
        self.sums = self._sums(graph, user)
        self.factors, self.shift = self._factors(graph, affine, user)

    def of(self, graph: Graph, codes: str, scale: str, offset: str = "") -> str:
        """The products of k rows with their codes as they are stored and their ranges, float[k]."""
        places = [graph.add("Cast", codes, to=FLOAT)]
        if self.bits < 8:
            places = planes(graph, places[0], self.bits)
        wide = graph.add("Concat", *places, axis=1) if len(places) > 1 else places[0]
        parts = graph.add("MatMul", wide, self.factors)
        if self.shift:
            parts = graph.add("Sub", parts, self.shift)
        parts = graph.add("Mul", parts, self._flat(graph, scale))
        if offset:
            parts = graph.add("Add", parts, graph.add("Mul", self._flat(graph, offset), self.sums))
        return str(graph.add("ReduceSum", parts, graph.constant([1]), keepdims=0))

    def _flat(self, graph: Graph, ranges: str) -> str:
        """Scales or offsets of some rows, float[k, G]."""
        shape = graph.constant([-1, self.groups])
        return str(graph.add("Reshape", graph.add("Cast", ranges, to=FLOAT), shape))

    def _sums(self, graph: Graph, user: str) -> str:
        """The sum of u over each group of columns, float[1, G]."""
        parts = graph.add("Reshape", user, graph.constant([self.groups, -1]))
        sums = graph.add("ReduceSum", parts, graph.constant([1]), keepdims=0)
        return str(graph.add("Reshape", sums, graph.constant([1, -1])))

    def _factors(self, graph: Graph, affine: Affine, user: str) -> tuple[str, str]:
        """By what planes of codes are multiplied, float[m, G], and what is subtracted, float[1, G].

        Codes lie in the order of their planes. A code c of 4 bits stands for c - 8, and one of a
        single bit for 2 c - 1.
        """
        columns, group = affine.planes
        own = graph.constant(group[:, None], f"groups_{self.bits}_{affine.columns}_{self.groups}")
        every = graph.constant(np.arange(self.groups)[None], f"groups_{self.groups}")
        is_own = graph.add("Cast", graph.add("Equal", own, every), to=FLOAT)
        places = graph.constant(columns, f"places_{self.bits}_{affine.columns}")
        column = graph.add("Reshape", user, graph.constant([-1, 1]))
        factors = graph.add("Mul", graph.add("Gather", column, places, axis=0), is_own)
        if self.bits == 8:
            return str(factors), ""
        if self.bits == 4:
            return str(factors), str(graph.add("Mul", self.sums, graph.constant(8.0)))
        return str(graph.add("Add", factors, factors)), self.sums


def stored(codes: NDArray[Any], bits: int) -> NDArray[Any]:
    """Codes as the graph stores them: those of 4 bits above 8, so that they are unsigned."""
    return codes ^ np.uint8(0x88) if bits == 4 else codes


def numbers(graph: Graph, packed: str, bits: int, width: int) -> str:
    """Bytes uint8[k, w] of ``stored`` codes as the numbers they stand for, float[k, width]."""
    per_byte = 8 // bits
    held = -(-width // per_byte)
    # A last axis of one would make onnxruntime multiply number by number.
    byte = graph.add("Reshape", graph.add("Cast", packed, to=FLOAT), graph.constant([-1, held]))
    tall = graph.constant([-1, held, 1])
    parts = [graph.add("Reshape", plane, tall) for plane in planes(graph, byte, bits)]
    codes = graph.add("Concat", *parts, axis=2)
    codes = graph.add("Reshape", codes, graph.constant([-1, held * per_byte]))
    if held * per_byte > width:
        one = graph.constant([1])
        codes = graph.add("Slice", codes, graph.constant([0]), graph.constant([width]), one)
    if bits == 4:
        return str(graph.add("Sub", codes, graph.constant(8.0)))
    # Of single bits, 0 stands for -1.
    return str(graph.add("Sub", graph.add("Add", codes, codes), graph.constant(1.0)))


def planes(graph: Graph, byte: str, bits: int) -> list[str]:
    """The first codes of all bytes, the second ones, and so on, in floats of the bytes' shape.

    A code is what is left of a byte without the higher ones: ⌊b / 2^s⌋ - 2^bits ⌊b / 2^(s + bits)⌋.
    """
    found, rest = [], byte
    for _ in range(8 // bits - 1):
        higher = graph.add("Floor", graph.add("Mul", rest, graph.constant(2.0**-bits)))
        above = graph.add("Mul", higher, graph.constant(2.0**bits))
        found.append(graph.add("Sub", rest, above))
        rest = higher
    return [*found, rest]
