"""Generated data for ``benchmarks.scale``: power-law graphs with clusters, to show quality."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgerec.data.dataset import Dataset
from edgerec.data.interactions import Interactions
from edgerec.model.items import Items

__all__ = ["clustered_graph"]

#: Interactions and items per user.
PER_USER, ITEMS_PER_USER = 40, 4

#: Items per cluster and per group of a cluster, and the groups that a user likes, each of another
#: cluster.
CLUSTER, GROUP, LIKED = 200, 20, 5

#: The shares of interactions within the groups that a user likes, and in their clusters.
IN_GROUPS, IN_CLUSTERS = 0.7, 0.2

#: Popularity within a cluster and among clusters: the r-th item has a share ∝ r^-(1 - 1/a).
SKEW = 2.0


def clustered_graph(interactions: int, seed: int = 0) -> Dataset:
    """A data set of about so many interactions, a tenth of them each to choose by and to test on.

    Items belong to groups, and groups to clusters. Most of what a user chooses is from five groups,
    and most of the rest from their clusters. Popular items are chosen more often everywhere.
    """
    rng = np.random.default_rng(seed)
    n_users = interactions // PER_USER
    n_items = n_users * ITEMS_PER_USER
    users = np.repeat(np.arange(n_users), PER_USER)
    clusters = -(-n_items // CLUSTER)
    groups = CLUSTER // GROUP
    liked = _power_law(rng, clusters, n_users * LIKED) * groups
    liked = (liked + rng.integers(0, groups, len(liked))).reshape(n_users, LIKED)
    group = liked[users, rng.integers(0, LIKED, len(users))]
    cluster = np.where(
        rng.random(len(users)) < (IN_CLUSTERS + IN_GROUPS),
        group // groups,
        _power_law(rng, clusters, len(users)),
    )
    # Groups take turns among the items of a cluster, so each has popular ones.
    place = _power_law(rng, CLUSTER, len(users))
    in_group = _power_law(rng, GROUP, len(users)) * groups + group % groups
    own = (rng.random(len(users)) < IN_GROUPS / (IN_CLUSTERS + IN_GROUPS)) & (
        cluster == group // groups
    )
    items = (cluster * CLUSTER + np.where(own, in_group, place)) % n_items
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
