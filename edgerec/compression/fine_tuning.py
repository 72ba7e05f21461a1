r"""Fine-tune a compressed model on the interactions that the original was trained on.

A compressor makes a torch model that sees its tables as the codec will encode them (codewords,
rounded numbers, zeros). ``fine_tune`` trains its parameters for the ranking, and to preserve the
ranking of the model before compression:

    L = L_rank + distill · L_soft                            (``training/losses.py``)

by Adam, with a learning rate that decays along a cosine.
"""

from __future__ import annotations

import abc
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from edgerec.compression.trainable import FineTuningCompressor
from edgerec.contracts.compressor import Context
from edgerec.data.contexts import lacking_inputs
from edgerec.data.dataset import Dataset
from edgerec.data.matching import check_one_vocabulary
from edgerec.errors import CompressError
from edgerec.model.device_model import DeviceModel
from edgerec.training.accelerator import on_accelerator, seeded
from edgerec.training.descent import Descent
from edgerec.training.examples import batches, lists, predicts_next
from edgerec.training.held_out import in_order, parts_in_order
from edgerec.training.losses import (
    example_scores,
    list_loss,
    needed_rows,
    scale_of,
    scores_of,
    seen_among,
    soft_loss,
    user_vectors,
)
from edgerec.training.normalizer import NEVER
from edgerec.training.teacher import Teachers
from edgerec.training.torch_model import TorchModel

__all__ = ["fine_tune", "fine_tune_result"]

#: Users per step of a linear model: the fewest, the most, because all of their scores are held at
#: a time, and the steps per epoch in between.
_FEWEST_USERS, _MOST_USERS, _STEPS = 32, 2000, 74

#: Users per step of any other model, and items that users of a linear model are scored against.
_EXAMPLES, _SAMPLE = 256, 16384

#: τ of the ranking loss.
_TEMPERATURE = 0.15

#: T of the ranking that a compressor preserves; low because only the top of a list is shown.
_TOP = 0.1


def fine_tune(
    torch_model: TorchModel,
    context: Context,
    *,
    who: str,
    epochs: int,
    learning_rate: float,
    distill: float = 0.0,
    temperature: float = _TEMPERATURE,
    sample: int = _SAMPLE,
    teacher: DeviceModel | Sequence[DeviceModel] | None = None,
    parameters: Iterable[Any] | None = None,
    after_step: Callable[[float], object] = lambda done: None,
    key: str = "",
) -> float:
    """Train a torch model in place. The same seed gives the same result.

    If the context has a folder for checkpoints, the state is saved there after each epoch.
    Interrupted training resumes from it, and training that has finished is not repeated when a
    later step is interrupted.

    Args:
        torch_model: the model as it will be encoded. Its ``table`` may quantize; its parameters
            are trained.
        context: the interactions, the seed, and the progress reported after each epoch.
        who: the name of the compressor, for messages.
        epochs: the number of passes over the users.
        learning_rate: the initial step size of Adam, for groups without an ``lr`` of their own.
        distill: the weight of the teacher's ranking; 0 uses the ranking loss only.
        temperature: T of that ranking. A lower one emphasizes the top of the list.
        sample: items per step that a linear model's users are scored against; fewer is faster.
        teacher: a model of the same catalogue, or several whose scores are averaged; by default,
            ``torch_model.model``.
        parameters: parameters, or groups of them as in ``torch.optim``; by default, all of them.
        after_step: called with the share of training done, from 0 to 1.
        key: distinguishes states that the parameters and the model's codecs do not.

    Returns:
        The mean loss of the last epoch.

    Raises:
        CompressError: there is no dataset, no user has two items, or the model reads what
            histories do not have.
        ModelError: past items are others than candidates.
        OptionError: a teacher has another catalogue.
    """
    dataset = context.require_dataset(who)
    check_one_vocabulary(torch_model.model)
    model = torch_model.model
    if reads := lacking_inputs(model.inputs, model.context, dataset):
        raise CompressError(
            f"{who}: the model reads {' and '.join(reads)}, which {dataset.name} does not have, so "
            "it cannot be fine-tuned; compress it without training, where there is that option"
        )
    with on_accelerator(torch_model):
        teachers = Teachers.of(
            torch_model.model if teacher is None else teacher,
            torch_model.model.items,
            student=torch_model.model,
        )
        losses = (_ListLosses if torch_model.model.is_linear else _ExampleLosses)(
            torch_model, teachers, dataset, distill, temperature, sample
        )
        optimizer = torch.optim.Adam(
            torch_model.parameters() if parameters is None else parameters, learning_rate
        )
        rates = [group["lr"] for group in optimizer.param_groups]
        codecs = {name: repr(table.codec) for name, table in torch_model.model.tables.items()}
        setting = (who, epochs, rates, distill, temperature, sample, context.seed, codecs, key)
        path = _state_path(context, setting, torch_model, teachers)
        descent = Descent(torch_model, optimizer, epochs, checkpoint=path)
        if descent.done:
            after_step(descent.done / epochs)
        while descent.done < epochs:
            # One seed per epoch, so that the order of users does not depend on earlier epochs.
            if not descent.epoch(losses(context.seed * 100_003 + descent.done), after_step):
                raise CompressError(
                    f"{who}: cannot train, because no user has two items that the model knows"
                )
            descent.save()
            context.progress(descent.done, epochs, f"{who}, loss {descent.loss:.4f}")
        if path is not None:
            context.ended.append(path)
        return descent.loss


