"""What targets share when they lower a model."""

from __future__ import annotations

import numpy as np

from edgerec.codecs import F32
from edgerec.device_model import DeviceModel

__all__ = ["candidate_factor"]

#: Rows decoded at a time.
BLOCK = 65536


def candidate_factor(model: DeviceModel) -> F32 | None:
    """What each candidate's score is multiplied by: 1/|x| for a cosine head, else none."""
    if model.head.kind != "cosine":
        return None
    table = model.tables[model.head.table]
    # Block by block: a float copy of the whole table is more than a device has room for.
    norms = [
        np.linalg.norm(table.decode(slice(start, start + BLOCK)), axis=1)
        for start in range(0, table.shape[0], BLOCK)
    ]
    return np.asarray(1 / np.maximum(np.concatenate(norms), 1e-12), np.float32)
