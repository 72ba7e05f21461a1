r"""Fine-tune a model on the interactions that it was trained on, as it will be written.

A compressor makes a twin that sees its tables as the codec will write them (codewords, rounded
numbers, zeros), and ``fine_tune`` trains what the twin has for the ranking, and for the order of
the model before compression:

    L = L_rank + distill · L_soft                            (``edgerec.ranking``)

by Adam, with a step size that falls to nothing along a cosine.
"""

from __future__ import annotations

import abc
import math
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from edgerec.checkpoint import load_state, save_state
from edgerec.compressor import Context
from edgerec.data import Dataset
from edgerec.device_model import DeviceModel
from edgerec.errors import CompressError
from edgerec.ranking import (
    NEVER,
    batches,
    example_scores,
    list_loss,
    lists,
    rows_of,
    scale_of,
    scores_of,
    soft_loss,
)
from edgerec.teacher import Teachers
from edgerec.tuned import TunedCompressor
from edgerec.twin import Twin

__all__ = ["fine_tune", "tune"]

#: Users a step of a linear model, at most and at least, and steps an epoch in between.
MOST_USERS, FEWEST_USERS, STEPS = 400, 32, 74

#: Users a step of any other model, and items that a linear one's are scored against.
EXAMPLES, SAMPLE = 256, 16384

#: τ of the ranking loss.
TEMPERATURE = 0.15

#: T of the order that a compressor keeps: low, for the top of the list is what is shown.
TOP = 0.1


def fine_tune(
    twin: Twin,
    context: Context,
    *,
    who: str,
    epochs: int,
    learning_rate: float,
    distill: float = 0.0,
    temperature: float = TEMPERATURE,
    sample: int = SAMPLE,
    teacher: DeviceModel | Sequence[DeviceModel] | None = None,
    parameters: Iterable[Any] | None = None,
    after_step: Callable[[float], None] | None = None,
    key: str = "",
) -> float:
    """Train a twin in place; the same seed gives the same result.

    Where the context has a folder for checkpoints, the state is kept there after each epoch;
    training that was interrupted goes on from it, and what had ended has not to be trained again
    when a later step is interrupted.

    Args:
        twin: the model as it will be written; its ``table`` may quantize, its parameters are
            what is trained.
        context: the interactions, the seed, and the progress that is told after each epoch.
        who: the compressor's name, for messages.
        epochs: passes over the users.
        learning_rate: Adam's step at the start, for groups without an ``lr`` of their own.
        distill: weight of the teacher's order; 0 leaves the ranking loss alone.
        temperature: T of that order. A lower one is about the top of the list alone.
        sample: items a step that a linear model's users are scored against; fewer is faster.
        teacher: a model of the same catalogue, or several whose scores are averaged;
            ``twin.model`` by default.
        parameters: parameters, or groups of them as ``torch.optim`` takes them; all of the
            twin's by default.
        after_step: called with the share of training that is done, from 0 to 1.
        key: tells states apart where the twin's parameters and its model's codecs do not.

    Returns:
        The mean loss of the last epoch.

    Raises:
        CompressError: there is no dataset, or no user has two items.
        OptionError: a teacher is of another catalogue.
    """
    dataset = context.require_dataset(who)
    teachers = Teachers.of(twin.model if teacher is None else teacher, twin.model.items)
    losses = (_ListLosses if twin.model.is_linear else _ExampleLosses)(
        twin, teachers, dataset, distill, temperature, sample
    )
    optimizer = torch.optim.Adam(
        twin.parameters() if parameters is None else parameters, learning_rate
    )
    rates = [group["lr"] for group in optimizer.param_groups]
    codecs = {name: repr(table.codec) for name, table in twin.model.tables.items()}
    setting = (who, epochs, rates, distill, temperature, sample, context.seed, codecs, key)
    path = _state_path(context, setting, twin, teachers)
    start, mean = (0, 0.0) if path is None else load_state(path, twin, optimizer, {})
    if start and after_step is not None:
        after_step(start / epochs)
    for epoch in range(start, epochs):
        # A seed an epoch, which gives the same order of users whatever came before.
        seed = context.seed * 100_003 + epoch
        found: list[float] = []
        for loss, steps in losses(seed):
            done = min(1.0, (epoch + len(found) / steps) / epochs)
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * 0.5 * (1 + math.cos(math.pi * done))
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            optimizer.step()
            found.append(float(loss.detach()))
            if after_step is not None:
                after_step(min(1.0, (epoch + len(found) / steps) / epochs))
        if not found:
            raise CompressError(f"{who}: no user has two items that the model knows; cannot train")
        mean = float(np.mean(found))
        if path is not None:
            save_state(path, twin, optimizer, {}, epoch + 1, mean)
        context.progress(epoch + 1, epochs, f"{who}, loss {mean:.4f}")
    if path is not None:
        context.ended.append(path)
    return mean


