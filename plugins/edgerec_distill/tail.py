"""The long tail before and after, because distillation is known to favor popular items."""

from __future__ import annotations

import numpy as np

from edgerec.learn import rank
from edgerec.plugin import Context, DeviceModel, long_tail_share

__all__ = ["HEAD_SHARE", "long_tail"]

#: The share of the catalogue that counts as popular.
HEAD_SHARE = 0.2


def long_tail(model: DeviceModel, context: Context, users: int = 1000) -> float:
    """The share of a model's top 20 outside the popular items, over training histories."""
    dataset = context.require_dataset("distill")
    chosen = np.flatnonzero(np.diff(dataset.train.indptr))
    if len(chosen) > users:
        chosen = np.random.default_rng(context.seed).choice(chosen, users, replace=False)
    popularity = dataset.train.counts(len(dataset.items))
    return long_tail_share(rank(model, dataset, chosen), popularity, head=HEAD_SHARE)
