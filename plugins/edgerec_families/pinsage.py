r"""PinSage: items that random walks visit most are neighbors, and count by their visits.

Ying et al., "Graph Convolutional Neural Networks for Web-Scale Recommender Systems", KDD 2018. N(i)
contains the T items that random walks from i visit most, and α_ij is j's share of their visits:

    n_i^(k) = Σ_{j ∈ N(i)} α_ij ReLU(Q_k x_j^(k) + q_k)          (importance pooling)
    x_i^(k+1) = normalize(x_i^(k) + V_k x_i^(k) + W_k n_i^(k) + b_k)
    u = m_u + W_K ReLU(Q_K m_u + q_K),    m_u = Σ_{i ∈ N(u)} x_i^(K) / |N(u)|
    score(u, i) = u · x_i^(K)

A walk goes from an item to one of its users and on to one of that user's items, so that its visits
are expected to be those of P = D_i^-1 Rᵀ D_u^-1 R. They are computed, where the paper counts walks.
The paper's layer is ReLU(W [x_i ‖ n_i] + b); here, it is added to x_i, so that training starts from
spectral vectors. The paper has no users. A user's walks visit each item of the history equally
often, so the pooling is a mean, and two small dense layers follow it, as they end the paper's
network. Past rows have the direction of candidate rows, so one table serves both.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch_geometric.nn import SimpleConv

from edgerec.learn import GNN, Graph, Lowered, Tables, array, bag, degree_of
from edgerec.plugin import Dataset, Op

__all__ = ["PinSage"]

#: The number of items from which walks start at a time.
_BLOCK = 256


class PinSage(GNN):
    """PinSage on the items, and the mean over histories.

    Args:
        n_users: number of users.
        n_items: number of items.
        dim: width of all states.
        layers: K, at least 1.
        neighbors: T, the number of neighbors per item.
    """

    normalization: ClassVar[float] = 1.0
    linear: ClassVar[bool] = False

    near: Tensor
    share: Tensor

    def __init__(self, n_users: int, n_items: int, dim: int, layers: int, neighbors: int) -> None:
        super().__init__()
        self.n_users, self.n_items, self.dim, self.layers = n_users, n_items, dim, layers
        self.neighbors = min(neighbors, n_items - 1)
        self.items = nn.Parameter(torch.randn(n_items, dim) * 0.1)
        self.users = None
        self.gate = nn.ModuleList(nn.Linear(dim, dim) for _ in range(layers + 1))
        self.own = nn.ModuleList(nn.Linear(dim, dim) for _ in range(layers))
        self.pooled = nn.ModuleList(nn.Linear(dim, dim, bias=False) for _ in range(layers + 1))
        self.sum, self.mean = SimpleConv(aggr="sum"), SimpleConv(aggr="mean")

    def attach(self, dataset: Dataset) -> None:
        """Find each item's neighbors, and their shares."""
        near, share = _most_visited(Graph(dataset.train, self.n_items), self.neighbors)
        # They follow from the interactions, so that files need not keep them.
        self.register_buffer("near", near, persistent=False)
        self.register_buffer("share", share, persistent=False)

    def start(self, vectors: Tensor, graph: Graph, popularity: float) -> None:
        """Start from given item vectors, to which the layers add nothing at first."""
        super().start(vectors, graph, popularity)
        for layer in (*self.own, *self.pooled):
            for parameter in layer.parameters():
                nn.init.zeros_(parameter)

    def forward(self, edge_index: Tensor | Graph) -> tuple[Tensor, Tensor]:
        """User and item vectors of the whole graph."""
        items = self._items(fused=isinstance(edge_index, Graph))
        if isinstance(edge_index, Graph):
            mean = edge_index.pool(items, self.normalization)
        else:
            state = torch.cat([items.new_zeros(self.n_users, self.dim), items])
            mean = self.mean(state, edge_index)[: self.n_users]
        degree = degree_of(edge_index, self.n_users, self.n_items)
        return self.user([mean]), self.readout(items, degree)

    def tables(self, graph: Graph) -> Tables:
        """The items' last states, for both."""
        items = self._items(fused=True)
        return Tables([items], items)

    def user(self, pooled: list[Tensor], own: Tensor | None = None) -> Tensor:
        """Two dense layers over the mean of the history."""
        mean, last = pooled[0], self.layers
        dense: Tensor = self.pooled[last](self.gate[last](mean).relu())
        return mean + dense

    def lower(self, graph: Graph) -> Lowered:
        """One table, what to multiply its rows by as past ones, and the dense layers."""
        items = self._items(fused=True)
        rows = self.readout(items, graph.item_degree)
        ratio = items.norm(dim=1, keepdim=True) / rows.norm(dim=1, keepdim=True)
        gate: Any = self.gate[self.layers]
        dense: Any = self.pooled[self.layers]
        constants = {
            "q": array(gate.weight.T),
            "b": array(gate.bias[None]),
            "w": array(dense.weight.T),
        }
        ops = (
            Op("Gather", ("items", "history"), "rows"),
            Op("Gather", ("past_scale", "history"), "row_scale"),
            Op("Mul", ("row_scale", "weights"), "scale"),
            Op("Mul", ("rows", "scale"), "weighted"),
            Op("ReduceSum", ("weighted",), "mean"),
            Op("Gemm", ("mean", "q", "b"), "gated"),
            Op("Relu", ("gated",), "hidden"),
            Op("MatMul", ("hidden", "w"), "dense"),
            Op("Add", ("mean", "dense"), "user"),
        )
        arrays = {"items": array(rows), "past_scale": array(ratio.nan_to_num(0.0))}
        return Lowered(arrays, constants, ops)

    def _items(self, fused: bool) -> Tensor:
        """The items' states after K layers."""
        items = self.vectors()
        for own, gate, pooled in zip(self.own, self.gate, self.pooled, strict=False):
            near = self._importance_pooling(gate(items).relu(), fused)
            items = F.normalize(items + own(items) + pooled(near), dim=1)
        return items

    def _importance_pooling(self, rows: Tensor, fused: bool) -> Tensor:
        """Sum the neighbors' rows by their shares."""
        near, share = self.near.flatten(), self.share.flatten()
        if fused:
            offsets = torch.arange(0, len(near) + 1, self.neighbors)
            return bag(rows, near, offsets, share)
        item = torch.arange(self.n_items).repeat_interleave(self.neighbors)
        result: Tensor = self.sum(rows, torch.stack([near, item]), share)
        return result


def _most_visited(graph: Graph, count: int) -> tuple[Tensor, Tensor]:
    """The items that walks from each item visit most, int64[n, count], and their shares."""
    near, share = [], []
    for first in range(0, graph.n_items, _BLOCK):
        start = torch.arange(first, min(first + _BLOCK, graph.n_items))
        here = torch.zeros(graph.n_items, len(start))
        here[start, torch.arange(len(start))] = 1 / graph.item_degree[start]
        visits = graph.back_and_forth(here, 0.5)
        visits[start, torch.arange(len(start))] = 0  # a return is no visit
        most, rows = visits.T.topk(count)
        near.append(rows)
        share.append(most / most.sum(1, keepdim=True).clamp(min=1e-12))
    return torch.cat(near), torch.cat(share)
