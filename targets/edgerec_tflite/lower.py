"""Lower a DeviceModel to TFLite.

A table is stored once and read twice, by GATHER and by FULLY_CONNECTED:

=====  ====================  ========================================================
codec  stored as             scan
=====  ====================  ========================================================
fp32   float32[n, d]         FULLY_CONNECTED
fp16   float16[n, d]         the same after a DEQUANTIZE, which runs once, on loading
int8   int8[n, d], scale 1   hybrid FULLY_CONNECTED, then row scales; u is rounded
int4   int4[n, d], scale 1   the same; GATHER reads the same bytes as uint8[n, d / 2]
=====  ====================  ========================================================

An integer scan rounds the user vector, so it only proposes; the proposed rows are scored
again in float.
"""

from __future__ import annotations

import numpy as np

from edgerec.plugin import (
    DeviceModel,
    Signature,
    Table,
    candidate_factor,
    check_size,
)
from edgerec_tflite.layout import check, rows_per_group, score_layout
from edgerec_tflite.ops import built_in_values, lower_op, normalize
from edgerec_tflite.tflite_graph import Graph, Shape, Tensor

__all__ = ["lower"]

#: Codecs whose scan only proposes.
INEXACT = ("int8", "int4")

#: Room for ops, names and shapes.
OVERHEAD = 32 * 1024


def lower(model: DeviceModel, signature: Signature, integers: bool = True) -> bytes:
    """Return the bytes of a ``.tflite`` file with the signature ``serving_default``.

    Without ``integers``, an int8 table is widened to float on loading, and the scan is exact.

    Raises:
        TargetError: the file does not hold the tables as their codecs wrote them.
    """
    writer = Writer(model, integers)
    history = writer.graph.input("history", (model.history_length,), "int32")
    weights = writer.graph.input("weights", (model.history_length,), "float32")
    ids, scores = writer.recommend(writer.encode(history, weights), signature)
    data = writer.graph.build(
        {"history": history, "weights": weights}, {"ids": ids, "scores": scores}, "edgerec"
    )
    check(data, model)
    check_size("tflite", len(data), model, OVERHEAD)
    return data


