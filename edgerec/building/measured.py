"""Measure the quality of written bundles: their lists against what test users went on to do."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgerec.contracts.opening import load_model, open_bundle
from edgerec.data.dataset import Dataset
from edgerec.data.quality import Quality, evaluate, evaluation_users, quality_of
from edgerec.device.bench import History, measure
from edgerec.device.figures import Figures, Retention
from edgerec.errors import DataError, OptionError
from edgerec.files.container import Container

__all__ = ["histories_of", "measure_quality", "quality_of_file", "with_retention"]


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


def quality_of_file(
    path: str | Path,
    dataset: Dataset,
    *,
    k: int = 20,
    users: int | None = None,
    runtime: str | None = None,
    trust: bool = False,
) -> Quality:
    """Evaluate a saved model by the oracle, or a bundle by running it in its runtime.

    Args:
        path: the file.
        dataset: with test interactions.
        k: the length of the lists.
        users: the number of test users; none means all.
        runtime: the runtime of a bundle; the target's best one by default.
        trust: whether to run a payload that needs trust (see ``Scorer``).

    Raises:
        DataError: nothing is held out to test on, or the file has items that the dataset lacks.
        OptionError: k is not positive, or more than a bundle recommends.
    """
    if k < 1:
        raise OptionError(f"k: expected at least 1, got {k}")
    chosen = evaluation_users(dataset, users)
    if Container(path).kind == "model":
        if runtime is not None:
            raise OptionError(f"runtime: {path} is a model, which has no runtime")
        return evaluate(load_model(path), dataset, users=chosen, k=k)
    most = open_bundle(path, verify=False).signature.top_k
    if k > most:
        raise OptionError(f"k: {path} recommends at most {most} items, got {k}")
    figures = measure(path, histories_of(dataset, chosen), k=k, runtime=runtime, trust=trust)
    return quality_of(_rows(figures, dataset, chosen), dataset, chosen, k)


def histories_of(dataset: Dataset, users: NDArray[Any]) -> list[History]:
    """Ids of what is known of some users at test time, oldest first, with their weights, if any."""
    ids, known = dataset.items.ids, dataset.histories
    found: list[History] = []
    for user in users.tolist():
        past, weights = [ids[row] for row in known.of(user).tolist()], known.weights_of(user)
        found.append(past if weights is None else list(zip(past, weights.tolist(), strict=True)))
    return found


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
    quality = quality_of(_rows(figures, dataset, users), dataset, users, k)
    kept, shared = quality.kept(before)
    half = quality.kept_interval(before).half
    retention = Retention(
        *(quality.recall, quality.ndcg, kept, shared, quality.long_tail),
        quality_half=half if math.isfinite(half) else None,
    )
    return figures.replace(lists=None, retention=retention)


def _rows(figures: Figures, dataset: Dataset, users: NDArray[Any]) -> NDArray[np.int32]:
    """The lists of bench figures as rows of a dataset, int32[users, k], -1 for none.

    Raises:
        DataError: a list has an item that the dataset lacks.
    """
    lists, rows = np.full((len(users), figures.k), -1, np.int32), dataset.items.rows
    for place, found in enumerate(figures.lists or ()):
        if unknown := [item for item in found if item not in rows]:
            raise DataError(
                f"{figures.bundle}: recommends {unknown[0]!r}, which {dataset.name} does not have"
            )
        lists[place, : len(found)] = [rows[item] for item in found]
    return lists
