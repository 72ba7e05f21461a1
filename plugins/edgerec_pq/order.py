"""An order of rows in which rows of similar length are next to each other.

The order of a catalogue does not matter to a device, so it can carry information that would
otherwise take one byte per row. Rows are clustered by the numbers that scale them in all tables,
such as candidate length and past weight. Each cluster becomes a run, within which rows are sorted
by the first number.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgerec.plugin import F32
from edgerec_pq.kmeans import cluster
from edgerec_pq.runs import aligned_ends, block_ends

__all__ = ["in_blocks", "in_runs"]


def in_runs(
    lengths: Sequence[F32], narrow: Sequence[bool], runs: int, weight: F32
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The order of rows, int64[n], and the ends of runs in it, int64[runs].

    Args:
        lengths: the factor of each row in each table, float32[n] each; the most important table
            comes first.
        narrow: whether each table has a single column.
        runs: the number of runs; some may be empty.
        weight: the weight of each row, float32[n].
    """
    traits = np.stack([_trait(x, n) for x, n in zip(lengths, narrow, strict=True)], axis=1)
    centres, run = cluster(traits, runs, weight)
    rank = np.empty(runs, np.int64)
    rank[np.argsort(-centres.sum(1), kind="stable")] = np.arange(runs)
    counts = np.bincount(rank[run], minlength=runs)
    return np.lexsort((lengths[0], rank[run])), aligned_ends(np.cumsum(counts))


def in_blocks(lengths: Sequence[F32], height: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The order of rows that are in blocks of similar ones, int64[n], and their ends, int64[runs].

    Each block is a run, within which rows are sorted by the first number.

    Args:
        lengths: the factor of each row in each table, float32[n] each.
        height: the number of rows per block.
    """
    n = len(lengths[0])
    return np.lexsort((lengths[0], np.arange(n) // height)), block_ends(n, height)


def _trait(length: F32, narrow: bool) -> F32:
    """The log of a length, halved for a table of one column; unchanged if lengths are negative.

    The weight of a past item is one of many in a sum, whereas a candidate's length scales its
    score.
    """
    if float(length.min()) < 0:
        values: F32 = length / max(float(np.abs(length).mean()), 1e-12)
        return values
    low = max(float(length.max(initial=0)) * 1e-4, 1e-12)
    logs: F32 = np.log(np.maximum(length, low)).astype(np.float32)
    return logs / 2 if narrow else logs