class Writer:
    """Adds a model's parts to a graph."""

    def __init__(self, model: DeviceModel, integers: bool = True) -> None:
        self.model, self.integers, self.graph = model, integers, Graph()
        self.factor = candidate_factor(model)
        self._widened: dict[str, Tensor] = {}

    def encode(self, history: Tensor, weights: Tensor) -> Tensor:
        """Add the user encoder; return float[1, d]."""
        graph, model = self.graph, self.model
        length = model.history_length
        rows = graph.op("MAXIMUM", [history, graph.small([0])], (length,), "int32")
        values = built_in_values(graph, model, history, weights)
        values |= {name: graph.constant(c) for name, c in model.constants.items()}
        shapes = model.shapes()
        for op in model.encoder:
            if op.kind == "Gather":
                name = op.inputs[0]
                values[op.output] = self._rows(name, model.tables[name], rows)
            else:
                inputs = [values[i] for i in op.inputs]
                values[op.output] = lower_op(graph, op, inputs, shapes[op.output])
        return values["user"]

    def recommend(self, user: Tensor, signature: Signature) -> tuple[Tensor, Tensor]:
        """Scan all items, re-score what an integer scan proposes, and take the best."""
        graph, name = self.graph, self.model.head.table
        table = self.model.tables[name]
        if self.model.head.kind == "cosine":
            user = normalize(graph, user)
        returned = signature.returned
        inexact = table.codec.name in (INEXACT if self.integers else ("int4",))
        k = signature.proposed if inexact else returned
        layout = score_layout(table, k)
        logits = self._scan(name, table, user, layout)
        if self.factor is not None:
            logits = graph.op("MUL", [logits, graph.constant(self.factor, layout)], layout)
        scores, ids = self._best(logits, k)
        if inexact:
            exact = graph.fully_connected(user, self._rows(name, table, ids))
            if self.factor is not None:
                factor = graph.gather(graph.constant(self.factor), ids)
                exact = graph.op("MUL", [exact, factor], (1, k))
            scores, places = self._top(exact, returned)
            ids = graph.gather(ids, places)
        if self.model.head.kind == "sigmoid":
            # The kernel of LOGISTIC is not used, because it is inaccurate for small probabilities.
            rest = graph.op("EXP", [graph.op("NEG", [scores], scores.shape)], scores.shape)
            one = graph.small(1.0)
            whole = graph.op("ADD", [one, rest], scores.shape)
            scores = graph.op("DIV", [one, whole], scores.shape)
        return ids, graph.reshape(scores, (returned,))

    def _best(self, logits: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """``_top`` for many rows, because TOPK_V2 over all of them takes half as long as a scan.

        Row r is in group r mod m, a column of the layout [size, m]. The k highest rows are in the k
        groups with the highest maxima, or among the few rows that belong to no group.
        """
        graph, n = self.graph, logits.shape[0] * logits.shape[1]
        size = rows_per_group(n, k)
        if size < 2:
            return self._top(logits, k)
        m = n // size
        whole = m * size
        grouped = logits
        if whole < n:
            start, shape = graph.small([0, 0]), graph.small([1, whole])
            grouped = graph.op("SLICE", [logits, start, shape], (1, whole))
        grouped = graph.reshape(grouped, (size, m))
        maxima = graph.op("REDUCE_MAX", [grouped, graph.small([0])], (1, m), keepDims=True)
        _, groups = self._top(maxima, k)
        starts = graph.constant(np.arange(0, whole, m, dtype=np.int32)[:, None])
        spread = graph.op("ADD", [starts, graph.reshape(groups, (1, k))], (size, k), "int32")
        rows = graph.reshape(spread, (size * k,))
        candidates = graph.reshape(graph.gather(grouped, groups, axis=1), (1, size * k))
        if whole < n:
            start, shape = graph.small([0, whole]), graph.small([1, n - whole])
            rest = graph.op("SLICE", [logits, start, shape], (1, n - whole))
            count = size * k + n - whole
            candidates = graph.op("CONCATENATION", [candidates, rest], (1, count), axis=1)
            rest = graph.constant(np.arange(whole, n, dtype=np.int32))
            rows = graph.op("CONCATENATION", [rows, rest], (count,), "int32", axis=0)
        scores, places = self._top(candidates, k)
        return scores, graph.gather(rows, places)

    def _top(self, logits: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """Values float[1, k] and positions int32[k] of the k highest."""
        scores, places = self.graph.ops(
            "TOPK_V2", [logits, self.graph.scalar(k)], [((1, k), "float32"), ((1, k), "int32")]
        )
        return scores, self.graph.reshape(places, (k,))

    def _rows(self, name: str, table: Table, rows: Tensor) -> Tensor:
        """Read rows of a table as float[rows, d]."""
        graph, shape = self.graph, (rows.shape[0], table.shape[1])
        codec = table.codec.name
        if codec == "int4":
            values = self._unpack(graph.gather(self._codes(table), rows), shape)
        elif codec == "int8":
            values = graph.op("DEQUANTIZE", [graph.gather(self._codes(table), rows)], shape)
        else:
            values = graph.gather(self._floats(name, table), rows)
        for array, kind in (("scale", "MUL"), ("offset", "ADD")):
            if array in table.arrays:
                part = graph.gather(self._range(name, table, array), rows)
                values = graph.op(kind, [values, graph.reshape(part, (shape[0], 1))], shape)
        return values

    def _scan(self, name: str, table: Table, user: Tensor, layout: Shape) -> Tensor:
        """Score all rows, float[1, n], and lay them out."""
        graph = self.graph
        if table.codec.name in ("fp32", "fp16"):
            scores = graph.fully_connected(user, self._floats(name, table))
            return graph.reshape(scores, layout)
        codes = graph.constant(table.arrays["codes"], table.shape, table.codec.name)
        if not self.integers and table.codec.name == "int8":
            codes = self._widen(f"{name}/codes", codes)
        # Reshaped first, because XNNPACK would copy a value that other ops read as well.
        products = graph.reshape(graph.fully_connected(user, codes), layout)
        scale = self._range(name, table, "scale", layout)
        logits = graph.op("MUL", [products, scale], layout)
        if "offset" in table.arrays:
            total = graph.op("SUM", [user, graph.small([1])], (1, 1), keepDims=True)
            offset = self._range(name, table, "offset", layout)
            shift = graph.op("MUL", [offset, total], layout)
            logits = graph.op("ADD", [logits, shift], layout)
        return logits

    def _codes(self, table: Table) -> Tensor:
        """The stored integers as GATHER reads them: int8, or bytes with two int4 each."""
        return self.graph.constant(table.arrays["codes"])

    def _floats(self, name: str, table: Table) -> Tensor:
        """A float table; half-precision values are widened once, on loading."""
        return self._widen(f"{name}/values", self.graph.constant(table.arrays["values"]))

    def _range(self, name: str, table: Table, array: str, layout: Shape | None = None) -> Tensor:
        """A table's scale or offset as float32[n], or in whole groups."""
        shape = layout if layout and layout[0] > 1 else None
        return self._widen(f"{name}/{array}", self.graph.constant(table.arrays[array], shape))

    def _widen(self, key: str, stored: Tensor) -> Tensor:
        if stored.dtype == "float32":
            return stored
        if key not in self._widened:
            self._widened[key] = self.graph.op("DEQUANTIZE", [stored], stored.shape)
        return self._widened[key]

    def _unpack(self, packed: Tensor, shape: tuple[int, ...]) -> Tensor:
        """uint8[rows, d / 2] to float[rows, d]: low half first, two's complement."""
        graph = self.graph
        tall = (shape[0], shape[1] // 2, 1)
        byte = graph.reshape(graph.op("CAST", [packed], packed.shape), tall)
        sixteenth = graph.op("MUL", [byte, graph.small(1 / 16)], tall)
        high = graph.op("FLOOR", [sixteenth], tall)
        low = graph.op("SUB", [byte, graph.op("MUL", [high, graph.small(16.0)], tall)], tall)
        both = graph.op("CONCATENATION", [low, high], (*tall[:2], 2), axis=2)
        codes = graph.reshape(both, shape)
        # 8..15 stand for -8..-1.
        eighth = graph.op("FLOOR", [graph.op("MUL", [codes, graph.small(1 / 8)], shape)], shape)
        wrap = graph.op("MUL", [eighth, graph.small(16.0)], shape)
        return graph.op("SUB", [codes, wrap], shape)
