"""Train a GNN for the mode that ships: recommending from a history alone.

Training starts from spectral item vectors and runs Adam for a few passes over the users;
``objective.py`` defines what is minimized. The ranking of a teacher, a wider model of the same
data, can be learned as well.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from edgerec.contracts.compressor import Progress, no_progress
from edgerec.contracts.family import Family
from edgerec.contracts.host import Host
from edgerec.data.contexts import contexts_of
from edgerec.data.dataset import Dataset
from edgerec.errors import DataError, ModelError, OptionError
from edgerec.model.attribution import attribute_errors
from edgerec.model.codecs import F32
from edgerec.model.device_model import DeviceModel
from edgerec.model.options import format_spec
from edgerec.training.accelerator import on_accelerator, seeded
from edgerec.training.checkpoint import load_kept
from edgerec.training.descent import Descent
from edgerec.training.gnn_file import digest_of, family_options
from edgerec.training.graph import Graph
from edgerec.training.objective import Objective
from edgerec.training.options import FAMILY_OPTIONS, TrainOptions
from edgerec.training.spectral import spectral_start
from edgerec.training.stopping import EarlyStopping
from edgerec.training.teacher import Teachers
from edgerec.training.trained import Trained, make_gnn, untrained

__all__ = ["train"]

#: Steps per epoch. The whole graph is propagated in each, so their number must not grow with the
#: users: batches grow, and the cost of an epoch is proportional to the interactions.
_STEPS = 75

#: The share of training in which the learning rate rises.
_WARM_UP = 0.05


def train(
    dataset: Dataset,
    options: TrainOptions | None = None,
    *,
    model: str | Family | None = None,
    teacher: DeviceModel | Sequence[DeviceModel] | None = None,
    teacher_vectors: F32 | None = None,
    checkpoint: str | Path | None = None,
    progress: Progress = no_progress,
    judged: Callable[[int, float], object] = lambda epoch, ndcg: None,
    host: Host | None = None,
    **changes: Any,
) -> Trained:
    """Train a GNN on a dataset's training interactions.

    Args:
        dataset: the interactions to train on.
        options: training options, which ``changes`` override.
        model: a GNN family, as an object or as text of the form ``name:option=value,...``; by
            default that of ``options``.
        teacher: a model of the same items, or several, whose ranking is learned as well.
        teacher_vectors: float32[users, c], the users' own rows, if a teacher reads them.
        checkpoint: a file for the state after each epoch. If it exists, training resumes from it.
            The caller removes it after saving the model.
        progress: called with (epochs done, epochs, text).
        judged: called with (epoch, NDCG@20 on validation interactions) if ``patience`` is set.
        host: the plugins to choose the family from; the installed ones by default.
        changes: fields of TrainOptions.

    Raises:
        UnknownNameError: no plugin provides the family.
        ModelError: the family failed.
        OptionError: an option is wrong, the teacher has another catalogue, its vectors are not
            those that it reads, or the checkpoint belongs to another training.
        DataError: no user has two items, or there is nothing to stop by.
    """
    family, options = _resolve(model, options or TrainOptions(), changes, host)
    with on_accelerator():
        teachers = _teachers(dataset, options, teacher, teacher_vectors)
        trained = _train(dataset, options, family, teachers, checkpoint, progress, judged)
    return trained if trained.gnn.items.is_cpu else _on_cpu(trained)


def _train(
    dataset: Dataset,
    options: TrainOptions,
    family: Family,
    teachers: Teachers | None,
    checkpoint: str | Path | None,
    progress: Progress,
    judged: Callable[[int, float], object],
) -> Trained:
    """Train on torch's default device."""
    torch.manual_seed(options.seed)
    graph = Graph(dataset.train, len(dataset.items))
    gnn = make_gnn(family, graph, options, dataset)
    with attribute_errors(f"family {family.name}", ModelError):
        gnn.start(spectral_start(graph, options.dim, options.seed), graph, options.popularity)
    if int(np.diff(dataset.train.indptr).max()) < 2:
        raise DataError(
            f"{dataset.name}: no user has two training items, which are needed to predict one from "
            "the other; hold out less, or use more interactions"
        )
    objective = Objective(gnn, graph, options, teachers)
    optimizer = torch.optim.Adam(gnn.parameters(), options.learning_rate, fused=True)
    taught = None if teachers is None else teachers.digest
    settings = _settings(options, family) | {
        "teacher": taught,
        "dataset": digest_of(dataset, options.features, options.context),
    }
    trained = Trained(gnn, graph, dataset, options, family)
    stopping = None
    if options.patience is not None:
        settings["valid"] = None if dataset.valid is None else dataset.valid.digest
        lower, patience = trained.to_device_model, options.patience
        stopping = EarlyStopping(gnn, lower, dataset, patience, options.seed)
    descent = Descent(
        gnn, optimizer, options.epochs, warm_up=_WARM_UP, checkpoint=checkpoint, settings=settings
    )
    if stopping is not None and checkpoint and descent.done:
        stopping.load(load_kept(checkpoint))
    while descent.done < options.epochs and not (stopping is not None and stopping.is_over):
        with attribute_errors(f"family {family.name}", ModelError):
            descent.epoch(_losses(objective, descent.done))
        said, kept = f"loss {descent.loss:.3f}", None
        if stopping is not None:
            found = stopping.judge()
            said, kept = f"{said}, NDCG@20 {found:.4f} on validation", stopping.state()
        descent.save(kept)
        progress(descent.done, options.epochs, said)
        if stopping is not None:
            judged(descent.done - 1, stopping.judged[-1])
    if stopping is not None:
        stopping.restore()
    gnn.tilt(graph, options.tilt)
    return trained


