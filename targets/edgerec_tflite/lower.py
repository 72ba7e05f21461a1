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

Another codec is stored in the layout of the structure that it declares (``structures.py``).

An integer scan rounds the user vector, so it only proposes; the proposed rows are scored
again in float.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from edgerec.plugin import (
    CANDIDATES,
    F32,
    Centroids,
    DeviceModel,
    Signature,
    Structure,
    as_core,
    candidate_centroids,
    candidate_factor,
    check_size,
)
from edgerec_tflite.history import Past, list_unseen, read_history, seen_rows
from edgerec_tflite.layout import check, height_of, rows_per_group, score_layout
from edgerec_tflite.nearest import score_nearest
from edgerec_tflite.ops import built_in_values, lower_op, normalize
from edgerec_tflite.plain import CODECS, Plain
from edgerec_tflite.stored import Stored
from edgerec_tflite.structures import layout_of
from edgerec_tflite.tflite_file import File
from edgerec_tflite.tflite_graph import Graph, Tensor

__all__ = ["lower"]

#: Codecs whose scan only proposes.
INEXACT = ("int8", "int4")

#: Room for ops, names and shapes.
OVERHEAD = 40 * 1024


def lower(model: DeviceModel, signature: Signature, integers: bool = True) -> bytes:
    """Return the bytes of a ``.tflite`` file with the signatures ``serving_default`` and ``score``.

    Without ``integers``, an int8 table is widened to float on loading, and the scan is exact.

    Raises:
        TargetError: the file does not hold the tables as their codecs wrote them.
    """
    model = as_core(model)
    file, factor = File(), candidate_factor(model)
    tables = {name: model.tables[name] for name in model.used_tables}
    structures = {
        name: None if table.codec.name in CODECS else table.codec.structure(table.arrays)
        for name, table in tables.items()
    }
    recommend = Writer(model, Graph(file, "serving_default"), structures, factor, integers)
    score = Writer(model, Graph(file, "score"), structures, factor, integers)
    recommend.centroids = candidate_centroids(model)
    recommend.write_recommend(signature)
    score.write_score()
    data = file.build([recommend.graph, score.graph], "edgerec")
    check(data, model)
    check_size("tflite", len(data), model, OVERHEAD)
    return data


