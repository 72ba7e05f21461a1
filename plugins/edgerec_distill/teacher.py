"""The teacher: one model, or several whose standardised scores are averaged."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgerec.plugin import F32, CompressError, DeviceModel, EdgerecError, Reference

__all__ = ["Teacher"]


class Teacher:
    """Scores all items for histories, float32[B, n], each user's at mean 0 and deviation 1.

    Raises:
        CompressError: a teacher has another catalogue than the student, or wants vectors
            of users.
    """

    def __init__(self, models: Sequence[DeviceModel], student: DeviceModel) -> None:
        for model in models:
            if model.items.ids != student.items.ids:
                raise CompressError(
                    f"distill.teacher: has another catalogue ({len(model.items):,} items) than "
                    f"the model ({len(student.items):,}); train both on one dataset"
                )
            if model.needs_user_vector:
                raise CompressError("distill: a teacher that reads a user_vector cannot be asked")
        self.oracles = [Reference(model) for model in models]

    @classmethod
    def load(cls, paths: Sequence[str], student: DeviceModel) -> Teacher:
        """Read teachers that ``save_model`` wrote."""
        from edgerec.learn import load_model

        models = []
        for path in paths:
            try:
                models.append(load_model(path))
            except (OSError, EdgerecError) as error:
                raise CompressError(f"distill.teacher: {error}") from error
        return cls(models, student)

    def scores(self, history: NDArray[np.int32], weights: F32) -> F32:
        """Scores of histories int32[B, H], whose weights float32[B, H] tell padding only."""
        real = weights > 0
        sizes = np.maximum(real.sum(axis=1, keepdims=True), 1)
        total = np.zeros((len(history), len(self.oracles[0].model.items)), np.float32)
        for oracle in self.oracles:
            # Each family weighs a history of n in its own way: n ** -normalization.
            own = (real * sizes**-oracle.model.normalization).astype(np.float32)
            z = oracle.logits(oracle.encode(history, own))
            z = z - z.mean(axis=1, keepdims=True)
            total += z / np.maximum(z.std(axis=1, keepdims=True), 1e-12)
        return total / len(self.oracles)
