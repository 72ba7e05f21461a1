"""Quality of a model over test users, whose held-out items should be in its lists."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgerec.data.dataset import Dataset
from edgerec.data.interactions import Interactions
from edgerec.data.interval import Interval, of_mean, of_ratio
from edgerec.data.metrics import long_tail_share, ndcgs, overlap, recalls
from edgerec.data.ranking import rank
from edgerec.errors import DataError
from edgerec.model.codecs import F32
from edgerec.model.device_model import DeviceModel

__all__ = ["Quality", "evaluate", "evaluation_users", "quality_of"]


@dataclass(frozen=True)
class Quality:
    """Means over test users, whose lists are drawn from all items that they have not seen.

    Args:
        recalls: float64[B], the Recall@k of each user.
        ndcgs: float64[B], the NDCG@k of each user.
        long_tail: the share of the top k outside the most popular fifth of the catalogue.
        lists: int32[B, k], the lists themselves.
    """

    recalls: NDArray[np.float64]
    ndcgs: NDArray[np.float64]
    long_tail: float
    lists: NDArray[np.int32]

    @property
    def recall(self) -> float:
        """Recall@k."""
        return float(self.recalls.mean())

    @property
    def ndcg(self) -> float:
        """NDCG@k."""
        return float(self.ndcgs.mean())

    @property
    def k(self) -> int:
        """The length of the lists."""
        return int(self.lists.shape[1])

    def intervals(self) -> dict[str, Interval]:
        """Means over test users by name, each with its 95 % interval."""
        hits = (self.recalls > 0).astype(np.float64)
        found = {"Recall": self.recalls, "NDCG": self.ndcgs, "Hit rate": hits}
        return {f"{name}@{self.k}": of_mean(values) for name, values in found.items()}

    def summary(self) -> dict[str, Any]:
        """The figures as JSON values: each mean with half of its interval."""
        found: dict[str, Any] = {"users": len(self.lists), "k": self.k, "long_tail": self.long_tail}
        for name, interval in self.intervals().items():
            key = name.partition("@")[0].lower().replace(" ", "_")
            half = interval.half if math.isfinite(interval.half) else None
            found |= {key: interval.value, f"{key}_half": half}
        return found

    def kept(self, before: Quality) -> tuple[float, float]:
        """NDCG@k as a share of another model's, and the overlap of both top-k lists."""
        return self.ndcg / max(before.ndcg, 1e-12), overlap(self.lists, before.lists)

    def kept_interval(self, before: Quality) -> Interval:
        """NDCG@k as a share of another model's for the same users, with its paired interval."""
        return of_ratio(self.ndcgs, before.ndcgs)


def evaluation_users(
    dataset: Dataset, limit: int | None = None, seed: int = 0
) -> NDArray[np.int64]:
    """Users with a history and held-out items, or a random ``limit`` of them.

    Raises:
        DataError: nothing is held out, or no user has both.
    """
    held = _held_out(dataset)
    users = np.flatnonzero((np.diff(dataset.histories.indptr) > 0) & (np.diff(held.indptr) > 0))
    if not len(users):
        raise DataError(f"{dataset.name}: no user has both a history and something held out")
    if limit is not None and limit < len(users):
        users = np.sort(np.random.default_rng(seed).choice(users, limit, replace=False))
    return users


def evaluate(
    model: DeviceModel,
    dataset: Dataset,
    *,
    users: NDArray[Any] | None = None,
    user_vectors: F32 | None = None,
    k: int = 20,
) -> Quality:
    """Rank all items for test users with the oracle.

    The model may have fewer items than the dataset (a pruned catalogue): ids are matched, and
    held-out items that it has lost count as misses.

    Args:
        model: the model.
        dataset: with held-out interactions.
        users: rows of users; by default all that have a history and held-out items.
        user_vectors: float32[U, d], the vectors of all of the dataset's users, for a model that
            reads them.
        k: the length of the lists.

    Raises:
        DataError: the dataset has nothing held out.
    """
    users = evaluation_users(dataset) if users is None else users
    lists = rank(model, dataset, users, k, user_vectors)
    return quality_of(lists, dataset, users, k)


def quality_of(
    lists: NDArray[np.int32], dataset: Dataset, users: NDArray[Any], k: int = 20
) -> Quality:
    """Quality of given lists, int32[len(users), k] rows of the dataset, -1 for none."""
    held = [_held_out(dataset).of(int(u)) for u in users]
    popularity = dataset.train.counts(len(dataset.items))
    return Quality(
        recalls(lists, held, k), ndcgs(lists, held, k), long_tail_share(lists, popularity, k), lists
    )


def _held_out(dataset: Dataset) -> Interactions:
    """Return the held-out interactions.

    Raises:
        DataError: there are none.
    """
    if dataset.test is None:
        raise DataError(f"{dataset.name}: nothing is held out; split it, or pass a test file")
    return dataset.test
