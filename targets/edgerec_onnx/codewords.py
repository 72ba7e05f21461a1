"""A table whose rows are sums of codewords.

The products of u with all codewords are computed first; the score of a row is the sum of W of them:

    score_i = r_i Σ_w LUT[w, codes[w, i]]

Two codes of 4 bits are one byte, and one look-up (``codes.py``). Codewords are stored as their
integers and scales, which onnxruntime widens once, on loading.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgerec.plugin import F32, Affine, Lookup
from edgerec_onnx.codes import Codes
from edgerec_onnx.exact import Exact
from edgerec_onnx.integers import numbers, stored
from edgerec_onnx.lines import Lines
from edgerec_onnx.onnx_graph import Graph
from edgerec_onnx.proposal import members

__all__ = ["Codewords"]

#: Numbers of the types of ONNX.
FLOAT = 1


class Codewords(Exact):
    """Sums of codewords, with a factor per row."""

    def __init__(
        self, graph: Graph, name: str, lookup: Lookup, factor: F32 | None, height: int = 0
    ) -> None:
        super().__init__(graph, len(lookup.codes), factor)
        self.name, self.lookup = name, lookup
        self.stages, self.count, self.width = lookup.words.shape
        self.groups = int(lookup.subspace.max()) + 1
        self.bytes = lookup.codes.shape[1]
        self.codes = Codes(graph, name, lookup, height)
        self.length = (
            None
            if lookup.factor is None
            else Lines(graph, f"{name}.length", lookup.factor, self.rows)
        )

    def read(self, rows: str) -> str:
        """Rows int64[k] as float[k, d]."""
        graph = self.graph
        codes = graph.add("Transpose", self.codes.of(rows), perm=[1, 0])
        if self.lookup.bits == 4:
            codes = self._halves(codes)
        shape = graph.constant([-1, self.stages, self.groups])
        codes = graph.add("Reshape", codes, shape)
        first = np.arange(self.stages, dtype=np.int32)[None, :, None] * np.int32(self.count)
        places = graph.add("Add", codes, graph.constant(first, f"{self.name}.first"))
        if self.groups > 1:
            column = graph.constant(self.lookup.subspace, f"{self.name}.subspace")
            places = graph.add("Gather", places, column, axis=2)
            places = graph.add("Reshape", places, graph.constant([-1, self.width]))
            words = graph.add("GatherElements", self._words(), places, axis=0)
        else:
            words = graph.add("Gather", self._words(), places, axis=0)
        words = graph.add("Reshape", words, graph.constant([-1, self.stages, self.width]))
        values = graph.add("ReduceSum", words, graph.constant([1]), keepdims=0)
        if self.length is not None:
            values = graph.add("Mul", values, self.length.read(rows))
        return str(values)

    def scores(self, user: str) -> str:
        """The products of all rows with float[1, d], float[n]."""
        scores = self.codes.sums(self._products(user))
        if self.length is not None:
            scores = self.graph.add("Mul", scores, self.length.all())
        return str(scores)

    def some(self, user: str, rows: str) -> str:
        """The products of rows int64[k] with float[1, d], float[k]."""
        scores = self.codes.added(self._products(user), self.codes.of(rows))
        if self.length is not None:
            scores = self.graph.add("Mul", scores, self.length.of(rows))
        return str(scores)

    def of_blocks(self, user: str, blocks: str, read: int, height: int) -> str:
        """The products of the rows of ``read`` blocks int64[read], float[read * height]."""
        graph = self.graph
        codes = self.codes.of_blocks(blocks, height)
        scores = self.codes.sums_of(self._products(user), codes, read * height)
        if self.length is not None:
            rows = members(graph, blocks, height)
            rows = graph.add("Min", rows, graph.constant([self.rows - 1]))
            scores = graph.add("Mul", scores, self.length.of(rows))
        return str(scores)

    def _products(self, user: str) -> str:
        """The contribution of each byte to a score, float[W, 256] or, of single codes, [W, k]."""
        graph, flat = self.graph, self.graph.constant([-1, 1])
        column = graph.add("Reshape", user, flat)
        if self.groups > 1:
            inside = self.lookup.subspace[:, None] == np.arange(self.groups)
            own = graph.constant(inside.astype(np.float32), f"{self.name}.columns")
            column = graph.add("Mul", own, column)
        found = graph.add("MatMul", self._words(), column)
        shape = graph.constant([self.stages, self.count, self.groups])
        found = graph.add("Transpose", graph.add("Reshape", found, shape), perm=[0, 2, 1])
        codes = self.stages * self.groups
        found = graph.add("Reshape", found, graph.constant([codes, self.count]))
        if self.lookup.bits == 8:
            return str(found)
        if codes % 2:
            nothing = graph.constant(np.zeros((1, self.count), np.float32), "nothing")
            found = graph.add("Concat", found, nothing, axis=0)
        # The low half of a byte varies fastest.
        found = graph.add("Reshape", found, graph.constant([-1, 2, self.count]))
        low, high = (graph.add("Gather", found, graph.constant([half]), axis=1) for half in (0, 1))
        high = graph.add("Transpose", high, perm=[0, 2, 1])
        both = graph.add("Add", high, low)
        return str(graph.add("Reshape", both, graph.constant([self.bytes, 256])))

    def _words(self) -> str:
        """All codewords, float[S k, d]."""
        graph, parts = self.graph, self.lookup.stored
        if not parts:
            words = self.lookup.words.reshape(-1, self.width)
            return graph.table(words, f"{self.name}.words")
        found = [self._part(part, f"{self.name}.words{n}") for n, part in enumerate(parts)]
        return str(graph.add("Concat", *found, axis=0)) if len(found) > 1 else found[0]

    def _part(self, part: Affine, name: str) -> str:
        """Codewords that are stored as integers with a scale each."""
        graph = self.graph
        if part.bits == 8:
            values = graph.add("Cast", graph.table(part.codes, name), to=FLOAT)
        else:
            values = numbers(graph, graph.table(stored(part.codes, 4), name), 4, self.width)
        scale = graph.table(_column(part.scale), f"{name}.scale")
        return str(graph.add("Mul", values, graph.add("Cast", scale, to=FLOAT)))

    def _halves(self, codes: str) -> str:
        """The codes of 4 bits in bytes int32[k, W], int32[k, S G]: low halves first."""
        graph = self.graph
        sixteen = graph.constant(np.array(16, np.int32), "sixteen")
        high = graph.add("Div", codes, sixteen)
        low = graph.add("Sub", codes, graph.add("Mul", high, sixteen))
        tall = graph.constant([-1, self.bytes, 1])
        halves = [graph.add("Reshape", half, tall) for half in (low, high)]
        both = graph.add("Concat", *halves, axis=2)
        both = graph.add("Reshape", both, graph.constant([-1, 2 * self.bytes]))
        end = graph.constant([self.stages * self.groups])
        return str(graph.add("Slice", both, graph.constant([0]), end, graph.constant([1])))


def _column(values: NDArray[Any]) -> NDArray[Any]:
    return values.reshape(-1, 1)
