"""Train a GNN for the mode that ships: recommending from a history alone.

Training starts from spectral item vectors and runs Adam for a few passes over the users;
``objective.py`` defines what is minimized. The ranking of a teacher, a wider model of the same
data, can be learned as well.
"""

from __future__ import annotations

import dataclasses
import math
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from edgerec.contracts.compressor import Progress, no_progress
from edgerec.data.dataset import Dataset
from edgerec.errors import DataError
from edgerec.model.codecs import F32, Fp32
from edgerec.model.device_model import DeviceModel, Head
from edgerec.model.model_file import items_sections
from edgerec.model.table import Table
from edgerec.training.checkpoint import load_kept, load_state, save_state
from edgerec.training.families import FAMILIES
from edgerec.training.families.base import GNN
from edgerec.training.families.lowered import check_lowered
from edgerec.training.graph import Graph
from edgerec.training.objective import Objective
from edgerec.training.options import TrainOptions
from edgerec.training.spectral import spectral_start
from edgerec.training.stopping import EarlyStopping
from edgerec.training.text_features import add_titles

__all__ = ["Trained", "train"]


@dataclass(frozen=True)
class Trained:
    """A trained GNN, with the graph that it was trained on."""

    gnn: GNN
    graph: Graph
    dataset: Dataset
    options: TrainOptions

    @property
    def user_vectors(self) -> F32 | None:
        """float32[U, d], the trained vectors of users; none for a model of histories alone."""
        users = self.gnn.users
        return None if users is None else users.detach().numpy()

    def to_device_model(self) -> DeviceModel:
        """Compile the graph away, into item tables and an encoder of histories.

        Raises:
            ModelError: what the family lowers computes something else than the family.
        """
        self.gnn.eval()
        with torch.no_grad():
            lowered = self.gnn.lower(self.graph)
        model = DeviceModel(
            items=self.dataset.items,
            tables={name: Table.encode(a, Fp32()) for name, a in lowered.tables.items()},
            encoder=lowered.encoder,
            head=Head(lowered.candidates),
            history_length=self.options.history_length,
            constants=lowered.constants,
            normalization=self.gnn.normalization,
            recency=self.options.recency,
            weighted=self.dataset.train.weights is not None,
            popular=self.dataset.popular,
            metadata={
                "dataset": self.dataset.name,
                "trained_on": self.dataset.train.digest,
                "training": dataclasses.asdict(self.options),
            }
            | ({"event_weights": dict(weights)} if (weights := self.dataset.event_weights) else {}),
        )
        check_lowered(self.gnn, self.graph, self.dataset.train, model)
        return model


def train(
    dataset: Dataset,
    options: TrainOptions | None = None,
    *,
    teacher: DeviceModel | Sequence[DeviceModel] | None = None,
    checkpoint: str | Path | None = None,
    progress: Progress = no_progress,
    judged: Callable[[int, float], object] = lambda epoch, ndcg: None,
    **changes: Any,
) -> Trained:
    """Train a GNN on a dataset's training interactions.

    Args:
        dataset: the interactions to train on.
        options: training options, which ``changes`` override.
        teacher: a wider model of the same items, or several, whose ranking is learned as well.
        checkpoint: a file for the state after each epoch. If it exists, training resumes from it.
            The caller removes it after saving the model.
        progress: called with (epochs done, epochs, text).
        judged: called with (epoch, NDCG@20 on validation interactions) if ``patience`` is set.
        changes: fields of TrainOptions.

    Raises:
        OptionError: an option is wrong, the teacher has another catalogue, or the checkpoint
            belongs to another training.
        DataError: no user has two items, or there is nothing to stop by.
    """
    options = dataclasses.replace(options or TrainOptions(), **changes)
    torch.manual_seed(options.seed)
    graph = Graph(dataset.train, len(dataset.items))
    family = FAMILIES[options.model]
    gnn = family(graph.n_users, graph.n_items, **options.arguments(family))
    gnn.start(spectral_start(graph, options.dim, options.seed), graph, options.popularity)
    if options.features:
        add_titles(gnn, dataset.items)
    if int(np.diff(dataset.train.indptr).max()) < 2:
        raise DataError(
            f"{dataset.name}: no user has two training items, which are needed to predict one from "
            "the other; hold out less, or use more interactions"
        )
    objective = Objective(gnn, graph, dataset, options, teacher)
    optimizer = torch.optim.Adam(gnn.parameters(), options.learning_rate, fused=True)
    taught = None if objective.teachers is None else objective.teachers.digest
    settings = dataclasses.asdict(options) | {"teacher": taught, "dataset": _digest(dataset)}
    trained = Trained(gnn, graph, dataset, options)
    stopping = None
    if options.patience is not None:
        settings["valid"] = None if dataset.valid is None else dataset.valid.digest
        lower, patience = trained.to_device_model, options.patience
        stopping = EarlyStopping(gnn, lower, dataset, patience, options.seed)
    done, _ = load_state(checkpoint, gnn, optimizer, settings) if checkpoint else (0, 0.0)
    if stopping is not None and checkpoint and done:
        stopping.load(load_kept(checkpoint))
    for epoch in range(done, options.epochs):
        if stopping is not None and stopping.is_over:
            break
        loss = _epoch(objective, optimizer, epoch)
        said, kept = f"loss {loss:.3f}", None
        if stopping is not None:
            found = stopping.judge()
            said, kept = f"{said}, NDCG@20 {found:.4f} on validation", stopping.state()
        if checkpoint:
            save_state(checkpoint, gnn, optimizer, settings, epoch + 1, loss, kept)
        progress(epoch + 1, options.epochs, said)
        if stopping is not None:
            judged(epoch, stopping.judged[-1])
    if stopping is not None:
        stopping.restore()
    gnn.tilt(graph, options.tilt)
    return trained


def _digest(dataset: Dataset) -> int:
    """A digest of the catalogue, with its titles, and of the training interactions."""
    train, digest = dataset.train, 0
    weights = () if train.weights is None else (train.weights,)
    for part in (*items_sections(dataset.items).values(), train.indptr, train.items, *weights):
        digest = zlib.crc32(np.ascontiguousarray(part).tobytes(), digest)
    return digest


def _epoch(objective: Objective, optimizer: torch.optim.Optimizer, epoch: int) -> float:
    """Train for one pass over the users in random order; return the mean loss."""
    graph, options = objective.graph, objective.options
    # One generator per epoch, so that a resumed training draws the same numbers.
    generator = torch.Generator().manual_seed(options.seed * 100_003 + epoch)
    active = torch.nonzero(graph.degree[: graph.n_users] > 1)[:, 0]
    batches = _split(active[torch.randperm(len(active), generator=generator)], options.batch)
    losses = []
    for number, users in enumerate(batches):
        done = (epoch * len(batches) + number) / (options.epochs * len(batches))
        for group in optimizer.param_groups:
            group["lr"] = options.learning_rate * _learning_curve(done)
        loss = objective(users, generator)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        optimizer.step()
        losses.append(loss.detach())
    return float(torch.stack(losses).mean()) if losses else 0.0


def _learning_curve(done: float, warm_up: float = 0.05) -> float:
    """The share of the learning rate at a point of training: a linear rise, then a cosine decay."""
    return (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * done))) * min(1.0, done / warm_up + 0.02)


def _split(users: Tensor, batch: int | None) -> tuple[Tensor, ...]:
    """Split users into batches of near-equal size, because a small last step would be noise."""
    size = batch or min(400, max(32, len(users) // 75))
    return torch.tensor_split(users, -(-len(users) // size))
