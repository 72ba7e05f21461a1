"""Agreement: how alike the lists of two recommenders are, over the same users."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgerec.data.interval import Interval, of_mean
from edgerec.errors import DataError

__all__ = ["Agreement", "Listed", "agreement_of"]


@dataclass(frozen=True)
class Listed:
    """What one user is recommended.

    Args:
        items: ids, best first.
        scores: a score per item, NaN where there is none; or none at all.
    """

    items: Sequence[str]
    scores: Sequence[float] | None = None


@dataclass(frozen=True)
class Agreement:
    """How alike the lists of two recommenders are.

    Args:
        users: the number of users compared.
        left_out: the number of users with a history for whom one side has no list.
        top: the length of the lists.
        overlap: the share of the items of a list that the other list has as well, with its 95 %
            interval over users.
        identical: the share of users whose lists have the same items in the same order.
        correlation: Kendall's τ of the items that both lists have, the mean over users with at
            least two such items; none if there is no such user.
        score_difference: the greatest difference of the scores of an item that both lists have, as
            a share of the range of all such scores; none unless both sides give scores.
    """

    users: int
    left_out: int
    top: int
    overlap: Interval
    identical: float
    correlation: float | None
    score_difference: float | None

    def summary(self) -> dict[str, Any]:
        """The figures as JSON values: the overlap with half of its interval."""
        half = self.overlap.half if math.isfinite(self.overlap.half) else None
        return vars(self) | {"overlap": self.overlap.value, "overlap_half": half}


def agreement_of(
    a: Sequence[Listed], b: Sequence[Listed], top: int, left_out: int = 0
) -> Agreement:
    """Compare the first ``top`` items of two lists per user.

    A list that is shorter than the other one lacks the rest of its items.

    Raises:
        DataError: there is no user.
    """
    if not a:
        raise DataError("agreement: expected the lists of at least one user, got none")
    overlaps, identical, orders, pairs = [], [], [], []
    for one, other in zip(a, b, strict=True):
        first, second = list(one.items[:top]), list(other.items[:top])
        place = {item: at for at, item in enumerate(second)}
        shared = [(at, place[item]) for at, item in enumerate(first) if item in place]
        overlaps.append(len(shared) / max(len(first), len(second), 1) if first or second else 1.0)
        identical.append(first == second)
        if len(shared) > 1:
            orders.append(_kendall([there for _, there in shared]))
        if one.scores is not None and other.scores is not None:
            pairs += [(one.scores[here], other.scores[there]) for here, there in shared]
    return Agreement(
        len(a),
        left_out,
        top,
        of_mean(np.array(overlaps)),
        float(np.mean(identical)),
        float(np.mean(orders)) if orders else None,
        _difference(pairs),
    )


def _kendall(places: Sequence[int]) -> float:
    """Kendall's τ of the order of distinct places: 1 if they rise, -1 if they fall."""
    at = np.array(places)
    rises = np.sign(at[None, :] - at[:, None])[np.triu_indices(len(at), 1)]
    return float(rises.mean())


def _difference(pairs: Sequence[tuple[float, float]]) -> float | None:
    """The greatest difference within a pair of scores, as a share of the range of all of them."""
    scores = np.array(pairs, np.float64).reshape(-1, 2)
    scores = scores[np.isfinite(scores).all(1)]
    if not len(scores):
        return None
    extent = float(scores.max() - scores.min())
    return float(np.abs(scores[:, 0] - scores[:, 1]).max()) / extent if extent else 0.0
