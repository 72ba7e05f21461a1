"""A table of 4-bit integers, for onnxruntime's own MatMulNBits.

It is stored as uint8[n, d / block, block / 2] with the codec's codes + 8. Rows of zeros fill the
last group of rows. A scale is that of a row, or of a group of columns made of whole blocks.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgerec.plugin import F32, Affine
from edgerec_onnx.integers import Products, numbers, stored
from edgerec_onnx.onnx_graph import MICROSOFT, Graph
from edgerec_onnx.proposal import highest, members

__all__ = ["Packed", "fits"]

#: Rows per group, of which only the maximum is kept, and the most rows scanned at a time.
GROUP, PART = 8, 65536


def fits(affine: Affine) -> bool:
    """Whether the kernel takes the integers: 4 bits, and groups of whole blocks of 16."""
    return affine.bits == 4 and affine.columns // affine.groups % 16 == 0


class Packed:
    """A table of 4-bit integers, whose groups are a few adjacent rows."""

    def __init__(self, graph: Graph, name: str, affine: Affine, factor: F32 | None) -> None:
        self.graph, self.name, self.affine = graph, name, affine
        self.rows, self.width = len(affine.codes), affine.columns
        self.columns = affine.groups
        self.height = GROUP
        self.groups = -(-self.rows // GROUP)
        codes = stored(self._filled(affine.codes), 4)
        codes = codes.reshape(len(codes), -1, self._block // 2)
        self.codes = graph.table(codes, f"{name}.codes")
        ranges = {"scale": affine.scale, "offset": affine.offset}
        self.arrays = {
            key: self._filled(array.reshape(self.rows, self.columns))
            for key, array in ranges.items()
            if array is not None
        }
        self.factor = (
            None if factor is None else graph.table(self._filled(factor), "candidate_factor")
        )

    def read(self, rows: str) -> str:
        """Rows int64[k] as float[k, d]."""
        graph = self.graph
        packed = graph.add("Gather", self.codes, rows, axis=0)
        shape = graph.constant([-1, self.columns, self.width // self.columns])
        values = graph.add("Reshape", numbers(graph, packed, 4, self.width), shape)
        tall = graph.constant([-1, self.columns, 1])
        for key, kind in (("scale", "Mul"), ("offset", "Add")):
            if key in self.arrays:
                part = graph.add("Gather", self._stored(key), rows, axis=0)
                part = graph.add("Cast", graph.add("Reshape", part, tall), to=1)
                values = graph.add(kind, values, part)
        return str(graph.add("Reshape", values, graph.constant([-1, self.width])))

    def some(self, user: str, rows: str) -> str:
        """The products of rows int64[k] with float[1, d], float[k]."""
        graph = self.graph
        codes = graph.add("Gather", self.codes, rows, axis=0)
        codes = graph.add("Reshape", codes, graph.constant([-1, self.width // 2]))
        ranges = (graph.add("Gather", self._stored(key), rows, axis=0) for key in self.arrays)
        return Products(graph, self.affine, user).of(graph, codes, *ranges)

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
        total = self._sums(user) if "offset" in self.arrays else ""
        found = [
            self._maxima_of(user, total, start, min(start + PART, n)) for start in range(0, n, PART)
        ]
        return str(graph.add("Concat", *found, axis=0)) if len(found) > 1 else found[0]

    def _maxima_of(self, user: str, total: str, start: int, stop: int) -> str:
        """The highest rough score of each group in a part of the table.

        The kernel packs what it scans. onnxruntime frees a separate part after packing it, but it
        would keep the table, from which rows are read.
        """
        graph, blocks = self.graph, self.width // self._block // self.columns
        scales = self._range("scale", start, stop)
        if blocks > 1:
            column = graph.add("Reshape", scales, graph.constant([-1, 1]))
            row = graph.add("Expand", column, graph.constant([1, blocks]))
            scales = graph.add("Reshape", row, graph.constant([-1]))
        elif self.columns > 1:
            scales = graph.add("Reshape", scales, graph.constant([-1]))
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
            offset, flat = self._range("offset", start, stop), graph.constant([1, -1])
            if self.columns == 1:  # which is far quicker than a product of matrices
                shift = graph.add("Mul", graph.add("Reshape", offset, flat), total)
            else:
                shift = graph.add("Reshape", graph.add("MatMul", offset, total), flat)
            logits = graph.add("Add", logits, shift)
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

    def _sums(self, user: str) -> str:
        """The sum of u over each group of columns, float[G, 1], which multiplies offsets."""
        graph = self.graph
        parts = graph.add("Reshape", user, graph.constant([self.columns, -1]))
        return str(graph.add("ReduceSum", parts, graph.constant([1]), keepdims=1))

    @property
    def _block(self) -> int:
        """The largest block of MatMulNBits (16, 32, … 256) that divides a group of columns."""
        group = self.width // self.columns
        return max(block for block in (16, 32, 64, 128, 256) if group % block == 0)

    def _filled(self, rows: NDArray[Any]) -> NDArray[Any]:
        if self.rows % GROUP == 0:
            return rows
        return np.concatenate([rows, np.zeros((-self.rows % GROUP, *rows.shape[1:]), rows.dtype)])

    def _stored(self, key: str) -> str:
        """Scales or offsets, float[n, G], as they are stored."""
        return self.graph.table(self.arrays[key], f"{self.name}.{key}")

    def _range(self, key: str, start: int, stop: int) -> str:
        """Scales or offsets of a part, float[n, G]; they are widened on loading."""
        return str(self.graph.add("Cast", self.graph.part(self._stored(key), start, stop), to=1))
