"""Ranking metrics: recall, NDCG, overlap of lists, and the share of the long tail."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Lists", "long_tail_share", "ndcg", "ndcgs", "overlap", "recall", "recalls"]

F64 = NDArray[np.float64]

#: Recommended rows, best first, one list per user.
Lists = NDArray[Any]


def recall(lists: Lists, relevant: list[NDArray[Any]], k: int = 20) -> float:
    """The mean of ``recalls``."""
    return _mean(recalls(lists, relevant, k))


def ndcg(lists: Lists, relevant: list[NDArray[Any]], k: int = 20) -> float:
    """The mean of ``ndcgs``."""
    return _mean(ndcgs(lists, relevant, k))


def recalls(lists: Lists, relevant: list[NDArray[Any]], k: int = 20) -> F64:
    """|top k ∩ relevant| / |relevant| of each user, float64; users without any are left out.

    Args:
        lists: int[B, ≥k], recommended rows, best first; -1 for none.
        relevant: the held-out rows of each user.
        k: the cut-off.
    """
    hits, counts = _hits(lists, relevant, k)
    return hits.sum(1) / counts


def ndcgs(lists: Lists, relevant: list[NDArray[Any]], k: int = 20) -> F64:
    """DCG@k / ideal DCG@k of each user with binary gains, as for ``recalls``.

    DCG@k = Σ_{r=1..k} hit_r / log2(r + 1), and the ideal list starts with min(k, |relevant|) hits
    (Järvelin & Kekäläinen, TOIS 2002, in the form that LightGCN's authors use).
    """
    discounts = 1 / np.log2(np.arange(2, k + 2))
    hits, counts = _hits(lists, relevant, k)
    gains = (hits * discounts[: hits.shape[1]]).sum(1)
    return gains / np.cumsum(discounts)[np.minimum(k, counts) - 1]


def overlap(a: Lists, b: Lists, k: int = 20) -> float:
    """The mean over users of the share of a's top k that is also in b's top k."""
    shared = [float(np.isin(x[:k], y[:k]).mean()) for x, y in zip(a, b, strict=True)]
    return _mean(np.array(shared))


def long_tail_share(
    lists: Lists, popularity: NDArray[Any], k: int = 20, head: float = 0.2
) -> float:
    """The share of recommended items outside the most popular ``head`` of the catalogue.

    Args:
        lists: int[B, ≥k], recommended rows.
        popularity: the number of interactions of each row.
        k: the cut-off.
        head: the share of items that count as popular.
    """
    n = len(popularity)
    tail = np.ones(n, bool)
    tail[np.argsort(-np.asarray(popularity), kind="stable")[: round(head * n)]] = False
    top = lists[:, :k]
    return float(tail[top[top >= 0]].mean())


def _hits(
    lists: Lists, relevant: list[NDArray[Any]], k: int
) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Which of the top k are relevant, bool[B', k], and how many rows are, int64[B'].

    Users without relevant rows are left out.
    """
    counts = np.array([len(rows) for rows in relevant], np.int64)
    some = counts > 0
    top, counts = np.asarray(lists)[some, :k].astype(np.int64), counts[some]
    if not len(counts):
        return np.zeros(top.shape, bool), counts
    rows = np.concatenate([rows for rows in relevant if len(rows)]).astype(np.int64)
    # A user and a row in one number; rows are shifted because -1 stands for none.
    width = 2 + max(int(rows.max()), int(top.max(initial=0)))
    users = np.arange(len(counts))
    relevant_keys = np.repeat(users, counts) * width + rows + 1
    return np.isin(users[:, None] * width + top + 1, relevant_keys), counts


def _mean(values: F64) -> float:
    return float(values.mean()) if len(values) else 0.0
