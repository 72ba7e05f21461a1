r"""Teachers: how one model, or the mean of several, scores what a user has not seen.

Scores are of unit user vectors û and candidate rows q over the median length of all,

    t_uj = mean over teachers of û · q_j / median_i |q_i|

so that teachers of any family and width can be averaged, and one temperature suits all.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from edgerec.device_model import DeviceModel
from edgerec.errors import OptionError
from edgerec.items import Items
from edgerec.quality import pad_batch
from edgerec.ranking import (
    NEVER,
    Batch,
    Lists,
    example_scores,
    raw_scores,
    rows_of,
    scale_of,
    seen_among,
)
from edgerec.twin import Twin

__all__ = ["Teachers"]


class Teachers:
    """Models of one catalogue, asked together.

    Args:
        models: one or more, of any family.
        items: the catalogue of the model that learns.

    Raises:
        OptionError: a teacher has another catalogue, or wants vectors of users.
    """

    def __init__(self, models: Sequence[DeviceModel], items: Items) -> None:
        if not models:
            raise OptionError("teacher: expected one or more, got none")
        for model in models:
            if model.items.ids != items.ids:
                raise OptionError(
                    f"teacher: has another catalogue ({len(model.items):,} items) than the "
                    f"model ({len(items):,}); train both on one dataset"
                )
            if model.needs_user_vector:
                raise OptionError("teacher: reads a user_vector, so it cannot be asked")
        self.models = tuple(models)
        self._asked = [_Linear(m) if m.is_linear else _Dense(m) for m in models]

    @classmethod
    def of(cls, given: DeviceModel | Sequence[DeviceModel], items: Items) -> Teachers:
        """Make teachers of one model or several."""
        return cls([given] if isinstance(given, DeviceModel) else given, items)

    @property
    def digest(self) -> int:
        """What tells teachers from others: CRC-32 of their numbers."""
        digest = 0
        for model in self.models:
            arrays = [array for table in model.tables.values() for array in table.arrays.values()]
            for array in (*arrays, *model.constants.values()):
                digest = zlib.crc32(array.tobytes(), digest)
        return digest

    def scores(self, users: Lists, sample: Tensor) -> Tensor:
        """Scores float[B, |S|] of sampled items for whole histories; seen ones NEVER."""
        with torch.no_grad():
            total = sum(asked.scores(users, sample) for asked in self._asked)
            seen = seen_among(users, sample, len(self.models[0].items))
            return (total / len(self._asked)).masked_fill(seen, NEVER)  # type: ignore[union-attr]  # one model at least

    def example_scores(self, batch: Batch) -> Tensor:
        """Scores float[B, n] of all items; those in the history NEVER."""
        with torch.no_grad():
            parts = [asked.example_scores(batch).clamp(min=NEVER) for asked in self._asked]
            return torch.stack(parts).mean(0)


class _Dense:
    """A teacher of any encoder: histories are padded and encoded one by one."""

    def __init__(self, model: DeviceModel) -> None:
        self.twin, self.scale = Twin(model), scale_of(model)

    def scores(self, users: Lists, sample: Tensor) -> Tensor:
        ends = users.counts.cumsum(0)[:-1].numpy()
        histories = np.split(users.items.numpy().astype(np.int32), ends)
        history, weights = pad_batch(histories, self.twin.model)
        user = self.twin(torch.from_numpy(history.astype(np.int64)), torch.from_numpy(weights))
        return self.twin.logits(F.normalize(user, dim=1), sample) / self.scale

    def example_scores(self, batch: Batch) -> Tensor:
        # Each model weighs a history in its own way.
        model, real = self.twin.model, batch.weights > 0
        counts = real.sum(1, keepdim=True).clamp(min=1)
        age = counts - torch.arange(real.shape[1])
        weights = real * counts**-model.normalization * age.clamp(min=1) ** -model.recency
        return example_scores(self.twin, Batch(batch.history, weights, batch.target), self.scale)


class _Linear(_Dense):
    """A teacher that adds up rows: its rows are made once."""

    def __init__(self, model: DeviceModel) -> None:
        super().__init__(model)
        with torch.no_grad():
            self.rows = rows_of(self.twin, self.scale)

    def scores(self, users: Lists, sample: Tensor) -> Tensor:
        own = Lists(users.items, users.counts, self.twin.model.recency)
        return raw_scores(self.rows, own, sample)[1]
