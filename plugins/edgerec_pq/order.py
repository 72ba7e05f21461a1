"""The order of rows in which those of like lengths lie side by side.

A device does not care in what order a catalogue lies, so the order can carry what a byte a row
would: rows are clustered by the numbers that scale them in all tables (candidate length and
past weight, say), and each cluster becomes a run, within which they lie by the first number.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgerec.plugin import F32, DeviceModel
from edgerec_pq.kmeans import cluster

__all__ = ["in_runs", "popularity"]


def in_runs(
    lengths: Sequence[F32], narrow: Sequence[bool], runs: int, weight: F32
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The order of rows, int64[n], and where runs end in it, int64[runs].

    Args:
        lengths: what each row of each table is multiplied by, float32[n] each; the one that
            matters most comes first.
        narrow: whether that table is of one column.
        runs: how many runs; some may be empty.
        weight: how much each row matters, float32[n].
    """
    traits = np.stack([_trait(x, n) for x, n in zip(lengths, narrow, strict=True)], axis=1)
    centres, run = cluster(traits, runs, weight)
    rank = np.empty(runs, np.int64)
    rank[np.argsort(-centres.sum(1), kind="stable")] = np.arange(runs)
    counts = np.bincount(rank[run], minlength=runs)
    return np.lexsort((lengths[0], rank[run])), np.cumsum(counts)


def popularity(model: DeviceModel, dataset: object) -> F32:
    """float32[n], one more than the training users of each item, over the mean of that."""
    counts = np.ones(len(model.items), np.float32)
    train, items = getattr(dataset, "train", None), getattr(dataset, "items", None)
    if train is not None and items is not None:
        rows = model.items.rows
        known = np.array([rows.get(item, -1) for item in items.ids], np.int64)[train.items]
        counts += np.bincount(known[known >= 0], minlength=len(counts))
    return counts / counts.mean()


def _trait(length: F32, narrow: bool) -> F32:
    """The log of a length, half as much for a table of one column; a negative one as it is.

    A past item's weight is one of many in a sum, a candidate's length is all that its score has.
    """
    if float(length.min()) < 0:
        values: F32 = length / max(float(np.abs(length).mean()), 1e-12)
        return values
    low = max(float(length.max(initial=0)) * 1e-4, 1e-12)
    logs: F32 = np.log(np.maximum(length, low)).astype(np.float32)
    return logs / 2 if narrow else logs
