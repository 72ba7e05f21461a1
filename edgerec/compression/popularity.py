"""How popular the items of a model are with training users."""

from __future__ import annotations

import numpy as np

from edgerec.model.codecs import F32
from edgerec.model.device_model import DeviceModel

__all__ = ["popularity"]


def popularity(model: DeviceModel, dataset: object) -> F32:
    """float32[n], one plus the number of training users of each item, divided by the mean."""
    counts = np.ones(len(model.items), np.float32)
    train, items = getattr(dataset, "train", None), getattr(dataset, "items", None)
    if train is not None and items is not None:
        rows = model.items.rows
        known = np.array([rows.get(item, -1) for item in items.ids], np.int64)[train.items]
        counts += np.bincount(known[known >= 0], minlength=len(counts))
    return counts / counts.mean()
