"""A table of 8-bit integers, for MatMulInteger.

It is stored as int8[C, T, d, 64]: 64 rows side by side per tile, T tiles per chunk, and C chunks,
which Scan reads one after another without a copy. Scales, offsets and factors are in tiles of one
column. The rows and tiles that fill the last chunk are zeros.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper

from edgerec.plugin import F32, Table
from edgerec_onnx.onnx_graph import Graph
from edgerec_onnx.proposal import LOWEST, highest, members, user_sum

__all__ = ["TILE", "Tiles"]

#: Rows per tile. A tile of 64 x 64 is a page of memory: the kernel is twice as fast on it as on
#: whole columns, and each row is in one place.
TILE = 64

#: The most tiles per chunk: half a MiB of scores, which stay in the cache until they are used.
CHUNK = 2048

#: The code of u = 0 in uint8. The kernel's fast path has no zero point, so ZERO times the sum of
#: the row's codes is subtracted from each score afterwards. Codes of u stay within 7 bits, because
#: x86 without VNNI adds products of two pairs in saturating 16-bit arithmetic, and 2 · 255 · 127
#: does not fit.
ZERO = 64

#: How many standard deviations of the rounding error a tile may be below the best rows.
MARGIN = 6.0

#: Rows whose deviations per column stand for those of all rows.
SAMPLE = 65536


class Tiles:
    """An int8 table, whose groups are tiles.

    Args:
        graph: the graph that reads it.
        name: of the table.
        table: the rows.
        factor: float[n], by which scores are multiplied; none for no factor.
        whole: tiles are read this many at a time, so that there are whole groups of them.
    """

    def __init__(
        self, graph: Graph, name: str, table: Table, factor: F32 | None, whole: int = 1
    ) -> None:
        self._scored = table, factor
        self.graph, (self.rows, self.width) = graph, table.shape
        self.height = min(TILE, self.rows)
        tiles = -(-self.rows // self.height)
        tiles = -(-tiles // whole) * whole
        self.chunks = -(-tiles // CHUNK)
        self.tiles = -(-tiles // self.chunks)
        self.groups = self.chunks * self.tiles
        self.codes = graph.table(self._lay_out(table.arrays["codes"]), f"{name}.codes")
        self.scale = self._per_row(table.arrays["scale"], f"{name}.scale")
        offset = table.arrays.get("offset")
        self.offset = None if offset is None else self._per_row(offset, f"{name}.offset")
        self.factor = None if factor is None else self._per_row(factor, "candidate_factor")

    def read(self, rows: str) -> str:
        """Rows int64[k] as float[k, d], each a column of its tile."""
        graph = self.graph
        place, down, column = self._place_of(rows)
        # Adding zeros broadcasts values that exist once per row, or once per column, to both.
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

    def factor_of(self, rows: str) -> str:
        """The factors of the scores of rows int64[k], float[k]; only if there is a ``factor``."""
        assert self.factor is not None  # noqa: S101  # for mypy
        graph = self.graph
        one = graph.add("Concat", *self._place_of(rows), axis=2)
        part = graph.add("GatherND", self.factor, one)
        return str(graph.add("Reshape", part, graph.constant([-1])))

    def propose(self, user: str, returned: str, proposed: str, among: str = "") -> str:
        """Tiles that may hold the best rows, int64[g], ``among`` some int64[t] or all.

        Rounding u to u - e lowers a row's score by Σ_j e_j x_j. The part that all rows have in
        common does not affect the order; the rest is about sqrt(Σ_j (e_j σ_j)²), with σ_j the
        deviation of column j. The ``returned`` best rows are in at most that many tiles. In
        addition, all tiles are taken whose maximum is less than ``MARGIN`` times that deviation
        below theirs. There are usually few of these, but many if one component of u is far larger
        than the others, because the step is then too coarse.
        """
        graph = self.graph
        codes, step = _round(graph, user)
        maxima = self._maxima(user, codes, step, among)
        zero = graph.constant(np.array(ZERO, np.uint8), "zero_point")
        error = graph.add("Sub", user, graph.add("DequantizeLinear", codes, step, zero))
        deviation = graph.constant(_deviation(*self._scored)[None], "deviation")
        error = graph.add("Mul", error, deviation)
        square = graph.add("ReduceSum", graph.add("Mul", error, error), keepdims=0)
        noise = graph.add("Mul", graph.add("Sqrt", square), graph.constant(MARGIN))
        if self.offset is None:
            noise = graph.add("Div", noise, step)  # because the scores lack the step as well
        best, tiles = highest(graph, self, maxima, returned)
        last = graph.add("ReduceMin", best, keepdims=0)
        others = self._others(maxima, last, tiles, returned, graph.add("Sub", last, noise))
        found = graph.add("Concat", tiles, others, axis=0)
        return str(graph.add("Gather", among, found, axis=0) if among else found)

    def _others(self, maxima: str, last: str, tiles: str, returned: str, bound: str) -> str:
        """Tiles besides ``tiles`` whose maximum is above a bound, int64[g].

        A tile that equals the last one of ``tiles`` may hold a row that rounding has put behind its
        maximum. Where there are more of those than rows are returned, none is taken: if u shares
        nothing with most rows, or is zero, that would be most of the table.
        """
        graph = self.graph
        places = graph.add("Reshape", tiles, graph.constant([-1, 1]))
        lowest = graph.add("Expand", graph.constant(LOWEST), graph.add("Shape", tiles))
        left = graph.add("ScatterND", maxima, places, lowest)
        equal = graph.add("Equal", left, last)
        count = graph.add("ReduceSum", graph.add("Cast", equal, to=7), keepdims=1)
        few = graph.add("Not", graph.add("Greater", count, returned))
        kept = graph.add("Or", graph.add("Not", equal), few)
        others = graph.add("NonZero", graph.add("And", kept, graph.add("Less", bound, left)))
        return str(graph.add("Reshape", others, graph.constant([-1])))

    def _maxima(self, user: str, codes: str, step: str, among: str) -> str:
        """The highest rough score per tile, float[t]; the step applies only with offsets."""
        stored = {"codes": self.codes, "scale": self.scale, "zero": self._zeros()}
        for name, array in (("offset", self.offset), ("factor", self.factor)):
            if array is not None:
                stored[name] = array
        total = user_sum(self.graph, user) if self.offset is not None else ""

        def highest_of(graph: Graph, parts: Mapping[str, str]) -> str:
            products = graph.add("MatMulInteger", codes, parts["codes"])
            logits = graph.add("Cast", graph.add("Sub", products, parts["zero"]), to=1)
            logits = graph.add("Mul", logits, parts["scale"])
            if "offset" in parts:
                # The step scales all products equally, but must not scale an offset.
                shift = graph.add("Mul", parts["offset"], total)
                logits = graph.add("Add", graph.add("Mul", logits, step), shift)
            if "factor" in parts:
                logits = graph.add("Mul", logits, parts["factor"])
            return str(graph.add("ReduceMax", logits, axes=[1, 2], keepdims=0))

        if not among:
            return self._by_chunks(stored, highest_of)
        place = self._place(among)
        parts = {name: self.graph.add("GatherND", array, place) for name, array in stored.items()}
        return highest_of(self.graph, parts)

    def _by_chunks(
        self, stored: Mapping[str, str], highest_of: Callable[[Graph, Mapping[str, str]], str]
    ) -> str:
        """The highest rough score of every tile, float[groups], chunk by chunk."""
        graph, body = self.graph, Graph("chunk/")
        stored = {f"chunk/{name}": array for name, array in stored.items()}
        highest = highest_of(body, {name.removeprefix("chunk/"): name for name in stored})
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
        """The score of each row at u = 0, int32[C, T, 1, TILE], computed on loading.

        It is computed chunk by chunk, because onnxruntime copies its operands on loading.
        """
        graph = self.graph
        user = graph.constant(np.full((1, self.width), ZERO, np.uint8), "zero_user")
        chunks = [graph.part(self.codes, i, i + 1) for i in range(self.chunks)]
        zeros = [graph.add("MatMulInteger", user, chunk) for chunk in chunks]
        return str(graph.add("Concat", *zeros, axis=0)) if len(zeros) > 1 else zeros[0]

    def _place_of(self, rows: str) -> tuple[str, str, str]:
        """Of rows int64[k]: chunk and tile int64[k, 1, 2], zeros, and columns int64[k, 1, 1]."""
        graph = self.graph
        tile, column = self._divided(rows, self.height)
        place = graph.add("Reshape", self._place(tile), graph.constant([-1, 1, 2]))
        column = graph.add("Reshape", column, graph.constant([-1, 1, 1]))
        return place, graph.add("Sub", column, column), column

    def _place(self, tiles: str) -> str:
        """Chunks, and tiles within them, int64[k, 2]."""
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

    def _per_row(self, values: F32, name: str) -> str:
        """Store one number per row, float[C, T, 1, TILE]."""
        return self.graph.table(self._lay_out(values[:, None]), name)


def _round(graph: Graph, user: str) -> tuple[str, str]:
    """Round u to uint8 around ZERO, the fast operand of MatMulInteger; return codes and step."""
    highest = graph.add("ReduceMax", graph.add("Abs", user), keepdims=0)
    safe = graph.add("Max", highest, graph.constant(1e-30))
    step = graph.add("Div", safe, graph.constant(float(ZERO - 1)))
    zero = graph.constant(np.array(ZERO, np.uint8), "zero_point")
    return str(graph.add("QuantizeLinear", user, step, zero)), str(step)


def _deviation(table: Table, factor: F32 | None) -> F32:
    """The standard deviation of each column of the candidates, float32[d]."""
    rows = np.unique(np.linspace(0, table.shape[0] - 1, SAMPLE).astype(np.int64))
    values = table.arrays["codes"][rows].astype(np.float32) * table.arrays["scale"][rows, None]
    if factor is not None:
        values *= factor[rows, None]
    deviation: F32 = values.std(axis=0)
    return deviation
