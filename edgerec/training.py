"""Train a GNN for the mode that ships: recommending from a history alone.

From a spectral start, by Adam, a few passes over the users; ``edgerec.objective`` is what is
minimized. The order of a teacher, a wider model of the same data, can be learned too.
"""

from __future__ import annotations

import dataclasses
import inspect
import math
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from edgerec.checkpoint import load_state, save_state
from edgerec.codecs import F32, Fp32
from edgerec.compressor import no_progress
from edgerec.data import Dataset
from edgerec.device_model import DeviceModel, Head, Table
from edgerec.errors import DataError, OptionError
from edgerec.features import add_titles
from edgerec.graph import Graph
from edgerec.models import FAMILIES, GNN
from edgerec.objective import Objective

__all__ = ["TrainOptions", "Trained", "train"]


@dataclass(frozen=True)
class TrainOptions:
    """Options of training.

    Raises:
        OptionError: a value is out of range; the message names it.
    """

    model: str = field(default="historygcn", metadata={"help": "GNN family"})
    dim: int = field(default=64, metadata={"help": "width of the item vectors"})
    layers: int | None = field(default=None, metadata={"help": "rounds of message passing"})
    tied: bool | None = field(
        default=None, metadata={"help": "historygcn: one table for past and candidate rows"}
    )
    user_embedding: bool | None = field(
        default=None, metadata={"help": "lightgcn: a trained vector a user, beside the history"}
    )
    features: str | None = field(
        default=None, metadata={"help": "titles: item vectors also learn from their words"}
    )
    epochs: int = field(default=8, metadata={"help": "passes over the users"})
    learning_rate: float = field(default=0.01, metadata={"help": "Adam's step at its highest"})
    batch: int | None = field(
        default=None, metadata={"help": "users a step; by default a 75th of them, 32 to 400"}
    )
    negatives: int = field(default=16384, metadata={"help": "items sampled a step, at most all"})
    temperature: float = field(default=0.15, metadata={"help": "τ of the softmax"})
    popularity: float = field(default=0.1, metadata={"help": "γ, candidate length degree^γ"})
    tilt: float = field(
        default=0.0, metadata={"help": "β, after training candidates are longer by degree^β"}
    )
    user_weight: float = field(default=0.2, metadata={"help": "g, how much long histories lose"})
    gce: float = field(
        default=0.1, metadata={"help": "q of the generalized cross entropy; 0: the plain one"}
    )
    distill: float | None = field(
        default=None, metadata={"help": "weight of a teacher's order; 5 where there is one"}
    )
    recency: float = field(
        default=0.0,
        metadata={"help": "ρ, the j-th most recent item of a history weighs j^-ρ; 0: all alike"},
    )
    history_length: int = field(default=200, metadata={"help": "H, past items a device reads"})
    seed: int = field(default=0, metadata={"help": "of every random choice"})

    def __post_init__(self) -> None:
        if self.model not in FAMILIES:
            raise OptionError(f"model: expected one of {', '.join(FAMILIES)}; got {self.model!r}")
        if self.features not in (None, "titles"):
            raise OptionError(f"features: expected titles, or none; got {self.features!r}")
        for name in ("dim", "epochs", "batch", "negatives", "history_length", "layers"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise OptionError(f"{name}: expected a positive integer, got {value}")
        for name in ("gce", "distill", "recency"):
            if not 0 <= (getattr(self, name) or 0) < math.inf:
                raise OptionError(f"{name}: expected 0 or more, got {getattr(self, name)}")
        for name in ("popularity", "tilt", "user_weight"):
            if not math.isfinite(getattr(self, name)):
                raise OptionError(f"{name}: expected a number, got {getattr(self, name)}")
        for name in ("learning_rate", "temperature"):
            if not 0 < getattr(self, name) < math.inf:
                raise OptionError(f"{name}: expected a positive number, got {getattr(self, name)}")

    def arguments(self) -> dict[str, Any]:
        """Arguments of the family's constructor.

        Raises:
            OptionError: an option that the family does not have.
        """
        given = {name: getattr(self, name) for name in ("layers", "tied", "user_embedding")}
        given = {name: value for name, value in given.items() if value is not None}
        taken = inspect.signature(FAMILIES[self.model]).parameters
        if unknown := sorted(set(given) - set(taken)):
            raise OptionError(f"{', '.join(unknown)}: {self.model} has no such option")
        return {"dim": self.dim} | given


@dataclass(frozen=True)
class Trained:
    """A trained GNN with the graph it was trained on."""

    gnn: GNN
    graph: Graph
    dataset: Dataset
    options: TrainOptions

    @property
    def user_vectors(self) -> F32 | None:
        """float32[U, d], the users' own trained vectors; none for a model of histories alone."""
        users = self.gnn.users
        return None if users is None else users.detach().numpy()

    def to_device_model(self) -> DeviceModel:
        """Compile the graph away: item tables, and an encoder of histories."""
        self.gnn.eval()
        with torch.no_grad():
            lowered = self.gnn.lower(self.graph)
        return DeviceModel(
            items=self.dataset.items,
            tables={name: Table.encode(a, Fp32()) for name, a in lowered.tables.items()},
            encoder=lowered.encoder,
            head=Head(lowered.candidates),
            history_length=self.options.history_length,
            constants=lowered.constants,
            normalization=self.gnn.normalization,
            recency=self.options.recency,
            popular=self.dataset.popular,
            metadata={
                "dataset": self.dataset.name,
                "training": dataclasses.asdict(self.options),
            },
        )


def train(
    dataset: Dataset,
    options: TrainOptions | None = None,
    *,
    teacher: DeviceModel | Sequence[DeviceModel] | None = None,
    checkpoint: str | Path | None = None,
    progress: Callable[[int, int, str], None] = no_progress,
    **changes: Any,
) -> Trained:
    """Train a GNN on a dataset's training interactions.

    Args:
        dataset: what to train on.
        options: training options; ``changes`` override single ones.
        teacher: a wider model of the same items, or several, whose order is learned too.
        checkpoint: a file that the state is written to after each epoch, and resumed
            from if it is there; whoever has saved the model removes it.
        progress: called with (epochs done, epochs, text).
        changes: fields of TrainOptions.

    Raises:
        OptionError: an option is wrong, the teacher is of another catalogue, or the checkpoint
            belongs to another training.
        DataError: no user has two items.
    """
    options = dataclasses.replace(options or TrainOptions(), **changes)
    torch.manual_seed(options.seed)
    graph = Graph(dataset.train, len(dataset.items))
    gnn = FAMILIES[options.model](graph.n_users, graph.n_items, **options.arguments())
    gnn.start(spectral_start(graph, options.dim, options.seed), graph, options.popularity)
    if options.features:
        add_titles(gnn, dataset.items)
    if int(np.diff(dataset.train.indptr).max()) < 2:
        raise DataError(
            f"{dataset.name}: no user has two items to train on, one to recommend from the other; "
            "hold less out, or give more interactions"
        )
    objective = Objective(gnn, graph, dataset, options, teacher)
    optimizer = torch.optim.Adam(gnn.parameters(), options.learning_rate, fused=True)
    taught = None if objective.teachers is None else objective.teachers.digest
    settings = dataclasses.asdict(options) | {"teacher": taught, "dataset": _digest(dataset)}
    done, _ = load_state(checkpoint, gnn, optimizer, settings) if checkpoint else (0, 0.0)
    for epoch in range(done, options.epochs):
        loss = _epoch(objective, optimizer, epoch)
        if checkpoint:
            save_state(checkpoint, gnn, optimizer, settings, epoch + 1, loss)
        progress(epoch + 1, options.epochs, f"loss {loss:.3f}")
    gnn.tilt(graph, options.tilt)
    return Trained(gnn, graph, dataset, options)


def _digest(dataset: Dataset) -> int:
    """Changes with the catalogue and with what is trained on."""
    train, items = dataset.train, dataset.items
    digest = zlib.crc32("\n".join(items.ids).encode("utf-8", "surrogatepass"))
    for part in (train.indptr, train.items):
        digest = zlib.crc32(np.ascontiguousarray(part).tobytes(), digest)
    return digest


def _epoch(objective: Objective, optimizer: torch.optim.Optimizer, epoch: int) -> float:
    """One pass over the users in random order; return the mean loss."""
    graph, options = objective.graph, objective.options
    # A generator an epoch, so that a resumed training draws what it would have drawn.
    generator = torch.Generator().manual_seed(options.seed * 100_003 + epoch)
    active = torch.nonzero(graph.degree[: graph.n_users] > 1)[:, 0]
    batches = _split(active[torch.randperm(len(active), generator=generator)], options.batch)
    losses = []
    for number, users in enumerate(batches):
        done = (epoch * len(batches) + number) / (options.epochs * len(batches))
        for group in optimizer.param_groups:
            group["lr"] = options.learning_rate * learning_curve(done)
        loss = objective(users, generator)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        optimizer.step()
        losses.append(loss.detach())
    return float(torch.stack(losses).mean()) if losses else 0.0


def learning_curve(done: float, warm_up: float = 0.05) -> float:
    """Share of the learning rate when ``done`` of training is: up a line, down a cosine."""
    return (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * done))) * min(1.0, done / warm_up + 0.02)