def _state_path(
    context: Context, setting: tuple[Any, ...], torch_model: TorchModel, teachers: Teachers
) -> Path | None:
    """The state file of this training, whose name depends on everything that it depends on."""
    if context.checkpoint is None:
        return None
    train = context.require_dataset(setting[0]).train
    digest = zlib.crc32(repr(setting).encode(), teachers.digest)
    parts = [parameter.numpy(force=True) for parameter in torch_model.parameters()]
    weights = () if train.weights is None else (train.weights,)
    for part in (*parts, train.indptr, train.items, *weights):
        digest = zlib.crc32(part.tobytes(), digest)
    context.checkpoint.mkdir(parents=True, exist_ok=True)
    return context.checkpoint / f"{setting[0]}-{digest:08x}"


def fine_tune_result(
    compressor: FineTuningCompressor,
    torch_model: TorchModel,
    context: Context,
    teacher: DeviceModel,
) -> DeviceModel:
    """Fine-tune a compressor's result, with its options, to preserve the teacher's ranking."""
    fine_tune(
        torch_model,
        context,
        who=compressor.name,
        epochs=compressor.epochs,
        learning_rate=compressor.learning_rate,
        distill=compressor.distill,
        temperature=_TOP,
        teacher=teacher,
    )
    return torch_model.to_device_model()


class _Losses(abc.ABC):
    """A call goes through the users once, yielding each step's loss and the number of steps."""

    def __init__(
        self,
        torch_model: TorchModel,
        teachers: Teachers,
        dataset: Dataset,
        distill: float,
        temperature: float,
        sample: int,
    ) -> None:
        self.torch_model, self.teachers, self.dataset, self.sample = (
            torch_model,
            teachers,
            dataset,
            sample,
        )
        self.distill, self.temperature = distill, temperature
        self.scale = scale_of(torch_model.model)

    @abc.abstractmethod
    def __call__(self, seed: int) -> Iterator[tuple[Tensor, int]]:
        """The losses of one epoch."""


class _ListLosses(_Losses):
    """Losses of a model that adds up rows, leaving out every item of each history in turn.

    If the model was trained to predict the next item, those after it are left out as well.
    """

    def __call__(self, seed: int) -> Iterator[tuple[Tensor, int]]:
        generator = seeded(seed)
        n, ordered = len(self.torch_model.model.items), predicts_next(self.torch_model.model)
        size = min(_MOST_USERS, max(_FEWEST_USERS, self.dataset.train.n_users // _STEPS))
        if ordered:
            past = torch.as_tensor(np.diff(self.dataset.train.indptr))
            longest = self.torch_model.model.history_length
            size = min(size, len(past) // parts_in_order(past, longest))
        parts = lists(self.torch_model.model, self.dataset, size=size, seed=seed)
        for users in parts:
            sample = torch.randperm(n, generator=generator)[: self.sample]
            rows, local, among = needed_rows(self.torch_model, users, sample, self.scale)
            if ordered:
                held, _ = in_order(local, self.torch_model.model.history_length)
                before, user = (user_vectors(rows, one) for one in (held.kept, local))
                loss = held.loss(before, rows.candidates, among, n, _TEMPERATURE)
            else:
                loss, user = list_loss(rows, local, among, _TEMPERATURE)
            if self.distill:
                target = self.teachers.scores(users, sample)
                scores = scores_of(rows.candidates, user, among)
                scores[seen_among(local, among)] = NEVER
                loss = loss + self.distill * soft_loss(target, scores, self.temperature)
            yield loss, len(parts)


class _ExampleLosses(_Losses):
    """Losses of any other model, leaving out one item of each history, over the whole catalogue.

    If the model was trained to predict the next item, those after it are left out as well.
    """

    def __call__(self, seed: int) -> Iterator[tuple[Tensor, int]]:
        steps = -(-int((np.diff(self.dataset.train.indptr) > 1).sum()) // _EXAMPLES)
        model = self.torch_model.model
        ordered = predicts_next(model)
        for batch in batches(model, self.dataset, size=_EXAMPLES, seed=seed, in_order=ordered):
            scores = example_scores(self.torch_model, batch, self.scale)
            loss = F.cross_entropy(scores / _TEMPERATURE, batch.target)
            if self.distill:
                target = self.teachers.example_scores(batch)
                soft = soft_loss(target, scores.clamp(min=NEVER), self.temperature)
                loss = loss + self.distill * soft
            yield loss, steps