def _state_path(
    context: Context, setting: tuple[Any, ...], twin: Twin, teachers: Teachers
) -> Path | None:
    """The file for the state of this training: named by all that it depends on."""
    if context.checkpoint is None:
        return None
    train = context.require_dataset(setting[0]).train
    digest = zlib.crc32(repr(setting).encode(), teachers.digest)
    parts = [parameter.detach().numpy() for parameter in twin.parameters()]
    for part in (*parts, train.indptr, train.items):
        digest = zlib.crc32(part.tobytes(), digest)
    context.checkpoint.mkdir(parents=True, exist_ok=True)
    return context.checkpoint / f"{setting[0]}-{digest:08x}"


def tune(
    compressor: TunedCompressor, twin: Twin, context: Context, teacher: DeviceModel
) -> DeviceModel:
    """Train what a compressor left, by its options, to keep the order that the teacher gives."""
    fine_tune(
        twin,
        context,
        who=compressor.name,
        epochs=compressor.epochs,
        learning_rate=compressor.learning_rate,
        distill=compressor.distill,
        temperature=TOP,
        teacher=teacher,
    )
    return twin.to_device_model()


class _Losses(abc.ABC):
    """Calling it goes once through the users: each step's loss, and how many steps there are."""

    def __init__(
        self,
        twin: Twin,
        teachers: Teachers,
        dataset: Dataset,
        distill: float,
        temperature: float,
        sample: int,
    ) -> None:
        self.twin, self.teachers, self.dataset, self.sample = twin, teachers, dataset, sample
        self.distill, self.temperature = distill, temperature
        self.scale = scale_of(twin.model)

    @abc.abstractmethod
    def __call__(self, seed: int) -> Iterator[tuple[Tensor, int]]:
        """Losses of one epoch."""


class _ListLosses(_Losses):
    """Of a model that adds up rows: every item of each history left out in turn."""

    def __call__(self, seed: int) -> Iterator[tuple[Tensor, int]]:
        generator = torch.Generator().manual_seed(seed)
        n = len(self.twin.model.items)
        size = min(MOST_USERS, max(FEWEST_USERS, self.dataset.train.n_users // STEPS))
        parts = lists(self.twin.model, self.dataset, size=size, seed=seed)
        for users in parts:
            sample = torch.randperm(n, generator=generator)[: self.sample]
            rows = rows_of(self.twin, self.scale)
            user, scores = scores_of(rows, users, sample)
            loss = list_loss(rows, users, user, scores, TEMPERATURE)
            if self.distill:
                target = self.teachers.scores(users, sample)
                loss = loss + self.distill * soft_loss(target, scores, self.temperature)
            yield loss, len(parts)


class _ExampleLosses(_Losses):
    """Of any other: one item of each history left out, over the whole catalogue."""

    def __call__(self, seed: int) -> Iterator[tuple[Tensor, int]]:
        steps = -(-int((np.diff(self.dataset.train.indptr) > 1).sum()) // EXAMPLES)
        for batch in batches(self.twin.model, self.dataset, size=EXAMPLES, seed=seed):
            scores = example_scores(self.twin, batch, self.scale)
            loss = F.cross_entropy(scores / TEMPERATURE, batch.target)
            if self.distill:
                target = self.teachers.example_scores(batch)
                soft = soft_loss(target, scores.clamp(min=NEVER), self.temperature)
                loss = loss + self.distill * soft
            yield loss, steps
