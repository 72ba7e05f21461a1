"""Checks of the parts of a Dataset; each failure names the part and what was expected."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgerec.data.interactions import Interactions
from edgerec.errors import DataError

__all__ = ["check_parts"]


def check_parts(data: Any) -> None:
    """Check that all parts of a data set are about its users and items.

    Raises:
        DataError: one is not, or there is too little of something.
    """
    for what, count in (("user", len(data.users)), ("item", len(data.items))):
        if count < 2:
            raise DataError(
                f"{data.name}: {count} {what}; a recommender needs at least two users and two items"
            )
    if len(data.train) == 0:
        raise DataError(f"{data.name}: no interactions to train on")
    if data.item_features is not None and data.item_features.items.ids != data.items.ids:
        raise DataError(
            f"{data.name}: item_features: are not those of the catalogue, in its order; use "
            "with_features, which sorts them"
        )
    if data.user_features is not None and [*data.user_features.items.ids] != [*data.users]:
        raise DataError(
            f"{data.name}: user_features: are not those of the users, in their order; use "
            "with_user_features, which sorts them"
        )
    for name in ("train", "valid", "test"):
        part: Interactions | None = getattr(data, name)
        if part is None:
            continue
        if part.n_users != len(data.users):
            raise DataError(
                f"{data.name}: {name}: expected interactions of {len(data.users):,} users, "
                f"got those of {part.n_users:,}"
            )
        if len(part) and not 0 <= part.items.min() <= part.items.max() < len(data.items):
            raise DataError(
                f"{data.name}: {name}: an item is outside the catalogue of {len(data.items):,}"
            )
        if (part.weights is None) != (data.train.weights is None):
            raise DataError(f"{data.name}: {name}: either all parts have weights, or none has")
        if part.events is not None and part.events.max(initial=0) >= max(1, len(data.events)):
            raise DataError(f"{data.name}: {name}: an event is none of {list(data.events)}")
    users, items, any_row = len(data.users), len(data.items), 2**31
    for name, limits in (("triples", (items, any_row, any_row)), ("friends", (users, users))):
        edges: NDArray[np.int32] | None = getattr(data, name)
        if edges is None:
            continue
        if edges.ndim != 2 or edges.shape[1] != len(limits) or not len(edges):
            raise DataError(
                f"{data.name}: {name}: expected int32[m, {len(limits)}], got shape "
                f"{list(edges.shape)}"
            )
        if np.any(edges < 0) or np.any(edges >= limits):
            raise DataError(f"{data.name}: {name}: a row is outside the data set")
    vectors = data.user_vectors
    if vectors is not None and not isinstance(vectors, np.ndarray):
        raise DataError(f"{data.name}: user_vectors: expected an array; use with_user_vectors")
    if vectors is not None and (vectors.ndim != 2 or len(vectors) != users):
        raise DataError(
            f"{data.name}: user_vectors: expected float32[{users}, d], one row per user, got shape "
            f"{list(vectors.shape)}"
        )
    if vectors is not None and not np.isfinite(vectors).all():
        raise DataError(f"{data.name}: user_vectors: a number is NaN or infinite")
