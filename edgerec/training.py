r"""Train a GNN for the mode that ships: recommending from a history alone.

All items of a user are targets at once, each left out of its own history (u − w_ui p_i, or
the encoder would learn to find what it was given). For user u with history N(u) and a
sample S of the items outside it,

    loss_u = |N(u)|^-g Σ_{i ∈ N(u)} log(1 + n / |S| Σ_{j ∈ S} exp((s_uj − s_ui) / τ))

with s_ui the product of the unit user vector and the candidate row: a sampled softmax (Wu
et al., TOIS 2024) with the negatives shared by a step's users. The weight |N(u)|^-g lies
between counting interactions and counting users.
"""

from __future__ import annotations

import dataclasses
import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from edgerec.checkpoint import load_state, save_state
from edgerec.codecs import F32, Fp32
from edgerec.compressor import no_progress
from edgerec.data import Dataset
from edgerec.device_model import DeviceModel, Head, Table
from edgerec.errors import OptionError
from edgerec.features import add_titles
from edgerec.graph import Graph, bag
from edgerec.models import FAMILIES, GNN

__all__ = ["TrainOptions", "Trained", "train"]

#: Share of a history that is held out of a dense encoder's input at a time.
HELD_OUT = 0.3


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
    user_weight: float = field(default=0.2, metadata={"help": "g, how much long histories lose"})
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
        for name in ("learning_rate", "temperature"):
            if not getattr(self, name) > 0:
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
    gnn = FAMILIES[options.model](graph.n_users, graph.n_items, **options.arguments())
    gnn.start(spectral_start(graph, options.dim, options.seed), graph, options.popularity)
    if options.features:
        add_titles(gnn, dataset.items)
    optimizer = torch.optim.Adam(gnn.parameters(), options.learning_rate, fused=True)
    done = load_state(checkpoint, gnn, optimizer, options) if checkpoint else 0
    for epoch in range(done, options.epochs):
        loss = _epoch(gnn, graph, optimizer, epoch, options)
        if checkpoint:
            save_state(checkpoint, gnn, optimizer, options, epoch + 1)
        progress(epoch + 1, options.epochs, f"loss {loss:.3f}")
    if checkpoint:
        Path(checkpoint).unlink(missing_ok=True)
    return Trained(gnn, graph, dataset, options)


def _epoch(
    gnn: GNN, graph: Graph, optimizer: torch.optim.Optimizer, epoch: int, options: TrainOptions
) -> float:
    """One pass over the users in random order; return the mean loss."""
    # A generator an epoch, so that a resumed training draws what it would have drawn.
    generator = torch.Generator().manual_seed(options.seed * 100_003 + epoch)
    active = torch.nonzero(graph.degree[: graph.n_users] > 1)[:, 0]
    batches = _split(active[torch.randperm(len(active), generator=generator)], options.batch)
    losses = []
    for number, users in enumerate(batches):
        done = (epoch * len(batches) + number) / (options.epochs * len(batches))
        for group in optimizer.param_groups:
            group["lr"] = options.learning_rate * learning_curve(done)
        loss = _loss(gnn, graph, users, generator, options)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        optimizer.step()
        losses.append(loss.detach())
    return float(torch.stack(losses).mean()) if losses else 0.0


def _loss(
    gnn: GNN, graph: Graph, users: Tensor, generator: torch.Generator, options: TrainOptions
) -> Tensor:
    """Loss of all items of some users, int64[B]."""
    tables = gnn.tables(graph)
    candidates = gnn.readout(tables.candidates, graph.item_degree)
    item, place, offsets = graph.histories(users)
    seen_item, seen_place = item, place
    weight = (graph.degree[users] ** -gnn.normalization)[place]
    if gnn.linear:
        target = torch.ones(len(item), dtype=torch.bool)
    else:
        # Taking one item out of a dense encoder's input is a new encoding for each. So a
        # random part is taken out at once: the rest is the history, the part the targets.
        target = torch.rand(len(item), generator=generator) < HELD_OUT
        kept = torch.bincount(place[~target], minlength=len(users)).clamp(min=1)
        weight = (kept.float() ** -gnn.normalization)[place] * ~target
    pooled = [bag(past, item, offsets, weight) for past in tables.past]
    own = None if gnn.users is None else F.embedding(users, gnn.users)
    user = F.normalize(gnn.user(pooled, own), dim=1)
    # F.embedding, not indexing: on CPU its backward is many times faster.
    if gnn.linear:
        left_out = F.embedding(place, pooled[0]) - weight[:, None] * F.embedding(
            item, tables.past[0]
        )
        own = None if own is None else F.embedding(place, own)
        without = F.normalize(gnn.user([left_out], own), dim=1)
    else:
        item, place = item[target], place[target]
        without = F.embedding(place, user)
    positive = (without * F.embedding(item, candidates)).sum(1) / options.temperature
    count = min(options.negatives, graph.n_items)
    sample = torch.randperm(graph.n_items, generator=generator)[:count]
    negative = user @ F.embedding(sample, candidates).T / options.temperature
    seen = torch.zeros(len(users), graph.n_items, dtype=torch.bool)
    seen[seen_place, seen_item] = True
    negative = negative.masked_fill(seen[:, sample], -1e4)
    total = negative.logsumexp(1) + math.log(graph.n_items / count)
    share = (graph.degree[users] ** -options.user_weight)[place]
    return (F.softplus(total[place] - positive) * share).sum() / share.sum()


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
