"""Histories as a model reads them: padded rows, and the weight of each past item."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from edgerec.files.fields import Fields
from edgerec.model.device_model import DeviceModel
from edgerec.model.integers import F32

__all__ = [
    "GREATEST_WEIGHT",
    "LEAST_WEIGHT",
    "history_weights",
    "list_unseen",
    "merge_repeats",
    "pad_histories",
    "pad_history",
    "pad_left",
    "read_event_weights",
    "read_history",
    "without_padding",
]

#: The range of a weight that is given to a past item. Squares of products of such a number have to
#: fit float32.
LEAST_WEIGHT, GREATEST_WEIGHT = 1e-6, 1e6

#: Numbers, numpy arrays or torch tensors.
Numbers = TypeVar("Numbers")


def history_weights(age: Numbers, count: Any, normalization: float, recency: float) -> Numbers:
    r"""The weight of a past item, n^-p · j^-r.

    Args:
        age: j; the most recent past item has age 1, the one before it age 2, and so on.
        count: n, the number of past items; of the same kind as ``age``, or a number.
        normalization: p; 0 sums past items, 0.5 is LightGCN's 1/√n, 1 takes their mean.
        recency: r; 0 weighs all past items alike.
    """
    weights: Numbers = count**-normalization * age**-recency  # type: ignore[operator]  # numbers of any kind
    return weights


def read_event_weights(meta: Fields) -> dict[str, float]:
    """The weight of each kind of event in the metadata of a file; none if it has no such kinds.

    Raises:
        BundleError: one is not a number, or out of range.
    """
    if "event_weights" not in meta:
        return {}
    weights = meta.fields("event_weights")
    return {kind: weights.number(kind, LEAST_WEIGHT, GREATEST_WEIGHT) for kind in weights}


def pad_history(
    rows: NDArray[np.integer[Any]],
    history_length: int,
    normalization: float,
    weights: F32 | None = None,
    *,
    recency: float = 0.0,
) -> tuple[NDArray[np.int32], F32]:
    """Pad one history to int32[H] rows and float32[H] weights, keeping the most recent H rows.

    Each past item's weight is ``history_weights`` times its entry in ``weights`` (1 by default).
    """
    rows = np.asarray(rows, np.int32)[-history_length:]
    history = np.full(history_length, -1, np.int32)
    padded = np.zeros(history_length, np.float32)
    n = len(rows)
    if n:
        history[:n] = rows
        padded[:n] = history_weights(np.arange(n, 0, -1, np.float32), n, normalization, recency)
        if weights is not None:
            padded[:n] *= np.asarray(weights, np.float32)[-n:]
    return history, padded


def pad_histories(
    histories: Sequence[NDArray[np.int32]],
    model: DeviceModel,
    weights: Sequence[F32 | None] | None = None,
) -> tuple[NDArray[np.int32], F32]:
    """Pad histories to int32[B, H'] and float32[B, H'].

    H' ≤ H is the longest among them, or H if the model cannot run shorter ones.

    ``weights`` are what the user gives to each past item, 1 by default.
    """
    longest = max(1, min(model.history_length, max((len(h) for h in histories), default=1)))
    if not model.takes_any_length:
        longest = model.history_length
    counts = np.array([min(len(rows), longest) for rows in histories])[:, None]
    age = counts - np.arange(longest)
    history = np.full(age.shape, -1, np.int32)
    padded = np.zeros(age.shape, np.float32)
    present = age > 0
    history[present] = np.concatenate([rows[-longest:] for rows in histories])
    padded[present] = history_weights(
        age[present].astype(np.float32),
        np.broadcast_to(counts, age.shape)[present],
        model.normalization,
        model.recency,
    )
    if weights is not None:
        given = [
            np.ones(len(rows), np.float32) if own is None else own
            for rows, own in zip(histories, weights, strict=True)
        ]
        padded[present] *= np.concatenate([own[-longest:] for own in given])
    return history, padded


def pad_left(values: NDArray[Any], length: int, padding: float) -> NDArray[Any]:
    """The last ``length`` values, with padding before them if there are fewer."""
    padded = np.full(length, padding, values.dtype)
    kept = values[-length:]
    padded[length - len(kept) :] = kept
    return padded


def merge_repeats(rows: NDArray[np.integer[Any]]) -> NDArray[np.int64]:
    """The places, in ascending order, at which each of the rows occurs for the last time."""
    _, from_the_end = np.unique(rows[::-1], return_index=True)
    return np.sort(len(rows) - 1 - from_the_end)


def read_history(
    model: DeviceModel, history: NDArray[np.int32], weights: F32 | None = None
) -> tuple[NDArray[np.int32], F32]:
    """Read the inputs of an artefact of signature 2 as it does, before its encoder runs.

    Padding is dropped, repeated items are merged if the model merges them, and the weight of each
    past item is computed.

    Args:
        model: the model.
        history: int32[≤H], most recent last, negative where there is no item.
        weights: float32[≤H], where the model declares them.

    Returns:
        Rows int32[H] and weights float32[H] as the encoder reads them (see ``pad_history``).
    """
    real = np.flatnonzero(history >= 0)
    rows = history[real]
    if model.repeats == "merge" and len(set(rows.tolist())) < len(rows):
        real = real[merge_repeats(rows)]
        rows = history[real]
    own = None if weights is None else weights[real]
    return pad_history(rows, model.history_length, model.normalization, own, recency=model.recency)


def list_unseen(
    model: DeviceModel, rows: NDArray[np.int32], scores: F32, history: NDArray[np.int32]
) -> tuple[NDArray[np.int32], F32]:
    """Leave rows of past items out of a list, as an artefact of signature 2 does.

    Args:
        model: the model, which may also recommend past items again.
        rows: int32[R], best first.
        scores: float32[R].
        history: int32[≤H], rows of past items, negative where there is none.

    Returns:
        A list of the same length: the other rows, then -1 with a score of 0.
    """
    if not model.leaves_out_seen:
        return rows, scores
    past = history[history >= 0]
    seen = set((past if model.seen_rows is None else model.seen_rows[past]).tolist())
    fresh = np.array([row not in seen for row in rows.tolist()], bool)
    ids, found = np.full(len(rows), -1, np.int32), np.zeros(len(rows), np.float32)
    count = int(fresh.sum())
    ids[:count], found[:count] = rows[fresh], scores[fresh]
    return ids, found


def without_padding(history: NDArray[np.int32], weights: F32) -> tuple[NDArray[np.int32], F32]:
    """Drop the padding of one history, leaving int32[h] and float32[h] with h at least 1."""
    real = np.flatnonzero(history >= 0)
    if not len(real):
        real = np.zeros(1, np.int64)
    return history[real], weights[real]
