"""Interactions: who interacted with what, in order of time, in CSR form."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgerec.errors import DataError
from edgerec.model.codecs import F32
from edgerec.model.frozen import frozen_array
from edgerec.model.history import GREATEST_WEIGHT, LEAST_WEIGHT

__all__ = ["DETAILS", "Interactions"]

#: The least weight may have been rounded to float32.
_ROUNDED = 1 - 1e-6

#: What may be known of each interaction besides its user and item, with its type.
DETAILS: Mapping[str, type[np.generic]] = {
    "ratings": np.float32,
    "timestamps": np.float64,
    "events": np.uint8,
    "weights": np.float32,
}


@dataclass(frozen=True, eq=False, repr=False)
class Interactions:
    """A bipartite graph in CSR form: the items of each user, oldest first.

    Args:
        indptr: int64[users + 1]; user u's items are ``items[indptr[u]:indptr[u + 1]]``.
        items: int32[edges], rows of the catalogue.
        ratings: float32[edges], or none.
        timestamps: float64[edges], or none; in the unit of the file, or microseconds since 1970.
        events: uint8[edges], places in ``Dataset.events``, or none.
        weights: float32[edges], how much each interaction counts, or none if all count alike.

    Raises:
        DataError: the arrays do not fit together.
    """

    indptr: NDArray[np.int64]
    items: NDArray[np.int32]
    ratings: F32 | None = None
    timestamps: NDArray[np.float64] | None = None
    events: NDArray[np.uint8] | None = None
    weights: F32 | None = None

    def __post_init__(self) -> None:
        ends = self.indptr
        if ends.ndim != 1 or not len(ends) or ends[0] != 0 or np.any(np.diff(ends) < 0):
            raise DataError("interactions: indptr: expected offsets that start at 0 and rise")
        for name in ("items", *DETAILS):
            values = getattr(self, name)
            if values is not None and values.shape != (ends[-1],):
                raise DataError(
                    f"interactions: {name}: expected {ends[-1]:,} values, the last offset of "
                    f"indptr, got {list(values.shape)}"
                )
        weights = self.weights
        if weights is not None and not np.all(
            (weights >= LEAST_WEIGHT * _ROUNDED) & (weights <= GREATEST_WEIGHT)
        ):
            raise DataError(
                f"interactions: weights: expected numbers from {LEAST_WEIGHT:g} to "
                f"{GREATEST_WEIGHT:g}"
            )
        for name in ("indptr", "items", *DETAILS):
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
        **details: NDArray[Any] | None,
    ) -> Interactions:
        """Build the CSR from edges, sorting each user's edges by time if timestamps are given.

        ``details`` are arrays by their names in ``DETAILS``.
        """
        timestamps = details.get("timestamps")
        keys = (users,) if timestamps is None else (timestamps, users)
        order = np.lexsort(keys) if timestamps is not None else np.argsort(users, kind="stable")
        indptr = np.zeros(n_users + 1, np.int64)
        np.cumsum(np.bincount(users, minlength=n_users), out=indptr[1:])
        ordered: dict[str, Any] = {
            name: np.asarray(values, DETAILS[name])[order]
            for name, values in details.items()
            if values is not None
        }
        return cls(indptr, np.asarray(items, np.int32)[order], **ordered)

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

    @functools.cached_property
    def digest(self) -> str:
        """Sixteen hexadecimal digits that other interactions do not have."""
        found = hashlib.sha256(self.indptr.tobytes())
        found.update(self.items.tobytes())
        if self.weights is not None:
            found.update(self.weights.tobytes())
        return found.hexdigest()[:16]

    def of(self, user: int) -> NDArray[np.int32]:
        """The rows of a user's items, oldest first."""
        return self.items[self.indptr[user] : self.indptr[user + 1]]

    def weights_of(self, user: int) -> F32 | None:
        """The weights of a user's items, in the same order; none if all count alike."""
        if self.weights is None:
            return None
        return self.weights[self.indptr[user] : self.indptr[user + 1]]

    def lists(self) -> Iterator[NDArray[np.int32]]:
        """The rows of each user, in user order."""
        return (self.of(user) for user in range(self.n_users))

    def counts(self, n_items: int) -> NDArray[np.int64]:
        """int64[n_items], the number of users of each item."""
        return np.bincount(self.items, minlength=n_items)

    def joined(self, other: Interactions) -> Interactions:
        """Both, each user's in order of time; without timestamps, the other's come last."""

        def both(name: str) -> NDArray[Any] | None:
            parts = [getattr(self, name), getattr(other, name)]
            return None if any(part is None for part in parts) else np.concatenate(parts)

        users = np.concatenate([self.users, other.users])
        items = np.concatenate([self.items, other.items])
        return self.of_pairs(users, items, self.n_users, **{name: both(name) for name in DETAILS})

    def details(self) -> dict[str, NDArray[Any]]:
        """What is known of each interaction besides its user and item, by name."""
        values = {name: getattr(self, name) for name in DETAILS}
        return {name: array for name, array in values.items() if array is not None}

    def take(self, edges: NDArray[Any]) -> Interactions:
        """Keep some edges, given as a boolean mask or as ascending indices."""
        indptr = np.zeros(self.n_users + 1, np.int64)
        np.cumsum(np.bincount(self.users[edges], minlength=self.n_users), out=indptr[1:])
        details = {name: values[edges] for name, values in self.details().items()}
        return Interactions(indptr, self.items[edges], **details)