class Writer:
    """Adds a model's parts to the graph of a function."""

    def __init__(
        self,
        model: DeviceModel,
        graph: Graph,
        structures: Mapping[str, Structure | None],
        factor: F32 | None,
        integers: bool = True,
    ) -> None:
        self.model, self.integers, self.graph, self.factor = model, integers, graph, factor
        self.centroids: Centroids | None = None
        self.structures = structures
        self._tables: dict[str, Stored] = {}

    def write_recommend(self, signature: Signature) -> None:
        """Add the function that recommends: ids int32[R], scores float[R] and user float[d]."""
        graph, model = self.graph, self.model
        past, user = self._user()
        ids, scores = self._recommend(self._scored(user), signature)
        scores = graph.reshape(scores, ids.shape)
        if model.leaves_out_seen:
            seen = seen_rows(graph, model, past)
            ids, scores, left_over = list_unseen(graph, ids, scores, seen)
            ids = graph.op("SELECT_V2", [left_over, graph.small([-1]), ids], ids.shape, "int32")
        scores = self._finish(scores)
        if model.leaves_out_seen:
            zero = graph.small(0.0)
            scores = graph.op("SELECT_V2", [left_over, zero, scores], scores.shape)
        graph.output("ids", ids)
        graph.output("scores", scores)
        graph.output("user", graph.reshape(user, (model.width,)))

    def write_score(self) -> None:
        """Add the function that scores the rows int32[C] that are given: scores float[C]."""
        graph, shape = self.graph, (CANDIDATES,)
        _, user = self._user()
        given = graph.input("rows", shape, "int32")
        rows = graph.op("MAXIMUM", [given, graph.small([0])], shape, "int32")
        scores = self._finish(graph.reshape(self._exact(rows, self._scored(user)), shape))
        is_padding = graph.op("LESS", [given, graph.small([0])], shape, "bool")
        scores = graph.op("SELECT_V2", [is_padding, graph.small(0.0), scores], shape)
        graph.output("scores", scores)

    def _user(self) -> tuple[Past, Tensor]:
        """Add the inputs and the user encoder: the history as it is read, and float[1, d]."""
        graph, model = self.graph, self.model
        history = graph.input("history", (model.history_length,), "int32")
        given = {
            name: graph.input(name, (length,), "float32") for name, length in model.inputs.items()
        }
        past = read_history(graph, model, history, given.pop("weights", None))
        values = built_in_values(graph, model, past)
        values |= {name: graph.reshape(v, (1, v.shape[0])) for name, v in given.items()}
        values |= {name: graph.constant(c) for name, c in model.constants.items()}
        shapes = model.shapes()
        for op in model.encoder:
            if op.kind == "Gather":
                name = op.inputs[0]
                values[op.output] = self._table(name).read(past.rows)
            else:
                inputs = [values[i] for i in op.inputs]
                values[op.output] = lower_op(graph, op, inputs, shapes[op.output])
        return past, values["user"]

    def _recommend(self, user: Tensor, signature: Signature) -> tuple[Tensor, Tensor]:
        """Scan all items, re-score what an integer scan proposes, and take the best."""
        graph, name = self.graph, self.model.head.table
        returned = signature.returned
        if self.centroids is not None:
            blocks, n = self.model.head.blocks, signature.items
            assert blocks is not None  # noqa: S101  # for mypy
            found, rows = score_nearest(
                graph, user, blocks, self.centroids, n, self._exact_of_blocks
            )
            scores, places = self._best(found, returned)
            return graph.gather(rows, places), scores
        k = signature.proposed if self._proposes else returned
        layout = score_layout(self.model.tables[name], k)
        table = self._table(name)
        logits = table.scan(user, layout) if isinstance(table, Plain) else table.scan(user)
        logits = graph.reshape(logits, layout)
        if self.factor is not None:
            logits = graph.op("MUL", [logits, graph.constant(self.factor, layout)], layout)
        scores, ids = self._best(logits, k)
        if self._proposes:
            scores, places = self._top(self._exact(ids, user), returned)
            ids = graph.gather(ids, places)
        return ids, scores

    @property
    def _proposes(self) -> bool:
        """Whether the scan of candidates is inexact, so that it only proposes."""
        codec = self.model.tables[self.model.head.table].codec.name
        return codec in (INEXACT if self.integers else ("int4",))

    def _exact(self, rows: Tensor, user: Tensor) -> Tensor:
        """Scores float[1, k] of rows int32[k], in float."""
        return self._times_factor(self._table(self.model.head.table).some(rows, user), rows)

    def _exact_of_blocks(self, blocks: Tensor, rows: Tensor, user: Tensor) -> Tensor:
        """Scores float[1, k] of the rows int32[k] of blocks int32[b], in float."""
        table = self._table(self.model.head.table)
        return self._times_factor(table.of_blocks(blocks, rows, user), rows)

    def _times_factor(self, scores: Tensor, rows: Tensor) -> Tensor:
        if self.factor is None:
            return scores
        graph = self.graph
        factor = graph.reshape(graph.gather(graph.constant(self.factor), rows), scores.shape)
        return graph.op("MUL", [scores, factor], scores.shape)

    def _table(self, name: str) -> Stored:
        """A table as the graph reads it; added when it is first read."""
        if name not in self._tables:
            table, structure = self.model.tables[name], self.structures[name]
            self._tables[name] = (
                Plain(self.graph, table, self.integers)
                if structure is None
                else layout_of(self.graph, structure, table.shape[0], height_of(self.model, name))
            )
        return self._tables[name]

    def _scored(self, user: Tensor) -> Tensor:
        """The user vector by which candidates are multiplied."""
        return normalize(self.graph, user) if self.model.head.kind == "cosine" else user

    def _finish(self, scores: Tensor) -> Tensor:
        """Turn logits into probabilities for a sigmoid head."""
        if self.model.head.kind != "sigmoid":
            return scores
        # The kernel of LOGISTIC is not used, because it is inaccurate for small probabilities.
        graph, one = self.graph, self.graph.small(1.0)
        rest = graph.op("EXP", [graph.op("NEG", [scores], scores.shape)], scores.shape)
        return graph.op("DIV", [one, graph.op("ADD", [one, rest], scores.shape)], scores.shape)

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
        scores, places = self.graph.top(logits, k)
        return scores, self.graph.reshape(places, (k,))
