"""Ranking of all items for users, with the oracle: exact, in blocks, on all cores."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgerec.data.contexts import inputs_of
from edgerec.data.dataset import Dataset
from edgerec.data.matching import known_history, match_past, match_rows, rows_in
from edgerec.model.codecs import F32
from edgerec.model.device_model import DeviceModel
from edgerec.model.history import pad_histories
from edgerec.model.oracle import Oracle, reach_of_top

__all__ = ["rank", "rank_rows", "top_k_of_each"]

#: The number of scores that a thread holds at a time; for a small catalogue, those of 512 users.
_SCORES = 2**22


def rank(
    model: DeviceModel,
    dataset: Dataset,
    users: NDArray[Any],
    k: int = 20,
    user_vectors: F32 | None = None,
) -> NDArray[np.int32]:
    """Each user's top k unseen rows *of the dataset*, int32[len(users), k], -1 for none."""
    _, to_dataset = match_rows(model, dataset)
    rows, _ = rank_rows(model, dataset, users, k, user_vectors)
    return np.where(rows >= 0, to_dataset[rows], np.int32(-1))


def rank_rows(
    model: DeviceModel,
    dataset: Dataset,
    users: NDArray[Any],
    k: int = 20,
    user_vectors: F32 | None = None,
) -> tuple[NDArray[np.int32], F32]:
    """Each user's top k unseen rows *of the model*, and their scores.

    Returns:
        int32[len(users), k], -1 for none, and float32[len(users), k].
    """
    oracle = Oracle(model)
    to_model = rows_in(model.items, dataset)
    to_past = to_model if model.past is None else match_past(model, dataset)
    lists = np.full((len(users), k), -1, np.int32)
    scores = np.full((len(users), k), -np.inf, np.float32)
    inputs = inputs_of(model, dataset, users, user_vectors)
    step = max(1, min(512, _SCORES // len(model.items)))

    def fill(start: int) -> None:
        at = slice(start, start + step)
        known = [known_history(to_past, dataset.histories, int(user)) for user in users[at]]
        history, weights = pad_histories(
            [rows for rows, _ in known], model, [given for _, given in known]
        )
        own = {name: rows[at] for name, rows in inputs.items()}
        logits = oracle.logits(oracle.encode(history, weights, **own))
        if model.drop_seen:
            if model.past is not None:
                known = [known_history(to_model, dataset.histories, int(u)) for u in users[at]]
            owner = np.repeat(np.arange(len(known)), [len(rows) for rows, _ in known])
            logits[owner, np.concatenate([rows for rows, _ in known])] = -np.inf
        top, best = top_k_of_each(logits, k)
        found = slice(top.shape[1])
        lists[at, found] = np.where(np.isfinite(best), top, -1)
        scores[at, found] = oracle.finish(best)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for _ in pool.map(fill, range(0, len(users), step)):
            pass
    return lists, scores


def top_k_of_each(scores: F32, k: int) -> tuple[NDArray[np.int32], F32]:
    """The k highest scores of each user, highest first; of equal ones, the lower row first.

    Args:
        scores: float32[B, n].
        k: how many; all if there are fewer.

    Returns:
        int32[B, min(k, n)] and float32[B, min(k, n)].
    """
    batch, n = scores.shape
    k = min(k, n)
    highest, bound = reach_of_top(scores, k)
    groups = highest.shape[1]
    whole = n // groups * groups
    owner, group = np.nonzero(highest >= bound[:, None])
    rows = group[:, None] + np.arange(0, whole, groups)
    # Rows after the last whole round of groups are looked at for every user.
    owner = np.concatenate(
        [np.repeat(owner, rows.shape[1]), np.repeat(np.arange(batch), n - whole)]
    )
    rows = np.concatenate([rows.ravel(), np.tile(np.arange(whole, n), batch)])
    found = scores[owner, rows]
    kept = found >= bound[owner]
    owner, rows, found = owner[kept], rows[kept], found[kept]
    order = np.lexsort((rows, -found, owner))
    first = np.searchsorted(owner[order], np.arange(batch))
    chosen = order[first[:, None] + np.arange(k)]
    return rows[chosen].astype(np.int32), found[chosen]
