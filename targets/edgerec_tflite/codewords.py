"""A table whose rows are sums of codewords.

The products of u with all codewords are computed first; the score of a row is the sum of W of them:

    score_i = r_i Σ_w LUT[w, codes[w, i]]

Two codes of 4 bits are one byte, and one look-up (``codes.py``).
"""

from __future__ import annotations

import numpy as np

from edgerec.plugin import Lookup
from edgerec_tflite.codes import Codes
from edgerec_tflite.lines import Lines
from edgerec_tflite.ops import unpack
from edgerec_tflite.stored import Stored
from edgerec_tflite.tflite_graph import Graph, Tensor

__all__ = ["Codewords"]


class Codewords(Stored):
    """Sums of codewords, with a factor per row."""

    def __init__(self, graph: Graph, lookup: Lookup, height: int = 0) -> None:
        self.graph, self.lookup = graph, lookup
        self.stages, self.count, self.width = lookup.words.shape
        self.groups = int(lookup.subspace.max()) + 1
        self.rows, self.bytes = lookup.codes.shape
        self.codes = Codes(graph, lookup, height)
        inside = np.arange(self.groups)[:, None] == lookup.subspace
        self.columns = graph.constant(inside.astype(np.float32))
        self.length = None if lookup.factor is None else Lines(graph, lookup.factor, self.rows)
        self.words, self.scale = self._stored()
        self._known: dict[int, Tensor] = {}

    def read(self, rows: Tensor) -> Tensor:
        """Rows int32[k] as float[k, d]."""
        graph, k = self.graph, rows.shape[0]
        order = graph.small([1, 0])
        codes = graph.op("TRANSPOSE", [self.codes.of(rows), order], (k, self.bytes), "int32")
        if self.lookup.bits == 4:
            codes = self._halves(codes)
        shape = (k, self.stages, self.groups)
        first = np.arange(self.stages, dtype=np.int32)[None, :, None] * np.int32(self.count)
        places = graph.op(
            "ADD", [graph.reshape(codes, shape), graph.constant(first)], shape, "int32"
        )
        words = graph.gather(self.words, places)
        if self.scale is not None:
            scale = graph.reshape(graph.gather(self.scale, places), (*shape, 1))
            words = graph.op("MUL", [words, scale], words.shape)
        words = graph.op("MUL", [words, self.columns], words.shape)
        words = graph.reshape(words, (k, self.stages * self.groups, self.width))
        values = graph.op("SUM", [words, graph.small([1])], (k, self.width))
        if self.length is not None:
            values = graph.op("MUL", [values, self.length.read(rows)], values.shape)
        return values

    def scan(self, user: Tensor) -> Tensor:
        """Score all rows: float[1, n]."""
        graph, n = self.graph, self.rows
        scores = self.codes.sums(self._products(user))
        if self.length is not None:
            length = graph.reshape(self.length.all(), (1, n))
            scores = graph.op("MUL", [scores, length], (1, n))
        return scores

    def some(self, rows: Tensor, user: Tensor) -> Tensor:
        """The products of rows int32[k] with float[1, d], float[1, k]."""
        return self._scores(self.codes.of(rows), rows, user)

    def of_blocks(self, blocks: Tensor, rows: Tensor, user: Tensor) -> Tensor:
        """The products of the rows int32[k] of whole blocks int32[b] with u, float[1, k]."""
        return self._scores(self.codes.of_blocks(blocks, rows.shape[0]), rows, user)

    def _scores(self, codes: Tensor, rows: Tensor, user: Tensor) -> Tensor:
        """The products of rows int32[k], of which codes int32[W, k] are given, float[1, k]."""
        graph = self.graph
        scores = self.codes.added(self._products(user), codes)
        if self.length is not None:
            length = graph.reshape(self.length.read(rows), scores.shape)
            scores = graph.op("MUL", [scores, length], scores.shape)
        return scores

    def _products(self, user: Tensor) -> Tensor:
        """The contribution of each byte to a score, float[W, 256] or, of single codes, [W, k].

        They are computed once, however many parts of the table are scored.
        """
        if user.index not in self._known:
            self._known[user.index] = self._products_of(user)
        return self._known[user.index]

    def _products_of(self, user: Tensor) -> Tensor:
        graph = self.graph
        own = graph.op("MUL", [self.columns, user], (self.groups, self.width))
        found = graph.fully_connected(own, self.words)
        if self.scale is not None:
            found = graph.op("MUL", [found, self.scale], found.shape)
        found = graph.reshape(found, (self.groups, self.stages, self.count))
        order = graph.small([1, 0, 2])
        found = graph.op("TRANSPOSE", [found, order], (self.stages, self.groups, self.count))
        codes = self.stages * self.groups
        found = graph.reshape(found, (codes, self.count))
        if self.lookup.bits == 8:
            return found
        if codes % 2:
            nothing = graph.constant(np.zeros((1, self.count), np.float32))
            shape = (codes + 1, self.count)
            found = graph.op("CONCATENATION", [found, nothing], shape, axis=0)
        # The low half of a byte varies fastest.
        found = graph.reshape(found, (self.bytes, 2, self.count))
        low, high = (graph.gather(found, graph.small([half]), axis=1) for half in (0, 1))
        high = graph.reshape(high, (self.bytes, self.count, 1))
        both = graph.op("ADD", [high, low], (self.bytes, self.count, self.count))
        return graph.reshape(both, (self.bytes, self.count**2))

    def _stored(self) -> tuple[Tensor, Tensor | None]:
        """All codewords, float[S k, d], and their scales, float[S k], if they have any."""
        graph, lookup = self.graph, self.lookup
        total = self.stages * self.count
        if not lookup.stored:
            floats = lookup.words.reshape(total, self.width)
            return graph.constant(floats, key=(id(lookup.codes), 1)), None
        words: list[Tensor] = []
        scales: list[Tensor] = []
        for part in lookup.stored:
            high = len(part.codes)
            if part.bits == 8:
                codes = graph.constant(part.codes)
                words.append(graph.op("DEQUANTIZE", [codes], (high, self.width)))
            else:
                words.append(unpack(graph, graph.constant(part.codes), (high, self.width), 4))
            scales.append(graph.floats(part.scale))
        return graph.concatenate(words, 0), graph.concatenate(scales, 0)

    def _halves(self, codes: Tensor) -> Tensor:
        """The codes of 4 bits in bytes int32[k, W], int32[k, S G]: low halves first."""
        graph, shape = self.graph, codes.shape
        sixteen = graph.small([16])
        value = graph.op("CAST", [codes], shape)
        high = graph.op("FLOOR", [graph.op("MUL", [value, graph.small(1 / 16)], shape)], shape)
        high = graph.op("CAST", [high], shape, "int32")
        low = graph.op("MUL", [high, sixteen], shape, "int32")
        low = graph.op("SUB", [codes, low], shape, "int32")
        tall = (shape[0], self.bytes, 1)
        halves = [graph.reshape(half, tall) for half in (low, high)]
        both = graph.op("CONCATENATION", halves, (*tall[:2], 2), "int32", axis=2)
        both = graph.reshape(both, (shape[0], 2 * self.bytes))
        count = self.stages * self.groups
        ends = graph.small([0, 0]), graph.small([-1, count])
        return graph.op("SLICE", [both, *ends], (shape[0], count), "int32")
