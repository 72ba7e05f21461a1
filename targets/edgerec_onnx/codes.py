"""Codes that stand for codewords, and the look-up of numbers by code.

A byte of each row is stored after the other, uint8[W, n], so that GatherElements looks up a block
of rows at a time. Of many rows, two bytes are one number, uint16[W / 2, n]: half as many look-ups,
in tables of 65,536 sums. If W is odd, the last byte is stored as before.
"""

from __future__ import annotations

import numpy as np

from edgerec.plugin import Lookup
from edgerec_onnx.blocks import by_blocks
from edgerec_onnx.onnx_graph import Graph

__all__ = ["Codes"]

#: Numbers of the types of ONNX.
INT32 = 6

#: The number of rows from which the sums of two bytes pay for themselves.
MANY = 200_000

#: Rows whose numbers are looked up at a time, so that what they take stays in the cache.
BLOCK, PAIRED_BLOCK = 4096, 16384


class Codes:
    """The codes of all rows, W bytes each.

    Args:
        graph: the graph that reads them.
        name: the prefix of their file.
        lookup: the table.
        height: the number of rows in a block of a table that is read in blocks; 0 for any other.
    """

    def __init__(self, graph: Graph, name: str, lookup: Lookup, height: int) -> None:
        self.graph, self.name = graph, name
        self.rows, self.bytes = lookup.codes.shape
        self.paired = 0
        if self.rows < MANY or height:
            rest = lookup.by_byte(height)
        else:
            pairs, rest = lookup.by_pair()
            self.paired = len(pairs)
            if self.paired:
                self.pairs = graph.table(pairs, f"{name}.pairs")
        self.rest = graph.table(rest, f"{name}.codes") if len(rest) else None

    def of(self, rows: str) -> str:
        """The codes of rows int64[k], int32[W, k]."""
        graph, found = self.graph, []
        if self.paired:
            pairs = self._taken(self.pairs, rows)
            # Divisions of integers round towards zero.
            full = graph.constant(np.array(256, np.int32), "full")
            high = graph.add("Div", pairs, full)
            low = graph.add("Sub", pairs, graph.add("Mul", high, full))
            tall = graph.constant([self.paired, 1, -1])
            halves = [graph.add("Reshape", half, tall) for half in (low, high)]
            both = graph.add("Concat", *halves, axis=1)
            found.append(graph.add("Reshape", both, graph.constant([2 * self.paired, -1])))
        if self.rest is not None:
            found.append(self._taken(self.rest, rows))
        return str(graph.add("Concat", *found, axis=0)) if len(found) > 1 else str(found[0])

    def of_blocks(self, blocks: str, height: int) -> str:
        """The codes of whole blocks int64[b], uint8[W, b * height]."""
        graph = self.graph
        assert self.rest is not None  # noqa: S101  # for mypy
        codes = graph.add("Reshape", self.rest, graph.constant([self.bytes, -1, height]))
        codes = graph.add("Gather", codes, blocks, axis=1)
        return str(graph.add("Reshape", codes, graph.constant([self.bytes, -1])))

    def sums(self, products: str) -> str:
        """The sums of what each row's codes look up in float[W, 256], float[n]."""
        if not self.paired:
            assert self.rest is not None  # noqa: S101  # for mypy
            return self.sums_of(products, self.rest, self.rows)
        parts = [(self._of_pairs(products), self.pairs, self.paired)]
        if self.rest is not None:
            last = self.graph.constant([self.bytes - 1])
            parts.append((self.graph.add("Gather", products, last, axis=0), self.rest, 1))

        def score(body: Graph, start: str, end: str) -> str:
            found = [self._block(body, *part, start, end) for part in parts]
            return str(body.add("Add", *found)) if len(found) > 1 else found[0]

        return by_blocks(self.graph, self.rows, PAIRED_BLOCK, score)

    def sums_of(self, products: str, codes: str, rows: int) -> str:
        """The sums for the first rows of codes uint8[W, ...], float[rows], block by block."""

        def score(body: Graph, start: str, end: str) -> str:
            return self._block(body, products, codes, self.bytes, start, end)

        return by_blocks(self.graph, rows, BLOCK, score)

    def added(self, products: str, codes: str) -> str:
        """The sums of what codes int32[W, k] look up in float[W, 256], float[k]."""
        found = self.graph.add("GatherElements", products, codes, axis=1)
        found = self.graph.add("MatMul", self._ones(self.bytes), found)
        return str(self.graph.add("Reshape", found, self.graph.constant([-1])))

    def _block(
        self, body: Graph, products: str, codes: str, count: int, start: str, end: str
    ) -> str:
        """The sums of a block of rows, of which ``count`` codes each are looked up."""
        one = self.graph.constant([1])
        part = body.add("Cast", body.add("Slice", codes, start, end, one), to=INT32)
        found = body.add("GatherElements", products, part, axis=1)
        # A product with ones is the quickest sum over the codes.
        return str(body.add("MatMul", self._ones(count), found))

    def _of_pairs(self, products: str) -> str:
        """The sums of every two bytes, float[W // 2, 65536]; the low one varies fastest."""
        graph = self.graph
        paired = products
        if self.bytes % 2:
            zero, end = graph.constant([0]), graph.constant([self.bytes - 1])
            paired = graph.add("Slice", products, zero, end)
        paired = graph.add("Reshape", paired, graph.constant([self.paired, 2, 256]))
        low, high = (graph.add("Gather", paired, graph.constant([half]), axis=1) for half in (0, 1))
        both = graph.add("Add", graph.add("Transpose", high, perm=[0, 2, 1]), low)
        return str(graph.add("Reshape", both, graph.constant([self.paired, 65536])))

    def _taken(self, codes: str, rows: str) -> str:
        return str(self.graph.add("Cast", self.graph.add("Gather", codes, rows, axis=1), to=INT32))

    def _ones(self, count: int) -> str:
        return self.graph.constant(np.ones((1, count), np.float32), f"{self.name}.ones{count}")
