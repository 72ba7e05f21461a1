"""Ranking quality: recall, NDCG, overlap of lists, share of the long tail."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgerec.codecs import F32

__all__ = ["TIE", "long_tail_share", "ndcg", "overlap", "recall", "tied_overlap"]

Lists = NDArray[Any]

#: Scores that differ by less, relative to the highest, are equal.
TIE = 1e-6


def recall(lists: Lists, relevant: list[NDArray[Any]], k: int = 20) -> float:
    """Mean over users of |top k ∩ relevant| / |relevant|.

    Args:
        lists: int[B, ≥k], recommended rows, best first; -1 for none.
        relevant: each user's held-out rows; users without any are left out.
        k: cut-off.
    """
    return _mean(
        [
            float(np.isin(top[:k], rows).sum()) / len(rows)
            for top, rows in zip(lists, relevant, strict=True)
            if len(rows)
        ]
    )


def ndcg(lists: Lists, relevant: list[NDArray[Any]], k: int = 20) -> float:
    """Mean over users of DCG@k / ideal DCG@k with binary gains.

    DCG@k = Σ_{r=1..k} hit_r / log2(r + 1); the ideal one has min(k, |relevant|) hits
    first. Järvelin & Kekäläinen, TOIS 2002, in the form that LightGCN's authors use.
    """
    discounts = 1 / np.log2(np.arange(2, k + 2))
    ideal = np.cumsum(discounts)
    return _mean(
        [
            float((np.isin(top[:k], rows) * discounts[: len(top[:k])]).sum())
            / float(ideal[min(k, len(rows)) - 1])
            for top, rows in zip(lists, relevant, strict=True)
            if len(rows)
        ]
    )


def overlap(a: Lists, b: Lists, k: int = 20) -> float:
    """Mean over users of the share of a's top k that is in b's top k."""
    return _mean([float(np.isin(x[:k], y[:k]).mean()) for x, y in zip(a, b, strict=True)])


def tied_overlap(top: NDArray[Any], scores: F32, k: int, tie: float = TIE) -> float:
    """Share of the k best by ``scores`` that ``top`` has, ties counting as equal.

    A returned row counts when its score is at least the k-th best, less ``tie`` times
    the highest absolute score.

    Args:
        top: int[≤k], returned rows.
        scores: float32[n], the oracle's scores of all items.
        k: cut-off.
        tie: relative difference below which scores are equal.
    """
    k = min(k, len(scores))
    kth = np.partition(scores, -k)[-k]
    slack = tie * float(np.abs(scores).max())
    return float((scores[np.asarray(top[:k])] >= kth - slack).sum()) / k


def long_tail_share(
    lists: Lists, popularity: NDArray[Any], k: int = 20, head: float = 0.2
) -> float:
    """Share of recommended items outside the most popular ``head`` share of the catalogue.

    Args:
        lists: int[B, ≥k], recommended rows.
        popularity: number of interactions of each row.
        k: cut-off.
        head: share of items that count as popular.
    """
    n = len(popularity)
    tail = np.ones(n, bool)
    tail[np.argsort(-np.asarray(popularity), kind="stable")[: round(head * n)]] = False
    top = lists[:, :k]
    return float(tail[top[top >= 0]].mean())


def _mean(values: list[float]) -> float:
    return float(np.mean(values)) if values else 0.0
