"""Read a history in the graph, and leave its items out of the list: what surrounds the encoder.

Both find equal rows by sorting: among sorted rows, equal ones are neighbors. That takes H log H
steps, where comparing every two rows would take H², and kernels broadcast slowly.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgerec.plugin import DeviceModel
from edgerec_tflite.tflite_graph import Graph, Tensor

__all__ = ["Past", "list_unseen", "read_history", "seen_rows"]

#: The score of rows that are not in the list, less than any real score.
LOWEST = -3.4e38

#: A row before the first one, equal to none.
NONE = -(2**24)


@dataclass(frozen=True)
class Past:
    """Past items as the encoder reads them: oldest first, then padding; or in any order.

    Args:
        given: int32[H], the history as it was given, by which seen rows are known.
        rows: int32[H], 0 in padding.
        present: float[H], 1 for a past item and 0 for padding.
        weights: float[H], the weight of each past item.
    """

    given: Tensor
    rows: Tensor
    present: Tensor
    weights: Tensor


def read_history(graph: Graph, model: DeviceModel, history: Tensor, weights: Tensor | None) -> Past:
    """Merge repeats if the model does so, weigh past items, and put them in order."""
    length = model.history_length
    shape = (length,)
    rows = _reversed(graph, history)
    if model.repeats == "merge":
        # Of equal rows, the most recent comes first, because TOPK_V2 keeps their order.
        rows, places = graph.top(rows, length)
        real = graph.op("GREATER", [rows, graph.small([-1])], shape, "bool")
        first = graph.op("NOT_EQUAL", [rows, _before(graph, rows)], shape, "bool")
        kept = graph.op("LOGICAL_AND", [real, first], shape, "bool")
    else:
        kept = graph.op("GREATER", [rows, graph.small([-1])], shape, "bool")
        places = graph.constant(np.arange(length, dtype=np.int32))
    whole = graph.op("CAST", [kept], shape, "int32")
    if model.reads_order:
        # The place from the end, from 1, and 0 for what is dropped: sorted, the oldest comes first.
        age = graph.op("ADD", [places, graph.small([1])], shape, "int32")
        age, order = graph.top(graph.op("MUL", [age, whole], shape, "int32"), length)
        kept = graph.op("GREATER", [age, graph.small([0])], shape, "bool")
        whole = graph.op("CAST", [kept], shape, "int32")
        rows, places = graph.gather(rows, order), graph.gather(places, order)
    rows = graph.op("MAXIMUM", [rows, graph.small([0])], shape, "int32")
    rows = graph.op("MUL", [rows, whole], shape, "int32")
    present = graph.op("CAST", [kept], shape)
    computed = _weights(graph, model, present)
    if weights is not None:
        own = graph.gather(_reversed(graph, weights), places)
        computed = graph.op("MUL", [computed, own], shape)
    return Past(history, rows, present, computed)


def seen_rows(graph: Graph, model: DeviceModel, past: Past) -> Tensor:
    """The rows of past items in the catalogue, int32[H], negative where there is none."""
    if model.seen_rows is None:
        return past.given
    shape, none = past.given.shape, graph.small([-1])
    is_item = graph.op("GREATER", [past.given, none], shape, "bool")
    rows = graph.op("MAXIMUM", [past.given, graph.small([0])], shape, "int32")
    seen = graph.gather(graph.constant(model.seen_rows), rows)
    return graph.op("SELECT_V2", [is_item, seen, none], shape, "int32")


def list_unseen(
    graph: Graph, rows: Tensor, scores: Tensor, given: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Leave seen rows out of a list.

    Args:
        graph: the graph.
        rows: int32[k], different rows.
        scores: float[k].
        given: int32[H], rows of past items.

    Returns:
        The rows int32[k] that are not among past items, with the highest scores first and, of equal
        ones, the lower row first; their scores float[k]; and bool[k], true for the places that are
        left over.
    """
    (length,), (k,) = given.shape, rows.shape
    total = (length + k,)
    minus = graph.small([-2])
    marks = graph.op("MUL", [given, minus], given.shape, "int32")
    keys = graph.op("MUL", [rows, minus], rows.shape, "int32")
    keys = graph.op("SUB", [keys, graph.small([1])], rows.shape, "int32")
    # Sorted, the lowest row first, a row comes right after the past item that it is equal to.
    _, order = graph.top(graph.op("CONCATENATION", [marks, keys], total, "int32", axis=0), total[0])
    both = graph.gather(graph.op("CONCATENATION", [given, rows], total, "int32", axis=0), order)
    low = graph.small(LOWEST)
    filled = graph.op("FILL", [graph.small([length]), low], given.shape)
    every = graph.gather(graph.op("CONCATENATION", [filled, scores], total, axis=0), order)
    is_seen = graph.op("EQUAL", [both, _before(graph, both)], total, "bool")
    fresh = graph.op("SELECT_V2", [is_seen, low, every], total)
    best, places = graph.top(fresh, k)
    left_over = graph.op("EQUAL", [best, low], best.shape, "bool")
    return graph.gather(both, places), best, left_over


def _weights(graph: Graph, model: DeviceModel, present: Tensor) -> Tensor:
    """The computed weight of each past item, n^-p · j^-r, and 0 for padding: float[H]."""
    weights, shape, one = present, present.shape, graph.small(1.0)
    if not (model.normalization or model.recency):
        return weights
    count = graph.op("SUM", [present, graph.small([0])], (1,), keepDims=True)
    count = graph.op("MAXIMUM", [count, one], (1,))
    if model.normalization:
        factor = graph.op("POW", [count, graph.small(-model.normalization)], (1,))
        weights = graph.op("MUL", [weights, factor], shape)
    if model.recency:
        place = graph.constant(np.arange(shape[0], dtype=np.float32))
        age = graph.op("MAXIMUM", [graph.op("SUB", [count, place], shape), one], shape)
        age = graph.op("POW", [age, graph.small(-model.recency)], shape)
        weights = graph.op("MUL", [weights, age], shape)
    return weights


def _reversed(graph: Graph, values: Tensor) -> Tensor:
    """The values of one axis, last first."""
    return graph.op("REVERSE_V2", [values, graph.small([0])], values.shape, values.dtype)


def _before(graph: Graph, rows: Tensor) -> Tensor:
    """For each row int32[k] the one before it."""
    none, (k,) = graph.small([NONE]), rows.shape
    if k == 1:
        return none
    start, size = graph.small([0]), graph.small([k - 1])
    earlier = graph.op("SLICE", [rows, start, size], (k - 1,), "int32")
    return graph.op("CONCATENATION", [none, earlier], rows.shape, "int32", axis=0)
