r"""GAT: each neighbor has a weight of its own.

Veličković et al., "Graph Attention Networks", ICLR 2018, on the bipartite graph, in rounds from
items to users and back. With h_j = W x_j, for each head,

    GAT(x)_u = Σ_{i ∈ N(u)} α_i h_i + b,    α = softmax_{i ∈ N(u)}(LeakyReLU(a · h_i))
    z_u^(k) = ELU(GAT_k(x^(k))_u),    x_i^(k+1) = x_i^(k) + ELU(GAT'_k(z^(k))_i)
    u = GAT_K(x^(K))_u,    score(u, i) = u · x_i^(K)

Users have no vector before they attend to their items, so there is nothing of u in α_i before it is
normalized: an item says the same about each user, relative to the user's other items. Then a
softmax is a quotient of two sums, Σ exp(l_i) h_i / Σ exp(l_i), and training adds up the rows
[exp(l_i) h_i ‖ exp(l_i)] of one matrix. The way back from users to items is computed likewise. A
device has h and l in tables, and takes the softmax over the history itself. W starts at the
identity and a at zero, so training starts from means of spectral vectors.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch_geometric.nn import GATConv

from edgerec.learn import GNN, Graph, Lowered, Tables, array, degree_of
from edgerec.plugin import Op

__all__ = ["GAT"]

#: PyG adds this to a softmax's denominator. Histories without items then have a vector, too.
_LEAST = 1e-16


class _FusedGATConv(GATConv):  # type: ignore[misc]  # torch-geometric has no types
    """PyG's GATConv without a vector of the target, which uses the fast products on a Graph."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__(dim, dim // heads, heads, add_self_loops=False)

    def start(self) -> None:
        """Pass rows on unchanged, all with the same weight."""
        nn.init.eye_(self.lin.weight)
        nn.init.zeros_(self.att_src)

    def terms(self, x: Tensor) -> Tensor:
        """The two terms of the quotient side by side: float[n, dim + heads]."""
        rows, logits = self.values(x)
        shares = logits.exp()
        return torch.cat([(rows * shares[..., None]).flatten(1), shares], 1)

    def values(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Rows float[n, heads, dim / heads] and logits float[n, heads], at most 0."""
        rows = self.lin(x).view(-1, self.heads, self.out_channels)
        logits = F.leaky_relu((rows * self.att_src).sum(-1), self.negative_slope)
        # The same factor in both sums of the quotient, so that none overflows.
        return rows, logits - logits.amax(0, keepdim=True).detach()

    def quotient(self, pooled: Tensor) -> Tensor:
        """What attention gives for pooled terms, float[B, dim + heads]: float[B, dim]."""
        dim = self.heads * self.out_channels
        shares = pooled[:, dim:].repeat_interleave(self.out_channels, 1)
        result: Tensor = pooled[:, :dim] / (shares + _LEAST) + self.bias
        return result


class GAT(GNN):
    """GAT on the bipartite graph.

    Args:
        n_users: number of users.
        n_items: number of items.
        dim: width of all states.
        layers: K, rounds from items to users and back, at least 1.
        heads: the number of attention heads, a divisor of ``dim``.
    """

    normalization: ClassVar[float] = 0.0
    linear: ClassVar[bool] = False

    def __init__(self, n_users: int, n_items: int, dim: int, layers: int, heads: int) -> None:
        super().__init__()
        self.n_users, self.n_items, self.dim = n_users, n_items, dim
        self.layers, self.heads = layers, heads
        self.items = nn.Parameter(torch.randn(n_items, dim) * 0.1)
        self.users = None
        self.to_user = nn.ModuleList(_FusedGATConv(dim, heads) for _ in range(layers + 1))
        self.to_item = nn.ModuleList(_FusedGATConv(dim, heads) for _ in range(layers))

    def start(self, vectors: Tensor, graph: Graph, popularity: float) -> None:
        """Start from given item vectors and their means."""
        super().start(vectors, graph, popularity)
        for conv in (*self.to_user, *self.to_item):
            conv.start()

    def forward(self, edge_index: Tensor | Graph) -> tuple[Tensor, Tensor]:
        """User and item vectors of the whole graph."""
        items = self._items(edge_index)
        degree = degree_of(edge_index, self.n_users, self.n_items)
        return self._attend(self.layers, items, edge_index), self.readout(items, degree)

    def tables(self, graph: Graph) -> Tables:
        """The terms of the last softmax, and the items' last states."""
        items = self._items(graph)
        return Tables([self._last.terms(items)], items)

    def user(self, pooled: list[Tensor], own: Tensor | None = None) -> Tensor:
        """Attention over the history, as a quotient of sums."""
        result: Tensor = self._last.quotient(pooled[0])
        return result

    def lower(self, graph: Graph) -> Lowered:
        """Rows, logits in a table of their own, and a softmax.

        Shares in a table differ by orders of magnitude, which no integers hold; logits do not.
        """
        dim, heads, items = self.dim, self.heads, self._items(graph)
        rows, logits = self._last.values(items)
        arrays = {
            "past": array(rows.flatten(1)),
            "attention": array(logits),
            "items": array(self.readout(items, graph.item_degree)),
        }
        constants = {
            "each": array(torch.eye(heads).repeat_interleave(dim // heads, 1)),
            "least": array(torch.full((1, 1), _LEAST)),
            "bias": array(self._last.bias[None]),
        }
        ops = (
            Op("Gather", ("past", "history"), "rows"),
            Op("Gather", ("attention", "history"), "logits"),
            Op("Add", ("logits", "mask"), "masked"),
            Op("Softmax", ("masked",), "attended"),
            Op("Mul", ("attended", "weights"), "weighted"),
            Op("MatMul", ("weighted", "each"), "shares"),
            Op("Mul", ("rows", "shares"), "terms"),
            Op("ReduceSum", ("terms",), "sums"),
            Op("ReduceSum", ("shares",), "share"),
            Op("Add", ("share", "least"), "total"),
            Op("Div", ("sums", "total"), "mean"),
            Op("Add", ("mean", "bias"), "user"),
        )
        return Lowered(arrays, constants, ops)

    @property
    def _last(self) -> Any:
        return self.to_user[self.layers]

    def _items(self, edge_index: Tensor | Graph) -> Tensor:
        """The items' states after K rounds."""
        items = self.vectors()
        for k in range(self.layers):
            users = F.elu(self._attend(k, items, edge_index))
            items = items + F.elu(self._return(k, users, edge_index))
        return items

    def _attend(self, k: int, items: Tensor, edge_index: Tensor | Graph) -> Tensor:
        """Users attend to their items."""
        conv: Any = self.to_user[k]
        if isinstance(edge_index, Graph):
            result: Tensor = conv.quotient(edge_index.pool(conv.terms(items), 0.0))
            return result
        state = torch.cat([items.new_zeros(self.n_users, self.dim), items])
        found: Tensor = conv((state, None), edge_index)
        return found[: self.n_users]

    def _return(self, k: int, users: Tensor, edge_index: Tensor | Graph) -> Tensor:
        """Items attend to their users."""
        conv: Any = self.to_item[k]
        if isinstance(edge_index, Graph):
            terms = F.pad(conv.terms(users), (0, 0, 0, self.n_items))
            result: Tensor = conv.quotient(edge_index.mean(terms)[self.n_users :])
            return result
        state = torch.cat([users, users.new_zeros(self.n_items, self.dim)])
        found: Tensor = conv((state, None), edge_index)
        return found[self.n_users :]
