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

from edgerec.errors import OptionError
from edgerec.model.device_model import DeviceModel
from edgerec.model.history import history_weights, pad_histories
from edgerec.model.items import Items
from edgerec.training.examples import Batch, Lists
from edgerec.training.losses import (
    example_scores,
    rows_of,
    scale_of,
    scores_of,
    seen_among,
    user_vectors,
)
from edgerec.training.normalizer import NEVER
from edgerec.training.torch_model import TorchModel

__all__ = ["Teachers"]


class Teachers:
    """One or several teachers with the same catalogue, whose scores are averaged.

    Args:
        models: one or more models, of any family.
        items: the catalogue of the student.

    Raises:
        OptionError: a teacher has another catalogue, or reads vectors of users.
    """

    def __init__(self, models: Sequence[DeviceModel], items: Items) -> None:
        if not models:
            raise OptionError("teacher: expected one or more models, got none")
        for model in models:
            if model.items.ids != items.ids:
                raise OptionError(
                    f"teacher: its catalogue ({len(model.items):,} items) is not that of the model "
                    f"({len(items):,}); train both on the same dataset"
                )
            if model.needs_user_vector:
                raise OptionError("teacher: reads a user_vector, so it cannot score histories")
        self.models = tuple(models)
        self._asked = [_Linear(m) if m.is_linear else _Dense(m) for m in models]

    @classmethod
    def of(cls, given: DeviceModel | Sequence[DeviceModel], items: Items) -> Teachers:
        """Make teachers from one model or several."""
        return cls([given] if isinstance(given, DeviceModel) else given, items)

    @property
    def digest(self) -> int:
        """The CRC-32 of their numbers, which distinguishes them from other teachers."""
        digest = 0
        for model in self.models:
            arrays = [array for table in model.tables.values() for array in table.arrays.values()]
            for array in (*arrays, *model.constants.values()):
                digest = zlib.crc32(array.tobytes(), digest)
        return digest

    def scores(self, users: Lists, sample: Tensor) -> Tensor:
        """Scores float[B, |S|] of sampled items for whole histories; NEVER for seen items."""
        with torch.no_grad():
            mean = torch.stack([asked.scores(users, sample) for asked in self._asked]).mean(0)
            mean[seen_among(users, sample)] = NEVER
            return mean

    def example_scores(self, batch: Batch) -> Tensor:
        """Scores float[B, n] of all items; NEVER for items in the history."""
        with torch.no_grad():
            parts = [asked.example_scores(batch).clamp(min=NEVER) for asked in self._asked]
            return torch.stack(parts).mean(0)


class _Dense:
    """A teacher with any encoder, which encodes padded histories."""

    def __init__(self, model: DeviceModel) -> None:
        self.torch_model, self.scale = TorchModel(model), scale_of(model)

    def scores(self, users: Lists, sample: Tensor) -> Tensor:
        ends = users.counts.cumsum(0)[:-1].numpy(force=True)
        histories = np.split(users.items.numpy(force=True).astype(np.int32), ends)
        given = None if users.given is None else np.split(users.given.numpy(force=True), ends)
        history, weights = pad_histories(histories, self.torch_model.model, given)
        user = self.torch_model(torch.as_tensor(history.astype(np.int64)), torch.as_tensor(weights))
        return self.torch_model.logits(F.normalize(user, dim=1), sample) / self.scale

    def example_scores(self, batch: Batch) -> Tensor:
        # Each model weighs past items in its own way.
        model, real = self.torch_model.model, batch.weights > 0
        counts = real.sum(1, keepdim=True).clamp(min=1)
        age = counts - torch.arange(real.shape[1])
        weights = real * history_weights(
            age.clamp(min=1), counts, model.normalization, model.recency
        )
        weights = weights if batch.given is None else weights * batch.given
        return example_scores(
            self.torch_model, Batch(batch.history, weights, batch.target), self.scale
        )


class _Linear(_Dense):
    """A teacher that only adds up rows, which are computed once."""

    def __init__(self, model: DeviceModel) -> None:
        super().__init__(model)
        with torch.no_grad():
            self.rows = rows_of(self.torch_model, self.scale)

    def scores(self, users: Lists, sample: Tensor) -> Tensor:
        own = Lists(users.items, users.counts, self.torch_model.model.recency, given=users.given)
        return scores_of(self.rows.candidates, user_vectors(self.rows, own), sample)