def _teachers(
    dataset: Dataset,
    options: TrainOptions,
    teacher: DeviceModel | Sequence[DeviceModel] | None,
    vectors: F32 | None,
) -> Teachers | None:
    """What is learned from besides the interactions.

    Raises:
        OptionError: an option is for teachers, and there are none; or the teacher does not fit.
    """
    if teacher is not None:
        if vectors is None:
            vectors = _contexts(dataset, teacher)
        return Teachers.of(teacher, dataset.items, vectors, n_users=len(dataset.users))
    for name, given in (("distill", options.distill), ("teacher_vectors", vectors)):
        if given is not None:
            raise OptionError(f"{name}: has no effect without a teacher; set both")
    return None


def _contexts(dataset: Dataset, teacher: DeviceModel | Sequence[DeviceModel]) -> F32 | None:
    """The contexts of all users, if teachers have names for what they read of them.

    Raises:
        DataError: the data set knows too little of its users.
        OptionError: two teachers read different contexts.
    """
    models = [teacher] if isinstance(teacher, DeviceModel) else teacher
    read = [model.context for model in models if model.context is not None]
    if not read:
        return None
    if any(context != read[0] for context in read):
        raise OptionError("teacher: several teachers read different contexts; use those of one")
    return contexts_of(read[0], dataset, np.arange(len(dataset.users)), lasting=True)


def _on_cpu(trained: Trained) -> Trained:
    """The same network, made anew on the CPU."""
    found = untrained(trained.family, trained.options, trained.dataset)
    found.gnn.load_state_dict(trained.gnn.state_dict())
    found.gnn.popularity = trained.gnn.popularity
    return found


def _resolve(
    model: str | Family | None, options: TrainOptions, changes: dict[str, Any], host: Host | None
) -> tuple[Family, TrainOptions]:
    """The family to train, and the options, which name it."""
    if isinstance(model, str):
        changes = changes | {"model": model}
    elif model is not None:
        changes = changes | {"model": format_spec(model)}
    options = dataclasses.replace(options, **changes)
    if not isinstance(model, Family):
        return options.family(host), options
    if late := [name for name in FAMILY_OPTIONS if getattr(options, name) is not None]:
        raise OptionError(
            f"{', '.join(late)}: has no effect on the family {options.model!r}, which is made "
            "already; make it with this option"
        )
    return model, options


def _settings(options: TrainOptions, family: Family) -> dict[str, Any]:
    """What has to be the same for a training to resume, with every option of the family."""
    own = {f"model.{name}": value for name, value in family_options(family).items()}
    rest = {k: v for k, v in dataclasses.asdict(options).items() if k not in FAMILY_OPTIONS}
    return rest | {"model": family.name} | own


def _losses(objective: Objective, epoch: int) -> Iterator[tuple[Tensor, int]]:
    """The loss of each step of a pass over the users in random order, with how many there are."""
    graph, options = objective.graph, objective.options
    # One generator per epoch, so that a resumed training draws the same numbers.
    generator = seeded(options.seed * 100_003 + epoch)
    active = torch.nonzero(graph.degree[: graph.n_users] > 1)[:, 0]
    batches = _split(active[torch.randperm(len(active), generator=generator)], options.batch)
    for users in batches:
        yield objective(users, generator), len(batches)


def _split(users: Tensor, batch: int | None) -> tuple[Tensor, ...]:
    """Split users into batches of near-equal size, because a small last step would be noise."""
    size = batch or max(32, len(users) // _STEPS)
    return torch.tensor_split(users, -(-len(users) // size))
