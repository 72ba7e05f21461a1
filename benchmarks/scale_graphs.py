"""Generated data for ``benchmarks.scale``: power-law graphs with clusters, to show quality."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgerec.data.dataset import Dataset
from edgerec.data.interactions import Interactions
from edgerec.model.items import Items

__all__ = ["clustered_graph"]

#: Interactions and items per user, items per cluster, and the clusters that a user likes.
PER_USER, ITEMS_PER_USER, CLUSTER, LIKED = 40, 4, 200, 3

#: The share of interactions within the clusters that a user likes.
WITHIN = 0.9

#: Popularity within a cluster and among clusters: the r-th item has a share ∝ r^-(1 - 1/a).
SKEW = 2.0


def clustered_graph(interactions: int, seed: int = 0) -> Dataset:
    """A data set of about so many interactions, a tenth of them each to choose by and to test on.

    Items belong to clusters. Most of what a user chooses is from three clusters, and popular items
    are chosen more often, within a cluster and among all.
    """
    rng = np.random.default_rng(seed)
    n_users = interactions // PER_USER
    n_items = n_users * ITEMS_PER_USER
    users = np.repeat(np.arange(n_users), PER_USER)
    clusters = -(-n_items // CLUSTER)
    liked = (clusters * rng.random((n_users, LIKED)) ** 1.5).astype(np.int64)
    chosen = liked[users, rng.integers(0, LIKED, len(users))]
    within = chosen * CLUSTER + _power_law(rng, CLUSTER, len(users))
    anywhere = _power_law(rng, clusters, len(users)) * CLUSTER + _power_law(
        rng, CLUSTER, len(users)
    )
    items = np.where(rng.random(len(users)) < WITHIN, within, anywhere) % n_items
    pairs = np.unique(users * n_items + items)
    users, items = np.divmod(rng.permutation(pairs), n_items)
    part = np.minimum(rng.integers(0, 10, len(pairs)), 2)
    valid, test, train = (
        Interactions.of_pairs(users[part == p], items[part == p], n_users) for p in range(3)
    )
    names = f"{len(pairs) / 1e6:.1f} M"
    catalogue = Items.of(f"{item:07d}" for item in range(n_items))
    return Dataset(names, [str(u) for u in range(n_users)], catalogue, train, valid, test)


def _power_law(rng: np.random.Generator, size: int, count: int) -> NDArray[np.int64]:
    """Ranks from 0 to ``size`` - 1, of which low ones are frequent."""
    return (size * rng.random(count) ** SKEW).astype(np.int64)
