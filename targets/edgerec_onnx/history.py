"""Read a history in the graph, and leave its items out of the list: what surrounds the encoder.

Both find equal rows by sorting: among sorted rows, equal ones are neighbors. That takes H log H
steps, where comparing every two rows would take H².
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgerec.plugin import DeviceModel
from edgerec_onnx.onnx_graph import Graph

__all__ = ["Past", "list_unseen", "read_history", "seen_rows"]

#: Numbers of the types of ONNX.
FLOAT, INT64 = 1, 7

#: The score of rows that are not in the list, less than any real score.
LOWEST = -3.4e38


@dataclass(frozen=True)
class Past:
    """Past items as the encoder reads them: oldest first, then padding; or in any order.

    Args:
        given: int64[h], the history as it was given, by which seen rows are known.
        rows: int64[h], 0 in padding.
        present: float[h], 1 for a past item and 0 for padding.
        weights: float[h], the weight of each past item.
    """

    given: str
    rows: str
    present: str
    weights: str


def read_history(graph: Graph, model: DeviceModel) -> Past:
    """Merge repeats if the model does so, weigh past items, and put them in order."""
    given = graph.add("Cast", "history", to=INT64)
    length = graph.add("Shape", given)
    latest_first = _reversed(graph, given)
    if model.repeats == "merge":
        # Of equal rows, the most recent comes first, because TopK keeps their order.
        rows, places = graph.add("TopK", latest_first, length, outputs=2, axis=0)
        real = graph.add("Greater", rows, graph.constant([-1]))
        first = graph.add("Not", graph.add("Equal", rows, _before(graph, rows)))
        kept = graph.add("And", real, first)
    else:
        rows, places = latest_first, _places(graph, length)
        kept = graph.add("Greater", rows, graph.constant([-1]))
    if model.reads_order:
        # The place from the end, from 1, and 0 for what is dropped: sorted, the oldest comes first.
        age = graph.add("Add", places, graph.constant([1]))
        age = graph.add("Where", kept, age, graph.constant([0]))
        age, order = graph.add("TopK", age, length, outputs=2, axis=0)
        kept = graph.add("Greater", age, graph.constant([0]))
        rows, places = (graph.add("Gather", one, order, axis=0) for one in (rows, places))
    rows = graph.add("Where", kept, rows, graph.constant([0]))
    present = graph.add("Cast", kept, to=FLOAT)
    weights = _weights(graph, model, present, length)
    if model.weighted:
        own = graph.add("Gather", _reversed(graph, "weights"), places, axis=0)
        weights = graph.add("Mul", weights, own)
    return Past(given, rows, present, weights)


def seen_rows(graph: Graph, model: DeviceModel, past: Past) -> str:
    """The rows of past items in the catalogue, int64[h], negative where there is none."""
    if model.seen_rows is None:
        return past.given
    none = graph.constant([-1])
    is_item = graph.add("Greater", past.given, none)
    rows = graph.add("Where", is_item, past.given, graph.constant([0]))
    seen = graph.add("Gather", graph.table(model.seen_rows, "seen_rows"), rows, axis=0)
    return str(graph.add("Where", is_item, graph.add("Cast", seen, to=INT64), none))


def list_unseen(
    graph: Graph, rows: str, scores: str, given: str, count: str
) -> tuple[str, str, str]:
    """Leave seen rows out of a list.

    Args:
        graph: the graph.
        rows: int64[k], different rows.
        scores: float[1, k].
        given: int64[h], rows of past items.
        count: k, int64[1].

    Returns:
        The rows int64[k] that are not among past items, with the highest scores first and, of equal
        ones, the lower row first; their scores float[k]; and bool[k], true for the places that are
        left over.
    """
    two, one = graph.constant([2]), graph.constant([1])
    marks = graph.add("Mul", given, two)
    keys = graph.add("Add", graph.add("Mul", rows, two), one)
    keys = graph.add("Concat", marks, keys, axis=0)
    # A row comes right after the past item that it is equal to.
    _, order = graph.add("TopK", keys, graph.add("Shape", keys), outputs=2, axis=0, largest=0)
    both = graph.add("Gather", graph.add("Concat", given, rows, axis=0), order, axis=0)
    low = graph.constant(LOWEST)
    flat = graph.add("Reshape", scores, graph.constant([-1]))
    every = graph.add("Concat", graph.add("Expand", low, graph.add("Shape", given)), flat, axis=0)
    every = graph.add("Gather", every, order, axis=0)
    is_seen = graph.add("Equal", both, _before(graph, both))
    fresh = graph.add("Where", is_seen, low, every)
    best, places = graph.add("TopK", fresh, count, outputs=2, axis=0)
    return graph.add("Gather", both, places, axis=0), best, graph.add("Equal", best, low)


def _weights(graph: Graph, model: DeviceModel, present: str, length: str) -> str:
    """The computed weight of each past item, n^-p · j^-r, and 0 for padding: float[h]."""
    weights = present
    if not (model.normalization or model.recency):
        return weights
    count = graph.add("ReduceSum", present, graph.constant([0]), keepdims=1)
    one = graph.constant(1.0)
    if model.normalization:
        some = graph.add("Max", count, one)
        factor = graph.add("Pow", some, graph.constant(-model.normalization))
        weights = graph.add("Mul", weights, factor)
    if model.recency:
        place = graph.add("Cast", _places(graph, length), to=FLOAT)
        age = graph.add("Max", graph.add("Sub", count, place), one)
        age = graph.add("Pow", age, graph.constant(-model.recency))
        weights = graph.add("Mul", weights, age)
    return weights


def _reversed(graph: Graph, values: str) -> str:
    """The values of one axis, last first."""
    # No history is as long as the end is far.
    ends = [graph.constant([end]) for end in (-1, -(2**16), 0, -1)]
    return str(graph.add("Slice", values, *ends))


def _before(graph: Graph, rows: str) -> str:
    """For each row int64[h] the one before it; before the first comes one that is none."""
    earlier = graph.add("Slice", rows, *(graph.constant([end]) for end in (0, -1, 0)))
    return str(graph.add("Concat", graph.constant([-(2**16)]), earlier, axis=0))


def _places(graph: Graph, length: str) -> str:
    """0, 1, … h - 1, int64[h]."""
    ends = [graph.constant(np.array(end, np.int64), f"scalar_{end}") for end in (0, 1)]
    scalar = graph.add("Squeeze", length, graph.constant([0]))
    return str(graph.add("Range", ends[0], scalar, ends[1]))
