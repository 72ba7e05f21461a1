"""Measure the quality of written bundles: their lists against what test users went on to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgerec.building.quality import Quality, quality_of
from edgerec.data.dataset import Dataset
from edgerec.device.bench import measure
from edgerec.device.figures import Figures, Retention
from edgerec.errors import DataError

__all__ = ["histories_of", "measure_quality", "with_retention"]


def measure_quality(
    path: Path,
    before: Quality,
    dataset: Dataset,
    users: NDArray[Any],
    runtime: str | None = None,
    *,
    trust: bool = False,
) -> Figures:
    """Measure a bundle over the histories of test users: bench figures, and retention.

    The lists of a bundle that recommends fewer than 20 items are compared as far as they go.
    """
    figures = measure(path, histories_of(dataset, users), runtime=runtime, trust=trust)
    return with_retention(figures, before, dataset, users)


def histories_of(dataset: Dataset, users: NDArray[Any]) -> list[list[str]]:
    """Ids of what is known of some users at test time, oldest first."""
    ids = dataset.items.ids
    return [[ids[int(row)] for row in dataset.histories.of(int(user))] for user in users]


def with_retention(
    figures: Figures, before: Quality, dataset: Dataset, users: NDArray[Any]
) -> Figures:
    """Replace the lists of bench figures by what they keep of a model's quality.

    Args:
        figures: with one list for each user.
        before: the quality of the uncompressed model for the same users.
        dataset: with held-out interactions.
        users: rows of users.

    Raises:
        DataError: a list has an item that the dataset lacks.
    """
    k = figures.k
    if k < before.lists.shape[1]:
        before = quality_of(before.lists[:, :k], dataset, users, k)
    lists, rows = np.full((len(users), k), -1, np.int32), dataset.items.rows
    for place, found in enumerate(figures.lists or ()):
        if unknown := [item for item in found if item not in rows]:
            raise DataError(
                f"{figures.bundle}: recommends {unknown[0]!r}, which {dataset.name} does not have"
            )
        lists[place, : len(found)] = [rows[item] for item in found]
    quality = quality_of(lists, dataset, users, k)
    kept, shared = quality.kept(before)
    retention = Retention(quality.recall, quality.ndcg, kept, shared, quality.long_tail)
    return figures.replace(lists=None, retention=retention)
