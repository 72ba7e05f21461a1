"""Fit on some users and compare the lists of others."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgerec.errors import DataError
from edgerec.model.integers import F32

__all__ = ["best", "overlap", "parted", "ridges"]

#: The strengths λ to choose from, relative to the mean square of pooled columns times the users.
_STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)

#: The share of users that are judged by, at most so many, and the length of the lists.
_SHARE, _MOST, _TOP = 0.2, 2000, 20


def parted(histories: list[NDArray[Any]], seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Users to fit on and users to judge by, of those who have a history.

    Raises:
        DataError: there are fewer than ten.
    """
    active = np.array([user for user, past in enumerate(histories) if len(past)], np.int64)
    if len(active) < 10:
        raise DataError(f"{len(active)} users have a history; expected at least 10")
    count = min(_MOST, int(_SHARE * len(active)) + 1)
    judged = np.random.default_rng(seed).permutation(active)[:count]
    return np.setdiff1d(active, judged), judged


def ridges(x: F32, y: F32) -> Iterator[F32]:
    """The weights W that minimize |x W - y|² + λ |W|², for each λ."""
    gram, target = x.T @ x, x.T @ y
    unit = max(float(np.trace(gram)) / len(gram), 1e-12) * np.eye(len(gram))
    for strength in _STRENGTHS:
        yield np.linalg.solve(gram + strength * unit, target).astype(np.float32)


def best(scores: F32, seen: list[NDArray[np.int64]]) -> NDArray[np.int64]:
    """The rows of the highest scores of each user, without those that were seen."""
    for row, past in zip(scores, seen, strict=True):
        row[past] = -np.inf
    k = min(_TOP, scores.shape[1])
    return np.argpartition(-scores, k - 1, axis=1)[:, :k]


def overlap(lists: NDArray[Any], wanted: NDArray[Any]) -> float:
    """The mean share of items that two lists of each user have in common."""
    shared = [np.isin(one, other).mean() for one, other in zip(lists, wanted, strict=True)]
    return float(np.mean(shared))
