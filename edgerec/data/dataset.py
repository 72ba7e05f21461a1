"""Dataset: who interacted with what and when, and which interactions are held out."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edgerec.data.dataset_checks import check_parts
from edgerec.data.features import Features
from edgerec.data.interactions import Interactions
from edgerec.data.memory import InMemory
from edgerec.errors import DataError
from edgerec.model.codecs import F32
from edgerec.model.frozen import frozen_array
from edgerec.model.items import Items

__all__ = ["Dataset", "Part"]

#: What interactions are held out for.
Part = Literal["valid", "test"]


@dataclass(frozen=True, eq=False, repr=False)
class Dataset(InMemory):
    """Interactions to train on, and those held out.

    Args:
        name: the name in reports.
        users: user ids, in row order.
        items: the catalogue.
        train: interactions to train on.
        valid: interactions to make choices by, such as when to stop training; or none.
        test: interactions that measure what was chosen; or none.
        notes: what reading and filtering merged or dropped, with how many.
        events: the kinds of events, such as view and buy, if they were read.
        event_weights: how much each kind counts, if that differs.
        triples: int32[m, 3], facts about items as item row, relation and entity; or none.
        friends: int32[m, 2], rows of users who are friends, in both directions; or none.
        item_features: what else is known about the items, in the order of the catalogue
            (``with_features``); or none.
        user_features: what is known about the users, in their order (``with_user_features``); or
            none.
        user_vectors: float32[U, d], the users' own rows, for a model that reads them
            (``with_user_vectors``); or none.

    Raises:
        DataError: there are fewer than two users or two items, nothing to train on, or
            interactions, facts, friendships, features or vectors of other users or items.
    """

    name: str
    users: Sequence[str]
    items: Items
    train: Interactions
    valid: Interactions | None = None
    test: Interactions | None = None
    notes: Mapping[str, int] = field(default_factory=dict)
    events: Sequence[str] = ()
    event_weights: Mapping[str, float] = field(default_factory=dict)
    triples: NDArray[np.int32] | None = None
    friends: NDArray[np.int32] | None = None
    item_features: Features | None = None
    user_features: Features | None = None
    user_vectors: F32 | None = None

    def __post_init__(self) -> None:
        check_parts(self)
        for name in ("triples", "friends"):
            if (edges := getattr(self, name)) is not None:
                object.__setattr__(self, name, frozen_array(np.asarray(edges, np.int32)))
        if (vectors := self.user_vectors) is not None:
            object.__setattr__(self, "user_vectors", frozen_array(np.asarray(vectors, np.float32)))

    def __repr__(self) -> str:
        parts = {"to choose by": self.valid, "to test on": self.test}
        held = "".join(f", {len(p):,} {what}" for what, p in parts.items() if p is not None)
        return (
            f"Dataset({self.name}: {len(self.users):,} users, {len(self.items):,} items, "
            f"{len(self.train):,} interactions to train on{held})"
        )

    @property
    def popular(self) -> NDArray[np.int32]:
        """The rows with the most training users, in descending order, at most 1,000."""
        counts = self.train.counts(len(self.items))
        return np.argsort(-counts, kind="stable")[:1000].astype(np.int32)

    @functools.cached_property
    def histories(self) -> Interactions:
        """What is known of users at test time: training and validation interactions."""
        return self.train if self.valid is None else self.train.joined(self.valid)

    def with_features(self, features: Features) -> Dataset:
        """Return the data set with features of its items, which may be in another order.

        Features of other items are left out, and ``notes`` says of how many.

        Raises:
            DataError: an item has none.
        """
        own, notes = self._features_of(features, self.items, "items")
        return dataclasses.replace(self, item_features=own, notes=notes)

    def with_user_features(self, features: Features) -> Dataset:
        """Return the data set with features of its users, who may be in another order.

        They are what a model can read as its context (``train(..., context=…)``). Features of other
        users are left out, and ``notes`` says of how many.

        Raises:
            DataError: a user has none.
        """
        own, notes = self._features_of(features, Items.of(self.users), "users")
        return dataclasses.replace(self, user_features=own, notes=notes)

    def with_user_vectors(self, vectors: Any) -> Dataset:
        """Return the data set with the users' own rows, float[U, d], in the order of its users.

        They are what a model is given as its ``user_vector``, such as ``Trained.user_vectors``.

        Raises:
            DataError: they are something else, or a number is not finite.
        """
        try:
            rows = np.asarray(vectors, np.float32)
        except (TypeError, ValueError):
            raise DataError(f"{self.name}: user_vectors: expected numbers") from None
        return dataclasses.replace(self, user_vectors=rows)

    def without_held_out(self) -> Dataset:
        """What may be learned from: the data set without validation and test interactions."""
        return dataclasses.replace(self, valid=None, test=None)

    def on_valid(self) -> Dataset:
        """The data set that choices are made on: validation interactions take the place of test's.

        Raises:
            DataError: there are none.
        """
        if self.valid is None:
            raise DataError(
                f"{self.name}: has no validation interactions to choose by; hold some out with "
                "`edgerec data --valid` (split_random(part='valid')), and train without them"
            )
        return dataclasses.replace(self, valid=None, test=self.valid)

    def split_random(self, share: float = 0.2, seed: int = 0, part: Part = "test") -> Dataset:
        """Hold out a random share of each user's training interactions, but never all of them.

        Args:
            share: the share of each user's interactions.
            seed: the seed of the choice.
            part: what they are held out for: ``test``, or ``valid``.

        Raises:
            DataError: the share is not between 0 and 1, or there is such a part already.
        """
        return self._split(share, np.random.default_rng(seed).random(len(self.train)), part)

    def split_recent(self, share: float = 0.2, part: Part = "test") -> Dataset:
        """Hold out the most recent share of each user's interactions, but never all of them.

        Raises:
            DataError: the share is not between 0 and 1, or there is such a part already.
        """
        return self._split(share, -np.arange(len(self.train)), part)

    def split_last(self, count: int = 1, part: Part = "test") -> Dataset:
        """Leave-last-out: hold out the most recent interactions of each user.

        Nothing is held out of users who would not keep at least one.

        Raises:
            DataError: the count is not positive, or there is such a part already.
        """
        if count < 1:
            raise DataError(f"split: count: expected at least 1, got {count}")
        ends = self.train.indptr[1:][self.train.users]
        sizes = np.diff(self.train.indptr)[self.train.users]
        position = np.arange(len(self.train))
        return self._hold_out((position >= ends - count) & (sizes > count), part)

    def k_core(self, k: int) -> Dataset:
        """Keep users and items with at least k interactions, repeating until all have them.

        Raises:
            DataError: nothing is left, k is not positive, or the data is split already.
        """
        if k < 1:
            raise DataError(f"k_core: expected at least 1, got {k}")
        if self.valid is not None or self.test is not None:
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
        train = Interactions.of_pairs(user, item, len(kept_users), **part.details())
        features, of_users, vectors = self.item_features, self.user_features, self.user_vectors
        return dataclasses.replace(
            self,
            item_features=None if features is None else features.take(kept_items),
            user_features=None if of_users is None else of_users.take(kept_users),
            user_vectors=None if vectors is None else vectors[kept_users],
            users=[self.users[int(u)] for u in kept_users],
            items=self.items.take(kept_items),
            train=train,
            notes={**self.notes, **dropped},
            triples=_kept(self.triples, kept_items, 1),
            friends=_kept(self.friends, kept_users, 2),
        )

    def _features_of(
        self, features: Features, own: Items, what: str
    ) -> tuple[Features, dict[str, int]]:
        """The features of ``own`` alone, in its order, and the notes on what was left out."""
        if not isinstance(features, Features):
            raise DataError(f"expected Features, got {type(features).__name__}; use Features.of")
        others = len(features.items) - len(own)
        left_out = {f"{what} with features but without interactions": others} if others else {}
        return features.of_items(own, what), {**self.notes, **left_out}

    def _split(self, share: float, keys: NDArray[Any], part: Part) -> Dataset:
        """Hold out the share of each user's interactions with the lowest keys, one key per edge."""
        if not 0 < share < 1:
            raise DataError(f"split: share: expected a number between 0 and 1, got {share}")
        order = np.lexsort((keys, self.train.users))
        rank = np.empty(len(self.train), np.int64)
        rank[order] = np.arange(len(self.train)) - self.train.indptr[self.train.users[order]]
        sizes = np.diff(self.train.indptr)[self.train.users]
        return self._hold_out(rank < np.minimum(np.floor(sizes * share + 0.5), sizes - 1), part)

    def _hold_out(self, held: NDArray[np.bool_], part: Part) -> Dataset:
        if part not in ("valid", "test"):
            raise DataError(f"split: part: expected valid or test, got {part!r}")
        if getattr(self, part) is not None:
            raise DataError(
                f"{self.name}: is already split: it has {len(getattr(self, part)):,} "
                f"interactions for {part}"
            )
        if not held.any():
            raise DataError(
                f"{self.name}: the split holds nothing out, because users have too few items"
            )
        train, rest = self.train.take(~held), self.train.take(held)
        if part == "valid":
            return dataclasses.replace(self, train=train, valid=rest)
        return dataclasses.replace(self, train=train, test=rest)


def _kept(
    edges: NDArray[np.int32] | None, rows: NDArray[Any], columns: int
) -> NDArray[np.int32] | None:
    """The side edges whose first columns are among ascending rows, as places in these."""
    if edges is None:
        return None
    ends = edges[:, :columns]
    kept = np.isin(ends, rows).all(axis=1)
    new = np.column_stack([np.searchsorted(rows, ends[kept]), edges[kept, columns:]])
    return new.astype(np.int32) if len(new) else None
