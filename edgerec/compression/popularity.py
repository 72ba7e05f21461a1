"""How popular the items of a model are with training users."""

from __future__ import annotations

import numpy as np

from edgerec.data.dataset import Dataset
from edgerec.data.matching import rows_in
from edgerec.model.codecs import F32
from edgerec.model.device_model import DeviceModel

__all__ = ["popularity"]


def popularity(model: DeviceModel, dataset: Dataset | None) -> F32:
    """float32[n], one plus the number of training users of each item, divided by the mean."""
    counts = np.ones(len(model.items), np.float32)
    if dataset is not None:
        known = rows_in(model.items, dataset)[dataset.train.items]
        counts += np.bincount(known[known >= 0], minlength=len(counts))
    return counts / counts.mean()
