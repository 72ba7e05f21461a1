"""A table of 4-bit integers, for onnxruntime's own MatMulNBits.

It is stored as uint8[n, 1, d / 2] with the codec's codes + 8. Rows of zeros fill the last group.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgerec.plugin import F32, Table
from edgerec_onnx.onnx_graph import MICROSOFT, Graph
from edgerec_onnx.proposal import highest, members, user_sum

__all__ = ["Packed"]

#: Rows per group, of which only the maximum is kept, and the most rows scanned at a time.
GROUP, PART = 8, 65536


class Packed:
    """An int4 table, whose groups are a few adjacent rows."""

    def __init__(self, graph: Graph, name: str, table: Table, factor: F32 | None) -> None:
        self.graph, self.name, (self.rows, self.width) = graph, name, table.shape
        self.height = GROUP
        self.groups = -(-self.rows // GROUP)
        codes = self._filled(table.arrays["codes"]) ^ np.uint8(0x88)
        if not self.width % 16:
            codes = codes.reshape(len(codes), -1, self._block // 2)
        self.codes = graph.table(codes, f"{name}.codes")
        self.arrays = {
            key: self._filled(table.arrays[key])
            for key in ("scale", "offset")
            if key in table.arrays
        }
        self.factor = (
            None if factor is None else graph.table(self._filled(factor), "candidate_factor")
        )

    def read(self, rows: str) -> str:
        """Rows int64[k] as float[k, d]: low halves first, minus 8. A float holds a byte exactly."""
        graph = self.graph
        packed = graph.add("Cast", graph.add("Gather", self.codes, rows, axis=0), to=1)
        packed = graph.add("Reshape", packed, graph.constant([-1, self.width // 2]))
        high = graph.add("Floor", graph.add("Mul", packed, graph.constant(1 / 16)))
        low = graph.add("Sub", packed, graph.add("Mul", high, graph.constant(16.0)))
        tall = graph.constant([-1, self.width // 2, 1])
        halves = [graph.add("Reshape", half, tall) for half in (low, high)]
        both = graph.add("Concat", *halves, axis=2)
        codes = graph.add("Reshape", both, graph.constant([-1, self.width]))
        values = graph.add("Sub", codes, graph.constant(8.0))
        tall = graph.constant([-1, 1])
        for key, kind in (("scale", "Mul"), ("offset", "Add")):
            if key in self.arrays:
                part = graph.add("Gather", self._stored(key), rows, axis=0)
                part = graph.add("Cast", graph.add("Reshape", part, tall), to=1)
                values = graph.add(kind, values, part)
        return str(values)

    def factor_of(self, rows: str) -> str:
        """The factors of the scores of rows int64[k], float[k]; only if there is a ``factor``."""
        assert self.factor is not None  # noqa: S101  # for mypy
        return str(self.graph.add("Gather", self.factor, rows, axis=0))

    def propose(self, user: str, returned: str, proposed: str) -> str:
        """The groups with the highest rough scores, int64[g]."""
        return highest(self.graph, self, self._maxima(user), proposed)[1]

    def _maxima(self, user: str) -> str:
        """The highest rough score of each group, float[groups]."""
        n, graph = self.groups * GROUP, self.graph
        total = user_sum(graph, user) if "offset" in self.arrays else ""
        found = [
            self._maxima_of(user, total, start, min(start + PART, n)) for start in range(0, n, PART)
        ]
        return str(graph.add("Concat", *found, axis=0)) if len(found) > 1 else found[0]

    def _maxima_of(self, user: str, total: str, start: int, stop: int) -> str:
        """The highest rough score of each group in a part of the table.

        The kernel packs what it scans. onnxruntime frees a separate part after packing it, but it
        would keep the table, from which rows are read.
        """
        graph, blocks = self.graph, self.width // self._block
        scales = self._range("scale", start, stop)
        if blocks > 1:
            column = graph.add("Reshape", scales, graph.constant([-1, 1]))
            row = graph.add("Expand", column, graph.constant([1, blocks]))
            scales = graph.add("Reshape", row, graph.constant([-1]))
        logits = graph.add(
            "MatMulNBits",
            user,
            graph.part(self.codes, start, stop),
            scales,
            domain=MICROSOFT,
            K=self.width,
            N=stop - start,
            bits=4,
            block_size=self._block,
            accuracy_level=4,
        )
        if total:
            offset = self._range("offset", start, stop)
            logits = graph.add("Add", logits, graph.add("Mul", offset, total))
        if self.factor is not None:
            part = graph.part(self.factor, start, stop)
            logits = graph.add("Mul", logits, part)
        grouped = graph.add("Reshape", logits, graph.constant([-1, GROUP]))
        return str(graph.add("ReduceMax", grouped, axes=[1], keepdims=0))

    def score(self, user: str, groups: str) -> tuple[str, str]:
        """Scores float[1, m] of the rows int64[m] of groups int64[g]."""
        graph = self.graph
        rows = members(graph, groups, GROUP)
        values = graph.add("Transpose", self.read(rows), perm=[1, 0])
        scores = graph.add("MatMul", user, values)
        if self.factor is not None:
            part = graph.add("Gather", self.factor, rows, axis=0)
            scores = graph.add("Mul", scores, part)
        return str(scores), rows

    @property
    def _block(self) -> int:
        """The largest block of MatMulNBits (16, 32, … 256) that divides the width."""
        return max(block for block in (16, 32, 64, 128, 256) if self.width % block == 0)

    def _filled(self, rows: NDArray[Any]) -> NDArray[Any]:
        if self.rows % GROUP == 0:
            return rows
        return np.concatenate([rows, np.zeros((-self.rows % GROUP, *rows.shape[1:]), rows.dtype)])

    def _stored(self, key: str) -> str:
        """Scales or offsets, float16[n]."""
        return self.graph.table(self.arrays[key], f"{self.name}.{key}")

    def _range(self, key: str, start: int, stop: int) -> str:
        """Scales or offsets of a part, float[n]; they are widened on loading."""
        return str(self.graph.add("Cast", self.graph.part(self._stored(key), start, stop), to=1))
