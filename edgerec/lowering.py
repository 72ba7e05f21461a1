"""What targets share when they lower a model."""

from __future__ import annotations

import numpy as np

from edgerec.codecs import F32
from edgerec.device_model import DeviceModel

__all__ = ["candidate_factor"]


def candidate_factor(model: DeviceModel) -> F32 | None:
    """What each candidate's score is multiplied by: 1/|x| for a cosine head, else none."""
    if model.head.kind != "cosine":
        return None
    norms = np.linalg.norm(model.tables[model.head.table].decode(), axis=1)
    return np.asarray(1 / np.maximum(norms, 1e-12), np.float32)
