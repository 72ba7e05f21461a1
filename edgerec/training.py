r"""Train a GNN for the mode that ships: recommending from a history alone.

Objective: sampled softmax over cosine scores (Wu et al., "On the Effectiveness of Sampled
Softmax Loss for Item Recommendation", TOIS 2024). For an edge (u, i) and shared
negatives S,

    loss = -log( exp(s_ui / τ) / (exp(s_ui / τ) + Σ_{j ∈ S} exp(s_uj / τ)) )

The target is left out of its own history (u − w_ui p_i), or the encoder would learn to
find what it was given. Cosine scores forget popularity; it is put back by scaling the
candidate rows with degree^γ, which costs nothing on the device.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from edgerec.checkpoint import load_state, save_state
from edgerec.codecs import Fp32
from edgerec.compressor import no_progress
from edgerec.data import Dataset, Interactions
from edgerec.device_model import DeviceModel, Head, Table
from edgerec.errors import OptionError
from edgerec.graph import Graph
from edgerec.models import FAMILIES, GNN

__all__ = ["TrainOptions", "Trained", "train"]


@dataclass(frozen=True)
class TrainOptions:
    """Options of training.

    Raises:
        OptionError: a value is out of range; the message names it.
    """

    model: str = field(default="lightgcn", metadata={"help": "GNN family"})
    dim: int = field(default=64, metadata={"help": "width of the item vectors"})
    layers: int | None = field(default=None, metadata={"help": "rounds of message passing"})
    epochs: int = field(default=15, metadata={"help": "passes over the interactions"})
    learning_rate: float = field(default=0.01, metadata={"help": "Adam's step at the start"})
    batch: int = field(default=4096, metadata={"help": "interactions a step"})
    negatives: int = field(default=1024, metadata={"help": "shared negatives a step"})
    temperature: float = field(default=0.12, metadata={"help": "τ of the softmax"})
    popularity: float = field(default=0.1, metadata={"help": "γ, exponent of the degree"})
    history_length: int = field(default=200, metadata={"help": "H, past items a device reads"})
    seed: int = field(default=0, metadata={"help": "of every random choice"})

    def __post_init__(self) -> None:
        if self.model not in FAMILIES:
            raise OptionError(f"model: expected one of {', '.join(FAMILIES)}; got {self.model!r}")
        for name in ("dim", "epochs", "batch", "negatives", "history_length", "layers"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise OptionError(f"{name}: expected a positive integer, got {value}")
        for name in ("learning_rate", "temperature"):
            if not getattr(self, name) > 0:
                raise OptionError(f"{name}: expected a positive number, got {getattr(self, name)}")


@dataclass(frozen=True)
class Trained:
    """A trained GNN with the graph it was trained on."""

    gnn: GNN
    graph: Graph
    dataset: Dataset
    options: TrainOptions

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
    checkpoint: str | Path | None = None,
    progress: Callable[[int, int, str], None] = no_progress,
    **changes: Any,
) -> Trained:
    """Train a GNN on a dataset's training interactions.

    Args:
        dataset: what to train on.
        options: training options; ``changes`` override single ones.
        checkpoint: a file that the state is written to after each epoch, and resumed
            from if it is there; it is removed when training ends.
        progress: called with (epochs done, epochs, text).
        changes: fields of TrainOptions.

    Raises:
        OptionError: an option is wrong, or the checkpoint belongs to another training.
    """
    options = dataclasses.replace(options or TrainOptions(), **changes)
    torch.manual_seed(options.seed)
    graph = Graph(dataset.train, len(dataset.items))
    arguments = {} if options.layers is None else {"layers": options.layers}
    gnn = FAMILIES[options.model](graph.n_users, graph.n_items, dim=options.dim, **arguments)
    with torch.no_grad():
        gnn.items.copy_(spectral_start(graph, options.dim, options.seed))
    optimizer = torch.optim.Adam(gnn.parameters(), options.learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(
        optimizer, options.epochs, options.learning_rate * 0.1
    )
    done = load_state(checkpoint, gnn, optimizer, schedule, options) if checkpoint else 0
    edges = Edges.of(dataset.train)
    for epoch in range(done, options.epochs):
        generator = torch.Generator().manual_seed(options.seed * 100_003 + epoch)
        loss = _epoch(gnn, graph, edges, optimizer, generator, options)
        schedule.step()
        if checkpoint:
            save_state(checkpoint, gnn, optimizer, schedule, options, epoch + 1)
        progress(epoch + 1, options.epochs, f"loss {loss:.3f}")
    if checkpoint:
        Path(checkpoint).unlink(missing_ok=True)
    gnn.popularity = options.popularity
    return Trained(gnn, graph, dataset, options)


def _epoch(
    gnn: GNN,
    graph: Graph,
    edges: Edges,
    optimizer: torch.optim.Optimizer,
    generator: torch.Generator,
    options: TrainOptions,
) -> float:
    """One pass over the edges in random order; return the mean loss."""
    order = torch.randperm(len(edges.items), generator=generator)
    losses = []
    for batch in torch.split(order, options.batch):
        tables = gnn.tables(graph)
        user, item = edges.users[batch], edges.items[batch]
        negatives = torch.randint(graph.n_items, (options.negatives,), generator=generator)
        # The target is taken out of the pooled history that it is part of.
        weight = graph.degree[user, None] ** -gnn.normalization
        # F.embedding, not indexing: on CPU its backward is many times faster.
        pooled = [
            F.embedding(user, graph.pool(past, gnn.normalization))
            - weight * F.embedding(item, past)
            for past in tables.past
        ]
        users = F.normalize(gnn.user(pooled), dim=-1)
        candidates = F.normalize(tables.candidates, dim=-1)
        positive = (users * F.embedding(item, candidates)).sum(-1, keepdim=True)
        negative = users @ F.embedding(negatives, candidates).T
        negative = negative.masked_fill(item[:, None] == negatives, float("-inf"))
        logits = torch.cat([positive, negative], 1) / options.temperature
        loss = -logits.log_softmax(1)[:, 0].mean()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        optimizer.step()
        losses.append(loss.detach())
    return float(torch.stack(losses).mean())


@dataclass(frozen=True)
class Edges:
    """int64[edges] users and item rows."""

    users: Tensor
    items: Tensor

    @classmethod
    def of(cls, interactions: Interactions) -> Edges:
        """Take them from interactions."""
        users, items = interactions.users.astype(np.int64), interactions.items.astype(np.int64)
        return cls(torch.from_numpy(users), torch.from_numpy(items))


def spectral_start(graph: Graph, dim: int, seed: int, rounds: int = 6) -> Tensor:
    """Leading right singular vectors of D_u^-½ R D_i^-½ as item vectors, float[n, dim].

    Randomized subspace iteration: Halko, Martinsson, Tropp, SIAM Review 2011. Rows are
    scaled to a mean length of 1. Starting here saves most of the epochs.
    """
    generator = torch.Generator().manual_seed(seed)
    width = min(dim + 16, graph.n_items)
    basis = torch.randn(graph.n_items, width, generator=generator)
    users = torch.zeros(graph.n_users, width)
    for _ in range(rounds):
        basis, _ = torch.linalg.qr(basis)
        twice = graph.symmetric(graph.symmetric(torch.cat([users, basis])))
        basis = twice[graph.n_users :]
    left, values, _ = torch.linalg.svd(basis, full_matrices=False)
    vectors = torch.zeros(graph.n_items, dim)
    kept = min(dim, width)
    vectors[:, :kept] = left[:, :kept] * values[:kept] ** 0.25
    return vectors / vectors.norm(dim=1).mean().clamp(min=1e-12)
