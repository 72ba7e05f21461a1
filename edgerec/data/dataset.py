"""Dataset: who interacted with what and when, and which interactions are held out."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgerec.errors import DataError
from edgerec.model.codecs import F32
from edgerec.model.frozen import frozen_array
from edgerec.model.items import Items

__all__ = ["Dataset", "Interactions"]


@dataclass(frozen=True, eq=False, repr=False)
class Interactions:
    """A bipartite graph in CSR form: the items of each user, oldest first.

    Args:
        indptr: int64[users + 1]; user u's items are ``items[indptr[u]:indptr[u + 1]]``.
        items: int32[edges], rows of the catalogue.
        ratings: float32[edges], or none.
        timestamps: float64[edges], or none; in the unit of the file, or microseconds since 1970.

    Raises:
        DataError: the arrays do not fit together.
    """

    indptr: NDArray[np.int64]
    items: NDArray[np.int32]
    ratings: F32 | None = None
    timestamps: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        ends = self.indptr
        if ends.ndim != 1 or not len(ends) or ends[0] != 0 or np.any(np.diff(ends) < 0):
            raise DataError("interactions: indptr: expected offsets that start at 0 and rise")
        for name in ("items", "ratings", "timestamps"):
            values = getattr(self, name)
            if values is not None and values.shape != (ends[-1],):
                raise DataError(
                    f"interactions: {name}: expected {ends[-1]:,} values, the last offset of "
                    f"indptr, got {list(values.shape)}"
                )
        for name in ("indptr", "items", "ratings", "timestamps"):
            values = getattr(self, name)
            object.__setattr__(self, name, None if values is None else frozen_array(values))

    def __repr__(self) -> str:
        return f"Interactions({len(self):,} of {self.n_users:,} users)"

    @classmethod
    def of_pairs(
        cls,
        users: NDArray[Any],
        items: NDArray[Any],
        n_users: int,
        ratings: NDArray[Any] | None = None,
        timestamps: NDArray[Any] | None = None,
    ) -> Interactions:
        """Build the CSR from edges, sorting each user's edges by time if timestamps are given."""
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
        """The number of users, including those without interactions."""
        return len(self.indptr) - 1

    @functools.cached_property
    def users(self) -> NDArray[np.int32]:
        """int32[edges], the user of each edge."""
        return np.repeat(np.arange(self.n_users, dtype=np.int32), np.diff(self.indptr))

    def of(self, user: int) -> NDArray[np.int32]:
        """The rows of a user's items, oldest first."""
        return self.items[self.indptr[user] : self.indptr[user + 1]]

    def lists(self) -> Iterator[NDArray[np.int32]]:
        """The rows of each user, in user order."""
        return (self.of(user) for user in range(self.n_users))

    def counts(self, n_items: int) -> NDArray[np.int64]:
        """int64[n_items], the number of users of each item."""
        return np.bincount(self.items, minlength=n_items)

    def take(self, edges: NDArray[Any]) -> Interactions:
        """Keep some edges, given as a boolean mask or as ascending indices."""
        indptr = np.zeros(self.n_users + 1, np.int64)
        np.cumsum(np.bincount(self.users[edges], minlength=self.n_users), out=indptr[1:])
        return Interactions(
            indptr,
            self.items[edges],
            None if self.ratings is None else self.ratings[edges],
            None if self.timestamps is None else self.timestamps[edges],
        )


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """Interactions to train on, and those held out.

    Args:
        name: the name in reports.
        users: user ids, in row order.
        items: the catalogue.
        train: interactions to train on, which are also the histories at test time.
        test: held-out interactions, or none.
        notes: what reading and filtering merged or dropped, with how many.

    Raises:
        DataError: there are fewer than two users or two items, nothing to train on, or
            interactions of other users or items.
    """

    name: str
    users: Sequence[str]
    items: Items
    train: Interactions
    test: Interactions | None = None
    notes: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for what, count in (("user", len(self.users)), ("item", len(self.items))):
            if count < 2:
                raise DataError(
                    f"{self.name}: {count} {what}; a recommender needs at least two users and "
                    "two items"
                )
        if len(self.train) == 0:
            raise DataError(f"{self.name}: no interactions to train on")
        for name in ("train", "test"):
            part: Interactions | None = getattr(self, name)
            if part is None:
                continue
            if part.n_users != len(self.users):
                raise DataError(
                    f"{self.name}: {name}: expected interactions of {len(self.users):,} users, "
                    f"got those of {part.n_users:,}"
                )
            if len(part) and not 0 <= part.items.min() <= part.items.max() < len(self.items):
                raise DataError(
                    f"{self.name}: {name}: an item is outside the catalogue of {len(self.items):,}"
                )

    def __repr__(self) -> str:
        held = "" if self.test is None else f", {len(self.test):,} held out"
        return (
            f"Dataset({self.name}: {len(self.users):,} users, {len(self.items):,} items, "
            f"{len(self.train):,} interactions to train on{held})"
        )

    @property
    def popular(self) -> NDArray[np.int32]:
        """The rows with the most training users, in descending order, at most 1,000."""
        counts = self.train.counts(len(self.items))
        return np.argsort(-counts, kind="stable")[:1000].astype(np.int32)

    def split_random(self, share: float = 0.2, seed: int = 0) -> Dataset:
        """Hold out a random share of each user's interactions, but never all of them.

        Raises:
            DataError: the share is not between 0 and 1.
        """
        return self._split(share, np.random.default_rng(seed).random(len(self.train)))

    def split_recent(self, share: float = 0.2) -> Dataset:
        """Hold out the most recent share of each user's interactions, but never all of them.

        Raises:
            DataError: the share is not between 0 and 1.
        """
        return self._split(share, -np.arange(len(self.train)))

    def split_last(self, count: int = 1) -> Dataset:
        """Leave-last-out: hold out the most recent interactions of each user.

        Nothing is held out of users who would not keep at least one.
        """
        if count < 1:
            raise DataError(f"split: count: expected at least 1, got {count}")
        ends = self.train.indptr[1:][self.train.users]
        sizes = np.diff(self.train.indptr)[self.train.users]
        position = np.arange(len(self.train))
        return self._hold_out((position >= ends - count) & (sizes > count))

    def k_core(self, k: int) -> Dataset:
        """Keep users and items with at least k interactions, repeating until all have them.

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
            raise DataError(f"k_core: nothing is left at k = {k}; use a smaller k")
        kept_users, user = np.unique(self.train.users[keep], return_inverse=True)
        kept_items, item = np.unique(self.train.items[keep], return_inverse=True)
        part = self.train.take(keep)
        outside = len(self.train) - len(part)
        dropped = {"interactions dropped by the k-core": outside} if outside else {}
        train = Interactions.of_pairs(user, item, len(kept_users), part.ratings, part.timestamps)
        return dataclasses.replace(
            self,
            users=[self.users[int(u)] for u in kept_users],
            items=self.items.take(kept_items),
            train=train,
            notes={**self.notes, **dropped},
        )

    def _split(self, share: float, keys: NDArray[Any]) -> Dataset:
        """Hold out the share of each user's interactions with the lowest keys, one key per edge."""
        if not 0 < share < 1:
            raise DataError(f"split: share: expected a number between 0 and 1, got {share}")
        order = np.lexsort((keys, self.train.users))
        rank = np.empty(len(self.train), np.int64)
        rank[order] = np.arange(len(self.train)) - self.train.indptr[self.train.users[order]]
        sizes = np.diff(self.train.indptr)[self.train.users]
        return self._hold_out(rank < np.minimum(np.floor(sizes * share + 0.5), sizes - 1))

    def _hold_out(self, held: NDArray[np.bool_]) -> Dataset:
        if self.test is not None:
            raise DataError(f"{self.name}: is already split")
        if not held.any():
            raise DataError(
                f"{self.name}: the split holds nothing out, because users have too few items"
            )
        return dataclasses.replace(self, train=self.train.take(~held), test=self.train.take(held))
