"""Quality of a model over test users: histories in, held-out items looked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgerec.codecs import F32
from edgerec.compressor import no_progress
from edgerec.data import Dataset, Interactions
from edgerec.device_model import DeviceModel
from edgerec.errors import DataError
from edgerec.metrics import long_tail_share, ndcg, overlap, recall
from edgerec.reference import Reference, pad_history

__all__ = ["Quality", "evaluate", "evaluation_users", "quality_of", "rank"]

#: Scores that are held at a time: of 512 users, where the catalogue is not too large for that.
SCORES = 2**22


@dataclass(frozen=True)
class Quality:
    """Means over test users, over all items, seen ones left out.

    Args:
        recall: Recall@20.
        ndcg: NDCG@20.
        long_tail: share of the top 20 outside the most popular fifth of the catalogue.
        lists: int32[B, 20], the lists themselves.
    """

    recall: float
    ndcg: float
    long_tail: float
    lists: NDArray[np.int32]

    def kept(self, before: Quality) -> tuple[float, float]:
        """(NDCG@20 as a share of another model's, top-20 overlap with it)."""
        return self.ndcg / max(before.ndcg, 1e-12), overlap(self.lists, before.lists)


def evaluation_users(
    dataset: Dataset, limit: int | None = None, seed: int = 0
) -> NDArray[np.int64]:
    """Users with a history and something held out; a random ``limit`` of them if given.

    Raises:
        DataError: the dataset has nothing held out, or nobody with a history has.
    """
    held = held_out(dataset)
    users = np.flatnonzero((np.diff(dataset.train.indptr) > 0) & (np.diff(held.indptr) > 0))
    if not len(users):
        raise DataError(f"{dataset.name}: no user has both a history and something held out")
    if limit is not None and limit < len(users):
        users = np.sort(np.random.default_rng(seed).choice(users, limit, replace=False))
    return users


def evaluate(
    model: DeviceModel,
    dataset: Dataset,
    *,
    users: NDArray[Any] | None = None,
    user_vectors: F32 | None = None,
    k: int = 20,
    progress: Callable[[int, int, str], None] = no_progress,
) -> Quality:
    """Rank all items for test users with the numpy oracle.

    The model may have fewer items than the dataset (a pruned vocabulary): ids are matched,
    and held-out items that it lost count as missed. A transductive model needs the vectors
    of all of the dataset's users, float32[U, d].

    Raises:
        DataError: the dataset has nothing held out.
    """
    users = evaluation_users(dataset) if users is None else users
    lists = rank(model, dataset, users, k, progress, user_vectors)
    return quality_of(lists, dataset, users, k)


def quality_of(
    lists: NDArray[np.int32], dataset: Dataset, users: NDArray[Any], k: int = 20
) -> Quality:
    """Quality of lists that somebody made, int32[len(users), k] rows of the dataset."""
    held = [held_out(dataset).of(int(u)) for u in users]
    popularity = dataset.train.counts(len(dataset.items))
    return Quality(
        recall(lists, held, k), ndcg(lists, held, k), long_tail_share(lists, popularity, k), lists
    )


def held_out(dataset: Dataset) -> Interactions:
    """The held-out interactions.

    Raises:
        DataError: there are none.
    """
    if dataset.test is None:
        raise DataError(f"{dataset.name}: nothing is held out; split it, or give a test file")
    return dataset.test


def rank(
    model: DeviceModel,
    dataset: Dataset,
    users: NDArray[Any],
    k: int = 20,
    progress: Callable[[int, int, str], None] = no_progress,
    user_vectors: F32 | None = None,
) -> NDArray[np.int32]:
    """Top k unseen rows *of the dataset* for each user, int32[len(users), k]; -1 for none."""
    oracle = Reference(model)
    to_model, to_dataset = match_rows(model, dataset)
    lists = np.full((len(users), k), -1, np.int32)
    step = max(1, min(512, SCORES // len(model.items)))
    for start in range(0, len(users), step):
        chunk = users[start : start + step]
        seen = [to_model[dataset.train.of(int(u))] for u in chunk]
        seen = [rows[rows >= 0] for rows in seen]
        history, weights = pad_batch(seen, model)
        own = None if user_vectors is None else user_vectors[chunk]
        logits = oracle.logits(oracle.encode(history, weights, own))
        for row, rows in enumerate(seen):
            logits[row, rows] = -np.inf
        top = _top(logits, min(k, logits.shape[1]))
        found = np.where(np.isfinite(np.take_along_axis(logits, top, 1)), to_dataset[top], -1)
        lists[start : start + len(chunk), : top.shape[1]] = found
        progress(min(start + step, len(users)), len(users), "ranking")
    return lists


def match_rows(model: DeviceModel, dataset: Dataset) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Rows of the dataset's items in the model (-1: not there), and the reverse.

    Raises:
        DataError: the model has items that the dataset lacks.
    """
    if model.items is dataset.items:
        same = np.arange(len(dataset.items), dtype=np.int32)
        return same, same
    rows = model.items.rows
    to_model = np.array([rows.get(i, -1) for i in dataset.items.ids], np.int32)
    to_dataset = np.full(len(model.items), -1, np.int32)
    kept = np.flatnonzero(to_model >= 0)
    to_dataset[to_model[kept]] = kept
    if len(kept) < len(model.items):
        lacking = np.flatnonzero(to_dataset < 0)
        raise DataError(
            f"{dataset.name}: lacks {len(lacking):,} of the model's {len(model.items):,} items, "
            f"{model.items.ids[int(lacking[0])]!r} for one; give the data that it was trained on"
        )
    return to_model, to_dataset


def pad_batch(
    histories: list[NDArray[np.int32]], model: DeviceModel
) -> tuple[NDArray[np.int32], F32]:
    """Pad histories to int32[B, H'] and float32[B, H'], H' the longest among them, ≤ H."""
    longest = max(1, min(model.history_length, max((len(h) for h in histories), default=1)))
    norm, recency = model.normalization, model.recency
    padded = [pad_history(rows, longest, norm, recency=recency) for rows in histories]
    return np.stack([h for h, _ in padded]), np.stack([w for _, w in padded])


def _top(logits: F32, k: int) -> NDArray[np.int64]:
    part = np.argpartition(-logits, k - 1, axis=1)[:, :k]
    order = np.argsort(-np.take_along_axis(logits, part, 1), axis=1, kind="stable")
    return np.take_along_axis(part, order, 1)
