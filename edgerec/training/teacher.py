r"""Teachers: how one model, or the mean of several, scores what a user has not seen.

Scores are of unit user vectors û and candidate rows q over the median length of all,

    t_uj = mean over teachers of û · q_j / median_i |q_i|

so that teachers of any family and width can be averaged, and one temperature suits all.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from edgerec.errors import OptionError
from edgerec.model.codecs import F32
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
        vectors: float32[U, c], the users' own rows, which a teacher reads as its ``user_vector`` or
            its ``context``; none if all teachers score histories alone.
        n_users: U; not checked if none.
        student: what learns from examples; a teacher may read the same inputs as it.

    Raises:
        OptionError: a teacher has another catalogue, or it reads rows that are not given or have
            another shape.
    """

    def __init__(
        self,
        models: Sequence[DeviceModel],
        items: Items,
        vectors: F32 | None = None,
        n_users: int | None = None,
        student: DeviceModel | None = None,
    ) -> None:
        rows = None if vectors is None else _checked(vectors, n_users)
        if not models:
            raise OptionError("teacher: expected one or more models, got none")
        for model in models:
            if model.items.ids != items.ids:
                raise OptionError(
                    f"teacher: its catalogue ({len(model.items):,} items) is not that of the model "
                    f"({len(items):,}); train both on the same dataset"
                )
            if student is None or not _reads_the_same(model, student):
                _check_inputs(model, rows)
        if rows is not None and not any(model.own_inputs for model in models):
            raise OptionError("teacher_vectors: no teacher reads rows of users; leave them out")
        self.vectors = None if rows is None else torch.as_tensor(rows)
        self.models = tuple(models)
        self._asked = [_Linear(m) if m.is_linear else _Dense(m) for m in models]

    @classmethod
    def of(
        cls,
        given: DeviceModel | Sequence[DeviceModel],
        items: Items,
        vectors: F32 | None = None,
        n_users: int | None = None,
        student: DeviceModel | None = None,
    ) -> Teachers:
        """Make teachers from one model or several."""
        models = [given] if isinstance(given, DeviceModel) else given
        return cls(models, items, vectors, n_users, student)

    @property
    def digest(self) -> int:
        """The CRC-32 of their numbers, which distinguishes them from other teachers."""
        digest = 0
        for model in self.models:
            arrays = [array for table in model.tables.values() for array in table.arrays.values()]
            for array in (*arrays, *model.constants.values()):
                digest = zlib.crc32(array.tobytes(), digest)
        if self.vectors is None:
            return digest
        return zlib.crc32(self.vectors.numpy(force=True).tobytes(), digest)

    def scores(self, users: Lists, sample: Tensor, numbers: Tensor | None = None) -> Tensor:
        """Scores float[B, |S|] of sampled items for whole histories; NEVER for seen items.

        ``numbers`` are the rows of the users, int64[B], for teachers that read their own.
        """
        own = None
        if self.vectors is not None and numbers is not None:
            own = F.embedding(numbers, self.vectors)
        with torch.no_grad():
            parts = [asked.scores(users, sample, own) for asked in self._asked]
            mean = torch.stack(parts).mean(0)
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

    def scores(self, users: Lists, sample: Tensor, own: Tensor | None) -> Tensor:
        ends = users.counts.cumsum(0)[:-1].numpy(force=True)
        histories = np.split(users.items.numpy(force=True).astype(np.int32), ends)
        given = None if users.given is None else np.split(users.given.numpy(force=True), ends)
        history, weights = pad_histories(histories, self.torch_model.model, given)
        user = self.torch_model(
            torch.as_tensor(history.astype(np.int64)),
            torch.as_tensor(weights),
            **dict.fromkeys(self.torch_model.model.own_inputs, own),
        )
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
        own = {name: batch.own[name] for name in model.own_inputs}
        batch = Batch(batch.history, weights, batch.target, own=own)
        return example_scores(self.torch_model, batch, self.scale)


class _Linear(_Dense):
    """A teacher that only adds up rows, which are computed once."""

    def __init__(self, model: DeviceModel) -> None:
        super().__init__(model)
        with torch.no_grad():
            self.rows = rows_of(self.torch_model, self.scale)

    def scores(self, users: Lists, sample: Tensor, own: Tensor | None) -> Tensor:
        lists = Lists(users.items, users.counts, self.torch_model.model.recency, given=users.given)
        return scores_of(self.rows.candidates, user_vectors(self.rows, lists), sample)


def _reads_the_same(teacher: DeviceModel, student: DeviceModel) -> bool:
    """Whether examples of a student have what a teacher reads besides histories."""
    inputs = student.inputs
    same = all(inputs.get(name) == teacher.inputs[name] for name in teacher.own_inputs)
    return same and teacher.context == student.context


def _checked(vectors: Any, n_users: int | None) -> F32:
    """The rows of users, float32[U, c].

    Raises:
        OptionError: they are something else.
    """
    try:
        found = np.array(vectors, np.float32)
    except (TypeError, ValueError):
        found = np.zeros(0, np.float32)
    if found.ndim != 2:
        raise OptionError("teacher_vectors: expected float32[users, c], one row per user")
    if n_users is not None and len(found) != n_users:
        raise OptionError(
            f"teacher_vectors: expected one row for each of {n_users:,} users, got {len(found):,}"
        )
    if not np.isfinite(found).all():
        raise OptionError("teacher_vectors: a number is NaN or infinite")
    return found


def _check_inputs(model: DeviceModel, vectors: F32 | None) -> None:
    """Check that a teacher has what it reads besides histories."""
    reads = model.own_inputs
    if len(reads) > 1:
        raise OptionError("teacher: reads both a user_vector and a context; expected one of them")
    if reads and vectors is None:
        raise OptionError(
            f"teacher: reads a {reads[0]}; pass the rows of all users as teacher_vectors "
            "(--teacher-vectors)"
        )
    if vectors is None:
        return
    for name in reads:
        if vectors.shape[1:] != (model.inputs[name],):
            raise OptionError(
                f"teacher_vectors: expected rows of {model.inputs[name]} numbers, got an array of "
                f"shape {list(vectors.shape)}"
            )