def _split(users: Tensor, batch: int | None) -> tuple[Tensor, ...]:
    """Batches of one size but for a user: a small last one would be a step of mere noise."""
    size = batch or min(400, max(32, len(users) // 75))
    return torch.tensor_split(users, -(-len(users) // size))


def spectral_start(graph: Graph, dim: int, seed: int, rounds: int = 8) -> Tensor:
    """Leading right singular vectors of D_u^-½ R D_i^-0.4 as item vectors, float[n, dim].

    Randomized subspace iteration: Halko, Martinsson, Tropp, SIAM Review 2011. Columns are
    scaled by the root of their singular values, and rows to a mean length of 1. Starting
    here saves most of the epochs; the exponent was chosen on a validation split.
    """
    generator = torch.Generator().manual_seed(seed)
    width = min(dim + 16, graph.n_items)
    by_item = graph.item_degree[:, None] ** -0.4
    basis = torch.randn(graph.n_items, width, generator=generator)
    for _ in range(rounds):
        basis, _ = torch.linalg.qr(basis)
        basis = graph.back_and_forth(basis * by_item, 0.5) * by_item
    left, squares, _ = torch.linalg.svd(basis, full_matrices=False)
    vectors = torch.zeros(graph.n_items, dim)
    kept = min(dim, width)
    vectors[:, :kept] = left[:, :kept] * squares[:kept] ** 0.25
    return vectors / vectors.norm(dim=1).mean().clamp(min=1e-12)
