"""Popularity before and after: distillation is known to favour what is popular already."""

from __future__ import annotations

import numpy as np

from edgerec.learn import batches
from edgerec.plugin import Context, DeviceModel, Reference, long_tail_share

__all__ = ["HEAD_SHARE", "long_tail"]

#: The share of the catalogue that counts as popular.
HEAD_SHARE = 0.2


def long_tail(models: list[DeviceModel], context: Context, users: int = 1000) -> list[float]:
    """Share of each model's top 20 that is outside the popular part, over training histories."""
    dataset = context.require_dataset("distill")
    rows = models[0].items.rows
    known = np.array([rows.get(item, -1) for item in dataset.items.ids])[dataset.train.items]
    popularity = np.bincount(known[known >= 0], minlength=len(rows))
    batch = next(batches(models[0], dataset, size=users, seed=context.seed))
    history, weights = batch.history.numpy().astype(np.int32), batch.weights.numpy()
    shares = []
    for model in models:
        oracle = Reference(model)
        scores = oracle.logits(oracle.encode(history, weights))
        past, places = np.nonzero(weights > 0)
        scores[past, history[past, places]] = -np.inf
        top = np.argpartition(-scores, min(20, len(rows)) - 1, axis=1)
        shares.append(long_tail_share(top, popularity, head=HEAD_SHARE))
    return shares
