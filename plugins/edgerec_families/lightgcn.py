r"""LightGCN: linear propagation and nothing else.

He et al., "LightGCN: Simplifying and Powering Graph Convolution Network for
Recommendation", SIGIR 2020. With N(·) the neighbors of a node,

    x_u^(k+1) = Σ_{i ∈ N(u)} x_i^(k) / √(|N(u)| |N(i)|)        (and the same for items)
    x = Σ_{k=0..K} α_k x^(k),   α_k = 1 / (K + 1)
    score(u, i) = x_u · x_i

The user side, split off, is x_u = α_0 x_u^(0) + |N(u)|^-½ Σ_{i ∈ N(u)} p_i with the past row
p_i = |N(i)|^-½ Σ_{k≥1} α_k x_i^(k-1). This is exact: the device adds up rows.

Without user embeddings (x_u^(0) = 0), the model is inductive, and a history is all that it needs.
At K = 1, the past row is then a multiple of the candidate row, so one table serves both.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch_geometric.nn import LGConv

from edgerec.learn import GNN, Graph, Lowered, Tables, array, degree_of
from edgerec.plugin import Op

__all__ = ["FusedLGConv", "LightGCN"]


class FusedLGConv(LGConv):  # type: ignore[misc]  # torch-geometric has no types
    """PyG's LGConv, which uses the fast sparse product on a Graph."""

    def forward(self, x: Tensor, edge_index: Tensor | Graph) -> Tensor:
        """Propagate float[nodes, d] once."""
        if isinstance(edge_index, Graph):
            return edge_index.symmetric(x)
        result: Tensor = super().forward(x, edge_index)
        return result


class LightGCN(GNN):
    """LightGCN with or without user embeddings.

    Args:
        n_users: number of users.
        n_items: number of items.
        dim: d, width of the embeddings.
        layers: K, rounds of propagation, at least 1.
        user_embedding: whether to train a vector per user (transductive) or not (history only).
    """

    normalization: ClassVar[float] = 0.5

    def __init__(
        self, n_users: int, n_items: int, dim: int, layers: int, user_embedding: bool
    ) -> None:
        super().__init__()
        self.n_users, self.n_items, self.dim, self.layers = n_users, n_items, dim, layers
        self.user_embedding = user_embedding
        self.items = nn.Parameter(torch.randn(n_items, dim) * 0.1)
        self.users = nn.Parameter(torch.randn(n_users, dim) * 0.1) if user_embedding else None
        self.conv = FusedLGConv()
        self.alpha = 1 / (layers + 1)

    def start(self, vectors: Tensor, graph: Graph, popularity: float) -> None:
        """Start from given item vectors; users start at zero, to learn what histories lack."""
        super().start(vectors, graph, popularity)
        if self.user_embedding and self.users is not None:
            with torch.no_grad():
                self.users.zero_()

    def forward(self, edge_index: Tensor | Graph) -> tuple[Tensor, Tensor]:
        """User and item vectors after K rounds on the whole graph."""
        mean = torch.stack(self._states(edge_index, self.layers)).sum(0) * self.alpha
        degree = degree_of(edge_index, self.n_users, self.n_items)
        return mean[: self.n_users], self.readout(mean[self.n_users :], degree)

    def tables(self, graph: Graph) -> Tables:
        """Past rows and candidate rows."""
        states = [s[self.n_users :] for s in self._states(graph, self._rounds_for_items())]
        past = torch.stack(states[: self.layers]).sum(0) * self.alpha
        candidates = torch.stack(states).sum(0) * self.alpha
        return Tables([past * graph.item_degree[:, None] ** -0.5], candidates)

    def user(self, pooled: list[Tensor], own: Tensor | None = None) -> Tensor:
        """Sum of the pooled history and, transductively, the user's own vector."""
        return pooled[0] if own is None else pooled[0] + self.alpha * own

    def lower(self, graph: Graph) -> Lowered:
        """One tied table if past rows are multiples of candidate rows, and two otherwise."""
        tables = self.tables(graph)
        past, candidates = tables.past[0], self.readout(tables.candidates, graph.item_degree)
        if self.layers == 1 and not self.user_embedding:
            # One row is a multiple of the other, and the ratio of their lengths is the factor.
            ratio = past.norm(dim=1, keepdim=True) / candidates.norm(dim=1, keepdim=True)
            ratio = ratio.nan_to_num(0.0)  # rows that training has left at zero
            arrays = {"items": array(candidates), "past_scale": array(ratio)}
            ops = [
                Op("Gather", ("items", "history"), "rows"),
                Op("Gather", ("past_scale", "history"), "row_scale"),
                Op("Mul", ("row_scale", "weights"), "scale"),
                Op("Mul", ("rows", "scale"), "weighted"),
            ]
        else:
            arrays = {"past": array(past), "items": array(candidates)}
            ops = [
                Op("Gather", ("past", "history"), "rows"),
                Op("Mul", ("rows", "weights"), "weighted"),
            ]
        if not self.user_embedding:
            return Lowered(arrays, {}, (*ops, Op("ReduceSum", ("weighted",), "user")))
        own = [
            Op("ReduceSum", ("weighted",), "pooled"),
            Op("Mul", ("user_vector", "alpha"), "own"),
            Op("Add", ("pooled", "own"), "user"),
        ]
        alpha = array(torch.full((1, 1), self.alpha))
        return Lowered(arrays, {"alpha": alpha}, (*ops, *own))

    def _rounds_for_items(self) -> int:
        """Without user vectors, an odd round leaves items at zero, so one round counts as none."""
        return self.layers if self.layers > 1 or self.user_embedding else 0

    def _states(self, edge_index: Tensor | Graph, rounds: int) -> list[Tensor]:
        users = self.users if self.user_embedding else None
        if users is None:
            users = self.items.new_zeros(self.n_users, self.dim)
        states = [torch.cat([users, self.vectors()])]
        for _ in range(rounds):
            states.append(self.conv(states[-1], edge_index))
        return states
