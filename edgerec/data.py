"""Dataset: who interacted with what, when, and which of it is held out for testing."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgerec.codecs import F32
from edgerec.errors import DataError
from edgerec.items import Items

__all__ = ["Dataset", "Interactions"]


@dataclass(frozen=True)
class Interactions:
    """A bipartite graph in CSR form: each user's items, oldest first.

    Args:
        indptr: int64[users + 1]; user u's items are ``items[indptr[u]:indptr[u + 1]]``.
        items: int32[edges], rows of the catalogue.
        ratings: float32[edges], or none.
        timestamps: float64[edges], or none.
    """

    indptr: NDArray[np.int64]
    items: NDArray[np.int32]
    ratings: F32 | None = None
    timestamps: NDArray[np.float64] | None = None

    @classmethod
    def of_pairs(
        cls,
        users: NDArray[Any],
        items: NDArray[Any],
        n_users: int,
        ratings: NDArray[Any] | None = None,
        timestamps: NDArray[Any] | None = None,
    ) -> Interactions:
        """Build the CSR from edges; each user's edges are put in order of time, or kept."""
        keys = (users,) if timestamps is None else (timestamps, users)
        order = np.lexsort(keys) if timestamps is not None else np.argsort(users, kind="stable")
        indptr = np.zeros(n_users + 1, np.int64)
        np.cumsum(np.bincount(users, minlength=n_users), out=indptr[1:])
        return cls(
            indptr,
            np.asarray(items, np.int32)[order],
            None if ratings is None else np.asarray(ratings, np.float32)[order],
            None if timestamps is None else np.asarray(timestamps, np.float64)[order],
        )

    def __len__(self) -> int:
        return len(self.items)

    @property
    def n_users(self) -> int:
        """Number of users, with interactions or without."""
        return len(self.indptr) - 1

    @functools.cached_property
    def users(self) -> NDArray[np.int32]:
        """int32[edges], the user of each edge."""
        return np.repeat(np.arange(self.n_users, dtype=np.int32), np.diff(self.indptr))

    def of(self, user: int) -> NDArray[np.int32]:
        """Rows of a user's items, oldest first."""
        return self.items[self.indptr[user] : self.indptr[user + 1]]

    def lists(self) -> Iterator[NDArray[np.int32]]:
        """Each user's rows, in user order."""
        return (self.of(user) for user in range(self.n_users))

    def counts(self, n_items: int) -> NDArray[np.int64]:
        """int64[n_items], how many users each item has."""
        return np.bincount(self.items, minlength=n_items)

    def take(self, edges: NDArray[Any]) -> Interactions:
        """Keep some edges: a boolean mask, or indices in ascending order."""
        indptr = np.zeros(self.n_users + 1, np.int64)
        np.cumsum(np.bincount(self.users[edges], minlength=self.n_users), out=indptr[1:])
        return Interactions(
            indptr,
            self.items[edges],
            None if self.ratings is None else self.ratings[edges],
            None if self.timestamps is None else self.timestamps[edges],
        )


@dataclass(frozen=True)
class Dataset:
    """Interactions to train on, and those held out.

    Args:
        name: for reports.
        users: user ids, in row order.
        items: the catalogue.
        train: interactions to train on; also the histories at test time.
        test: interactions held out, or none.
        merged: how many repeated (user, item) pairs were merged into their latest one.

    Raises:
        DataError: there are fewer than two users or two items, or nothing to train on.
    """

    name: str
    users: Sequence[str] = field(repr=False)
    items: Items = field(repr=False)
    train: Interactions = field(repr=False)
    test: Interactions | None = field(default=None, repr=False)
    merged: int = 0

    def __post_init__(self) -> None:
        for what, count in (("user", len(self.users)), ("item", len(self.items))):
            if count < 2:
                raise DataError(
                    f"{self.name}: {count} {what}; a recommender needs at least two users and "
                    "two items"
                )
        if len(self.train) == 0:
            raise DataError(f"{self.name}: no interactions to train on")

    @property
    def popular(self) -> NDArray[np.int32]:
        """Rows by falling number of training users, at most 1,000."""
        counts = self.train.counts(len(self.items))
        return np.argsort(-counts, kind="stable")[:1000].astype(np.int32)

    def split_random(self, share: float = 0.2, seed: int = 0) -> Dataset:
        """Hold out a random share of each user's interactions; nobody loses all of them.

        Raises:
            DataError: the share is not between 0 and 1.
        """
        return self._split(share, np.random.default_rng(seed).random(len(self.train)))

    def split_recent(self, share: float = 0.2) -> Dataset:
        """Hold out the most recent share of each user's interactions; nobody loses all of them.

        Raises:
            DataError: the share is not between 0 and 1.
        """
        return self._split(share, -np.arange(len(self.train)))

    def split_last(self, count: int = 1) -> Dataset:
        """Leave-last-out: hold out each user's most recent interactions.

        Users with too few to keep one are trained on whole.
        """
        if count < 1:
            raise DataError(f"split: count: expected at least 1, got {count}")
        ends = self.train.indptr[1:][self.train.users]
        sizes = np.diff(self.train.indptr)[self.train.users]
        position = np.arange(len(self.train))
        return self._hold_out((position >= ends - count) & (sizes > count))

    def k_core(self, k: int) -> Dataset:
        """Keep users and items with at least k interactions, repeatedly until all have.

        Raises:
            DataError: nothing is left, k is not positive, or the data is split already.
        """
        if k < 1:
            raise DataError(f"k_core: expected at least 1, got {k}")
        if self.test is not None:
            raise DataError("k_core: filter before splitting")
        keep = np.ones(len(self.train), bool)
        while True:
            users = np.bincount(self.train.users[keep], minlength=len(self.users))
            items = np.bincount(self.train.items[keep], minlength=len(self.items))
            small = (users[self.train.users] < k) | (items[self.train.items] < k)
            if not np.any(keep & small):
                break
            keep &= ~small
        if not keep.any():
            raise DataError(f"k_core: nothing is left at k = {k}; take a smaller k")
        kept_users, user = np.unique(self.train.users[keep], return_inverse=True)
        kept_items, item = np.unique(self.train.items[keep], return_inverse=True)
        part = self.train.take(keep)
        train = Interactions.of_pairs(user, item, len(kept_users), part.ratings, part.timestamps)
        return dataclasses.replace(
            self,
            users=[self.users[int(u)] for u in kept_users],
            items=self.items.take(kept_items),
            train=train,
        )

    def _split(self, share: float, keys: NDArray[Any]) -> Dataset:
        """Hold out the share of each user's interactions whose keys, one an edge, are lowest."""
        if not 0 < share < 1:
            raise DataError(f"split: share: expected a number between 0 and 1, got {share}")
        order = np.lexsort((keys, self.train.users))
        rank = np.empty(len(self.train), np.int64)
        rank[order] = np.arange(len(self.train)) - self.train.indptr[self.train.users[order]]
        sizes = np.diff(self.train.indptr)[self.train.users]
        return self._hold_out(rank < np.minimum(np.floor(sizes * share + 0.5), sizes - 1))

    def _hold_out(self, held: NDArray[np.bool_]) -> Dataset:
        if self.test is not None:
            raise DataError(f"{self.name}: is split already")
        if not held.any():
            raise DataError(f"{self.name}: the split holds nothing out; users have too few items")
        return dataclasses.replace(self, train=self.train.take(~held), test=self.train.take(held))
