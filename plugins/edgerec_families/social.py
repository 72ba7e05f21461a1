r"""Social: LightGCN, and what a user's friends like.

Friends share tastes (Ma et al., "Recommender Systems with Social Regularization", WSDM 2011). As in
DiffNet (Wu et al., SIGIR 2019), a user vector is that of the user's own history and the mean of the
friends'. With LightGCN's vector h_u of a history,

    u = h_u + β · Σ_{f ∈ F(u)} h_f / |F(u)|,    score(u, i) = u · x_i

The friends' histories are not on the user's device. Their mean is: it is the ``user_vector`` that
the model reads, d numbers that are computed where the network is known and kept with the history. A
user without friends has zeros there, and the model is LightGCN.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch_geometric.nn import SimpleConv

from edgerec.learn import Graph, Lowered, bag
from edgerec.plugin import Dataset, Op, OptionError
from edgerec_families.lightgcn import LightGCN

__all__ = ["Social"]


class Social(LightGCN):
    """LightGCN of histories, with the mean of friends as the users' own vectors.

    Args:
        n_users: number of users.
        n_items: number of items.
        dim: d, width of the embeddings.
        layers: K, rounds of propagation, at least 1.
        weight: β, how much friends count.
    """

    friends: Tensor
    offsets: Tensor

    def __init__(self, n_users: int, n_items: int, dim: int, layers: int, weight: float) -> None:
        super().__init__(n_users, n_items, dim, layers, user_embedding=False)
        self.weight, self.mean = weight, SimpleConv(aggr="mean")

    def attach(self, dataset: Dataset) -> None:
        """Take the friendships, and the graph in which friends have their histories."""
        if dataset.friends is None:
            raise OptionError(
                f"social: {dataset.name} has no friendships; read some with `edgerec data "
                "--friends FILE` (read_dataset(friends=...)), or choose another family"
            )
        pairs = dataset.friends[dataset.friends[:, 0].argsort(kind="stable")].astype("int64")
        user, friend = torch.as_tensor(pairs).T.contiguous()
        counts = torch.bincount(user, minlength=self.n_users)
        # They follow from the friendships, so that files need not keep them.
        self.register_buffer("friends", torch.stack([friend, user]), persistent=False)
        self.register_buffer("offsets", F.pad(counts.cumsum(0), (1, 0)), persistent=False)
        self._graph = Graph(dataset.train, self.n_items)

    @property
    def users(self) -> Tensor:
        """float[U, d], β times the mean of each user's friends."""
        past = self.tables(self._graph).past[0]
        friend, user = self.friends
        share = self.weight / self.offsets.diff()[user]
        return bag(self._graph.pool(past, self.normalization), friend, self.offsets, share)

    @users.setter
    def users(self, value: Tensor | None) -> None:
        """Users have no vectors to train."""

    def forward(self, edge_index: Tensor | Graph) -> tuple[Tensor, Tensor]:
        """User and item vectors of the whole graph."""
        users, items = super().forward(edge_index)
        if isinstance(edge_index, Graph):
            return users + self.users, items
        return users + self.weight * self.mean(users, self.friends), items

    def user(self, pooled: list[Tensor], own: Tensor | None = None) -> Tensor:
        """Sum of the pooled history and of what the user's friends add."""
        return pooled[0] if own is None else pooled[0] + own

    def lower(self, graph: Graph) -> Lowered:
        """LightGCN's tables, to whose weighted sum the friends' mean is added."""
        lowered = super().lower(graph)
        *ops, total = lowered.encoder
        added: tuple[Any, ...] = (
            Op(total.kind, total.inputs, "pooled"),
            Op("Add", ("pooled", "user_vector"), "user"),
        )
        return Lowered(lowered.tables, lowered.constants, (*ops, *added))
