"""A small data set with structure, for what trains."""

from __future__ import annotations

import numpy as np

from edgerec.data.dataset import Dataset
from edgerec.data.interactions import Interactions
from edgerec.model.items import Items

__all__ = ["example_dataset"]


def example_dataset(users: int = 120, items: int = 80, seed: int = 0) -> Dataset:
    """Users of four tastes who mostly pick items of their own taste, with all that a family reads.

    Items have titles, and facts about their kind and their maker; friends mostly share a taste.
    """
    rng = np.random.default_rng(seed)
    taste, kind = rng.integers(4, size=users), rng.integers(4, size=items)
    chance = np.where(taste[:, None] == kind[None], 0.45, 0.04)
    user, item = np.nonzero(rng.random((users, items)) < chance)
    train = Interactions.of_pairs(user, item, users, timestamps=rng.permutation(len(user)))
    catalogue = Items.of(
        [f"i{n:03d}" for n in range(items)], [f"Title {n} of kind {kind[n]}" for n in range(items)]
    )
    about = np.arange(items - items // 8)  # of some items, nothing is known
    makers = 4 + rng.integers(12, size=len(about))
    facts = np.concatenate(
        [
            np.column_stack([about, np.zeros_like(about), kind[about]]),
            np.column_stack([about, np.ones_like(about), makers]),
        ]
    )
    met = np.triu(rng.random((users, users)) < np.where(taste[:, None] == taste, 0.08, 0.01), 1)
    friends = np.argwhere(met | met.T)
    return Dataset(
        "tastes",
        [f"u{n:03d}" for n in range(users)],
        catalogue,
        train,
        triples=facts.astype(np.int32),
        friends=friends.astype(np.int32) if len(friends) else None,
    )
