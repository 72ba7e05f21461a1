"""A data set whose users say what they like."""

from __future__ import annotations

import dataclasses

import numpy as np

from edgerec.data.dataset import Dataset
from edgerec.data.features import Features

__all__ = ["shuffled", "tastes"]


def tastes(users: int = 200, items: int = 60, seed: int = 0) -> Dataset:
    """Users who mostly pick items of their taste, which is known of them; ages say nothing."""
    rng = np.random.default_rng(seed)
    taste, kind = rng.integers(4, size=users), np.arange(items) % 4
    user, item = np.nonzero(
        rng.random((users, items)) < np.where(taste[:, None] == kind, 0.5, 0.12)
    )
    data = Dataset.from_pairs(user, item, name="tastes")
    people = Features.of(
        range(users),
        categories={"taste": [f"taste {one}" for one in taste]},
        numbers={"age": rng.integers(18, 80, users)},
        text={"motto": ["none"] * users},
    )
    return data.with_user_features(people).split_random(0.3, seed)


def shuffled(data: Dataset) -> Dataset:
    """The data with the features of other users."""
    own = data.user_features
    assert own is not None
    order = np.random.default_rng(0).permutation(len(data.users))
    columns = {name: column.take(order) for name, column in own.columns.items()}
    return dataclasses.replace(data, user_features=Features(own.items, columns))
