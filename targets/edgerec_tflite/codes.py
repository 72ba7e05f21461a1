"""Codes that stand for codewords, and the look-up of numbers by code.

A byte of each row is stored after the other, uint8[W, n], so that GATHER looks up a block of rows
at a time. Of many rows, two bytes are one number, int16[W / 2, n]: half as many look-ups, in tables
of 65,536 sums. If W is odd, the last byte is stored as before. Numbers of 16 bits are stored
32,768 lower, because older runtimes do not read unsigned ones.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgerec.plugin import Lookup
from edgerec_tflite.tflite_graph import Graph, Tensor

__all__ = ["Codes", "stored_codes"]

#: The number of rows from which the sums of two bytes pay for themselves.
MANY = 200_000

#: Rows whose numbers are looked up at a time, and the most blocks; each has ops of its own.
BLOCK, MOST_BLOCKS = 16384, 256


def stored_codes(lookup: Lookup, height: int) -> list[NDArray[Any]]:
    """The codes as they are stored: pairs of bytes, if there are any, and single bytes.

    Args:
        lookup: the table.
        height: the number of rows in a block of a table that is read in blocks; 0 for any other.
    """
    if len(lookup.codes) < MANY or height:
        return [lookup.by_byte(height)]
    pairs, rest = lookup.by_pair()
    lower = (pairs ^ np.uint16(0x8000)).view(np.int16)
    return [part for part in (lower, rest) if len(part)]


class Codes:
    """The codes of all rows, W bytes each."""

    def __init__(self, graph: Graph, lookup: Lookup, height: int) -> None:
        self.graph = graph
        self.rows, self.bytes = lookup.codes.shape
        self.parts = [
            graph.constant(part, key=(id(lookup.codes), part.dtype.name))
            for part in stored_codes(lookup, height)
        ]

    def of(self, rows: Tensor) -> Tensor:
        """The codes of rows int32[k], int32[W, k]."""
        graph, (k,), found = self.graph, rows.shape, []
        for part in self.parts:
            codes = self._numbers(graph.gather(part, rows, axis=1))
            if part.dtype == "int16":
                shape, full = codes.shape, graph.small([256])
                high = graph.op("FLOOR_DIV", [codes, full], shape, "int32")
                below = graph.op("MUL", [high, full], shape, "int32")
                low = graph.op("SUB", [codes, below], shape, "int32")
                halves = [graph.reshape(half, (shape[0], 1, k)) for half in (low, high)]
                codes = graph.reshape(graph.concatenate(halves, 1), (2 * shape[0], k))
            found.append(codes)
        return graph.concatenate(found, 0)

    def of_blocks(self, blocks: Tensor, k: int) -> Tensor:
        """The codes of the k rows of whole blocks int32[b], int32[W, k]."""
        graph, (codes,), (count,) = self.graph, self.parts, blocks.shape
        codes = graph.reshape(codes, (self.bytes, codes.shape[1] * count // k, k // count))
        codes = graph.reshape(graph.gather(codes, blocks, axis=1), (self.bytes, k))
        return self._numbers(codes)

    def sums(self, products: Tensor) -> Tensor:
        """The sums of what each row's codes look up in float[W, 256], float[1, n]."""
        graph, found, first = self.graph, [], 0
        tables = []
        for part in self.parts:
            each = 2 if part.dtype == "int16" else 1
            own = graph.slice(products, first, each * part.shape[0])
            tables.append(self._of_pairs(own) if each == 2 else own)
            first += each * part.shape[0]
        block = max(BLOCK, self.rows // MOST_BLOCKS)
        for start in range(0, self.rows, block):
            high, sums = min(block, self.rows - start), []
            for table, part in zip(tables, self.parts, strict=True):
                shape = (part.shape[0], high)
                ends = graph.small([0, start]), graph.small([*shape])
                codes = graph.op("SLICE", [part, *ends], shape, part.dtype)
                sums.append(self.added(table, self._numbers(codes)))
            added = sums[0] if len(sums) == 1 else graph.op("ADD", sums, sums[0].shape)
            found.append(added)
        return graph.concatenate(found, 1)

    def added(self, products: Tensor, codes: Tensor) -> Tensor:
        """The sums of what codes int32[W, k] look up in float[W, m], float[1, k]."""
        graph, shape = self.graph, codes.shape
        found = graph.op("GATHER", [products, codes], shape, axis=1, batchDims=1)
        if shape[0] == 1:
            return found
        return graph.op("SUM", [found, graph.small([0])], (1, shape[1]), keepDims=True)

    def _numbers(self, codes: Tensor) -> Tensor:
        """Codes as int32, 0 for the lowest."""
        graph, shape = self.graph, codes.shape
        numbers = graph.op("CAST", [codes], shape, "int32")
        if codes.dtype == "int16":
            numbers = graph.op("ADD", [numbers, graph.small([32768])], shape, "int32")
        return numbers

    def _of_pairs(self, products: Tensor) -> Tensor:
        """The sums of every two bytes, float[W / 2, 65536]; the low one varies fastest."""
        graph, paired = self.graph, products.shape[0] // 2
        pairs = graph.reshape(products, (paired, 2, 256))
        low, high = (graph.gather(pairs, graph.small([half]), axis=1) for half in (0, 1))
        high = graph.reshape(high, (paired, 256, 1))
        both = graph.op("ADD", [high, low], (paired, 256, 256))
        return graph.reshape(both, (paired, 65536))
