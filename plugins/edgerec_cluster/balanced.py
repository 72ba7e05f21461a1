"""Clusters of equal size: an order of rows in which similar ones are next to each other.

k-means (Lloyd, "Least squares quantization in PCM", 1982) finds centroids c. Then each row takes
the nearest centroid that has room left, where rows that are nearest to it go first,

    cluster(x) = argmax_c  x · c - |c|² / 2,

so that every cluster but the last has as many rows as every other. Means and clusters take turns a
few times. A large table is first divided into a few large clusters, and each of them again.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from edgerec.plugin import F32

__all__ = ["in_clusters"]

#: The most clusters that rows are divided into at a time, and rows that are compared with all
#: centroids at a time.
MOST, BLOCK = 1024, 8192

#: Rounds of k-means without and with equal sizes.
ROUNDS, BALANCED = 5, 2

#: The most rows per cluster from which centroids are learned.
SAMPLE = 256


def in_clusters(
    rows: F32, height: int, seed: int, progress: Callable[[int, int], None]
) -> NDArray[np.int64]:
    """The order of rows float32[n, d] in which each ``height`` rows are a cluster: int64[n].

    Args:
        rows: the rows, whose distances count.
        height: the number of rows per cluster; the last one may have fewer.
        seed: of the rows that k-means starts from.
        progress: called with the number of rows that are in place, and that of all rows.
    """
    rng, found = np.random.default_rng(seed), [np.zeros(0, np.int64)]
    left = [np.arange(len(rows))]
    while left:
        part = left.pop()
        if len(part) <= height:
            found.append(part)
            continue
        size = height
        while size * MOST < len(part):
            size *= MOST
        cluster = _divided(rows[part], size, rng)
        order = part[np.argsort(cluster, kind="stable")]
        # Those that are divided next come last in the list, in reverse, so the order is kept.
        pieces = [order[start : start + size] for start in range(0, len(order), size)]
        if size == height:
            found.extend(pieces)
            progress(sum(map(len, found)), len(rows))
        else:
            left.extend(reversed(pieces))
    return np.concatenate(found)


def _divided(rows: F32, size: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """The cluster of each row, int64[n]; all have ``size`` rows, but the last may have fewer."""
    count = -(-len(rows) // size)
    chosen = rng.permutation(len(rows))
    part = rows[np.sort(chosen[: SAMPLE * count])]
    centroids = rows[chosen[:count]].copy()
    for _ in range(ROUNDS):
        centroids = _means(part, _best(part, centroids)[0], centroids)
    room = np.full(count, size)
    room[-1] -= count * size - len(rows)
    cluster = _assigned(rows, centroids, room)
    for _ in range(BALANCED):
        centroids = _means(rows, cluster, centroids)
        cluster = _assigned(rows, centroids, room)
    return cluster


def _assigned(rows: F32, centroids: F32, room: NDArray[np.int64]) -> NDArray[np.int64]:
    """The nearest centroid with room for each row, int64[n]; the rooms add up to n."""
    cluster, room = np.empty(len(rows), np.int64), room.copy()
    half = np.square(rows).sum(axis=1) / 2
    left = np.arange(len(rows))
    while len(left):
        is_open = np.flatnonzero(room)
        places, values = _best(rows[left], centroids[is_open])
        wanted = is_open[places]
        # For each centroid, the rows that are nearest to it come first.
        order = np.lexsort((half[left] - values, wanted))
        ranked = wanted[order]
        rank = np.arange(len(ranked)) - np.searchsorted(ranked, ranked)
        fits = rank < room[ranked]
        cluster[left[order[fits]]] = ranked[fits]
        room -= np.bincount(ranked[fits], minlength=len(room))
        left = np.sort(left[order[~fits]])
    return cluster


def _best(rows: F32, centroids: F32) -> tuple[NDArray[np.int64], F32]:
    """The centroid with the largest x · c - |c|²/2 for each row, int64[n], and that value."""
    half = np.square(centroids).sum(axis=1) / 2
    places, values = np.empty(len(rows), np.int64), np.empty(len(rows), np.float32)
    for start in range(0, len(rows), BLOCK):
        scores = rows[start : start + BLOCK] @ centroids.T - half
        best = scores.argmax(axis=1)
        places[start : start + BLOCK] = best
        values[start : start + BLOCK] = scores[np.arange(len(best)), best]
    return places, values


def _means(rows: F32, cluster: NDArray[np.int64], centroids: F32) -> F32:
    """The mean of the rows of each cluster; a centroid without rows stays."""
    counts = np.bincount(cluster, minlength=len(centroids))
    order = np.argsort(cluster, kind="stable")
    held = np.flatnonzero(counts)
    starts = np.concatenate([[0], np.cumsum(counts[held])[:-1]])
    means = centroids.copy()
    means[held] = np.add.reduceat(rows[order], starts, axis=0) / counts[held, None]
    return means
