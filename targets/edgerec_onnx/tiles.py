"""A table of 8-bit integers, for MatMulInteger.

int8[C, T, d, 64]: 64 rows side by side in a tile, T tiles in a chunk, C chunks, of which Scan takes
one after another without a copy. Scales, offsets and factors lie in tiles of one column. The rows
and tiles that fill the last chunk are zeros.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper

from edgerec.plugin import F32, Table
from edgerec_onnx.graph import Graph
from edgerec_onnx.proposal import highest, members, user_sum

__all__ = ["Tiles"]

#: Rows in a tile. A tile of 64 x 64 is a page of memory: the kernel is twice as fast on it as on
#: whole columns, and a row is in one place.
TILE = 64

#: Most tiles of a chunk: half a MiB of scores, which are still in the cache when they are wanted.
CHUNK = 2048

#: Where u = 0 lies in uint8. The kernel's fast path knows of no zero point, so what this adds to a
#: score, ZERO times the sum of the row's codes, is taken off it again. Codes of u stay within 7
#: bits: x86 without VNNI adds products of two pairs in saturating 16-bit arithmetic, and
#: 2 · 255 · 127 does not fit.
ZERO = 64

#: How many deviations of what rounding does to a score a tile may be below the best rows'.
MARGIN = 6.0

#: Rows whose columns' deviations stand for those of all.
SAMPLE = 65536


class Tiles:
    """An int8 table; a group is a tile."""

    def __init__(self, graph: Graph, name: str, table: Table, factor: F32 | None) -> None:
        self._scored = table, factor
        self.graph, (self.rows, self.width) = graph, table.shape
        self.height = min(TILE, self.rows)
        tiles = -(-self.rows // self.height)
        self.chunks = -(-tiles // CHUNK)
        self.tiles = -(-tiles // self.chunks)
        self.groups = self.chunks * self.tiles
        self.codes = graph.table(self._lay_out(table.arrays["codes"]), f"{name}.codes")
        self.scale = self._a_row(table.arrays["scale"], f"{name}.scale")
        offset = table.arrays.get("offset")
        self.offset = None if offset is None else self._a_row(offset, f"{name}.offset")
        self.factor = None if factor is None else self._a_row(factor, "candidate_factor")

    def read(self, rows: str) -> str:
        """Rows int64[k] as float[k, d]: of each row's tile, its column."""
        graph = self.graph
        tile, column = self._divided(rows, self.height)
        place = graph.add("Reshape", self._place(tile), graph.constant([-1, 1, 2]))
        column = graph.add("Reshape", column, graph.constant([-1, 1, 1]))
        # Added, zeros spread what there is one of a row, or one of a column, over both.
        down = graph.add("Sub", column, column)
        line = graph.add("Reshape", graph.count(self.width), graph.constant([-1, 1]))
        across = graph.add("Sub", line, line)
        axes = ((place, across), (line, down), (column, across))
        each = graph.add("Concat", *(graph.add("Add", *pair) for pair in axes), axis=2)
        values = graph.add("Cast", graph.add("GatherND", self.codes, each), to=1)
        one = graph.add("Concat", place, down, column, axis=2)
        values = graph.add("Mul", values, graph.add("GatherND", self.scale, one))
        if self.offset is not None:
            values = graph.add("Add", values, graph.add("GatherND", self.offset, one))
        return str(values)

    def propose(self, user: str, returned: str, proposed: str) -> str:
        """Tiles that may hold the best rows, int64[g].

        Rounding u to u - e has lowered a row's score by Σ_j e_j x_j. What all rows have in common
        there upsets no order; the rest is about sqrt(Σ_j (e_j σ_j)²), σ_j a column's deviation.
        As many tiles hold the best rows as these are; besides, all are taken whose maximum is
        less than ``MARGIN`` times that below theirs: few mostly, many where one component of u
        is far above the others, and its step too coarse for them.
        """
        graph = self.graph
        codes, step = _round(graph, user)
        maxima = self._maxima(user, codes, step)
        zero = graph.constant(np.array(ZERO, np.uint8), "zero_point")
        error = graph.add("Sub", user, graph.add("DequantizeLinear", codes, step, zero))
        deviation = graph.constant(_deviation(*self._scored)[None], "deviation")
        error = graph.add("Mul", error, deviation)
        square = graph.add("ReduceSum", graph.add("Mul", error, error), keepdims=0)
        noise = graph.add("Mul", graph.add("Sqrt", square), graph.constant(MARGIN))
        if self.offset is None:
            noise = graph.add("Div", noise, step)  # which the scores lack, too
        best, tiles = highest(graph, self, maxima, returned)
        last = graph.add("ReduceMin", best, keepdims=0)
        # Not what equals the last of them: where u has nothing in common with most rows, or is
        # zero, that is most of the table.
        below = graph.add("Less", maxima, last)
        near = graph.add("Less", graph.add("Sub", last, noise), maxima)
        others = graph.add("NonZero", graph.add("And", below, near))
        others = graph.add("Reshape", others, graph.constant([-1]))
        return str(graph.add("Concat", tiles, others, axis=0))

    def _maxima(self, user: str, codes: str, step: str) -> str:
        """The highest rough score of each tile, float[groups], without the step but for offsets."""
        graph, body = self.graph, Graph("chunk/")
        stored = {"chunk/codes": self.codes, "chunk/scale": self.scale, "chunk/zero": self._zeros()}
        products = body.add("MatMulInteger", codes, "chunk/codes")
        logits = body.add("Cast", body.add("Sub", products, "chunk/zero"), to=1)
        logits = body.add("Mul", logits, "chunk/scale")
        if self.offset is not None:
            # The step multiplies all scores alike, but an offset is not to be scaled by it.
            stored["chunk/offset"] = self.offset
            shift = body.add("Mul", "chunk/offset", user_sum(graph, user))
            logits = body.add("Add", body.add("Mul", logits, step), shift)
        if self.factor is not None:
            stored["chunk/factor"] = self.factor
            logits = body.add("Mul", logits, "chunk/factor")
        highest = body.add("ReduceMax", logits, axes=[1, 2], keepdims=0)
        shapes = {name: [self.tiles, 1, self.height] for name in stored}
        shapes["chunk/codes"] = [self.tiles, self.width, self.height]
        types = dict.fromkeys(stored, TensorProto.FLOAT) | {
            "chunk/codes": TensorProto.INT8,
            "chunk/zero": TensorProto.INT32,
        }
        info = helper.make_tensor_value_info
        scan = body.body(
            [info(name, types[name], shapes[name]) for name in stored],
            [info(highest, TensorProto.FLOAT, [self.tiles])],
        )
        found = graph.add("Scan", *stored.values(), body=scan, num_scan_inputs=len(stored))
        return str(graph.add("Reshape", found, graph.constant([-1])))

    def score(self, user: str, groups: str) -> tuple[str, str]:
        """Scores float[1, m] of the rows int64[m] of tiles int64[g]."""
        graph = self.graph
        place = self._place(groups)
        values = graph.add("Cast", graph.add("GatherND", self.codes, place), to=1)
        scores = graph.add("MatMul", user, values)
        scores = graph.add("Mul", scores, graph.add("GatherND", self.scale, place))
        if self.offset is not None:
            offset = graph.add("GatherND", self.offset, place)
            shift = graph.add("Mul", offset, user_sum(graph, user))
            scores = graph.add("Add", scores, shift)
        if self.factor is not None:
            part = graph.add("GatherND", self.factor, place)
            scores = graph.add("Mul", scores, part)
        scores = graph.add("Reshape", scores, graph.constant([1, -1]))
        return str(scores), members(graph, groups, self.height)

    def _zeros(self) -> str:
        """What each row scores where u is 0, int32[C, T, 1, TILE], computed on loading.

        Chunk by chunk: onnxruntime copies what it computes with on loading.
        """
        graph = self.graph
        user = graph.constant(np.full((1, self.width), ZERO, np.uint8), "zero_user")
        chunks = [graph.part(self.codes, i, i + 1) for i in range(self.chunks)]
        zeros = [graph.add("MatMulInteger", user, chunk) for chunk in chunks]
        return str(graph.add("Concat", *zeros, axis=0)) if len(zeros) > 1 else zeros[0]

    def _place(self, tiles: str) -> str:
        """Chunks and tiles in them, int64[k, 2]."""
        tall = self.graph.add("Reshape", tiles, self.graph.constant([-1, 1]))
        return str(self.graph.add("Concat", *self._divided(tall, self.tiles), axis=1))

    def _divided(self, values: str, by: int) -> tuple[str, str]:
        """Quotients and remainders."""
        graph = self.graph
        divisor = graph.constant(np.array(by), f"by_{by}")
        quotient = graph.add("Div", values, divisor)
        return quotient, graph.add("Sub", values, graph.add("Mul", quotient, divisor))

    def _lay_out(self, rows: NDArray[Any]) -> NDArray[Any]:
        """[n, d] to [C, T, d, TILE]."""
        n, d = rows.shape
        whole = np.zeros((self.chunks, self.tiles, self.height, d), rows.dtype)
        whole.reshape(-1, d)[:n] = rows
        return whole.swapaxes(2, 3)

    def _a_row(self, values: F32, name: str) -> str:
        """Store a number a row, float[C, T, 1, TILE]."""
        return self.graph.table(self._lay_out(values[:, None]), name)


def _round(graph: Graph, user: str) -> tuple[str, str]:
    """Round u to uint8 around ZERO, the fast operand of MatMulInteger: (codes, step)."""
    highest = graph.add("ReduceMax", graph.add("Abs", user), keepdims=0)
    safe = graph.add("Max", highest, graph.constant(1e-30))
    step = graph.add("Div", safe, graph.constant(float(ZERO - 1)))
    zero = graph.constant(np.array(ZERO, np.uint8), "zero_point")
    return str(graph.add("QuantizeLinear", user, step, zero)), str(step)


def _deviation(table: Table, factor: F32 | None) -> F32:
    """Standard deviation of each column of what u is multiplied by, float32[d]."""
    rows = np.unique(np.linspace(0, table.shape[0] - 1, SAMPLE).astype(np.int64))
    values = table.arrays["codes"][rows].astype(np.float32) * table.arrays["scale"][rows, None]
    if factor is not None:
        values *= factor[rows, None]
    deviation: F32 = values.std(axis=0)
    return deviation
