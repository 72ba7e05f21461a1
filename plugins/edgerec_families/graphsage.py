r"""GraphSAGE: the mean of the neighbors, then a dense layer.

Hamilton, Ying, Leskovec, "Inductive Representation Learning on Large Graphs", NeurIPS
2017, on the bipartite graph, with separate weights for each direction:

    h_u^(k+1) = σ(W_k · mean_{i ∈ N(u)} h_i^(k) + b_k + V_k h_u^(k))
    h_i^(k+1) = σ(W'_k · mean_{u ∈ N(i)} h_u^(k) + b'_k + V'_k h_i^(k))
    score(u, i) = h_u^(K) · h_i^(K)

σ is ReLU, and the identity in the last layer. Users start at zero, so a history is all that the
model needs. The user side, split off, reads the items' states h_i^(0..K-1) as past tables: the mean
of each over the history, followed by K small dense layers.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch_geometric.nn import SAGEConv

from edgerec.learn import GNN, Graph, Lowered, Tables, array, degree_of
from edgerec.plugin import F32, Op

__all__ = ["GraphSAGE"]


class _FusedSAGEConv(SAGEConv):  # type: ignore[misc]  # torch-geometric has no types
    """PyG's SAGEConv, which uses the fast sparse product on a Graph."""

    def propagate(self, edge_index: Tensor | Graph, *args: Any, **kwargs: Any) -> Tensor:
        """The mean over the neighbors."""
        if isinstance(edge_index, Graph):
            return edge_index.mean(kwargs["x"][0])
        result: Tensor = super().propagate(edge_index, *args, **kwargs)
        return result


class GraphSAGE(GNN):
    """GraphSAGE on the bipartite graph.

    Args:
        n_users: number of users.
        n_items: number of items.
        dim: width of all states.
        layers: K, at least 1.
    """

    normalization: ClassVar[float] = 1.0
    linear: ClassVar[bool] = False

    def __init__(self, n_users: int, n_items: int, dim: int, layers: int) -> None:
        super().__init__()
        self.n_users, self.n_items, self.dim, self.layers = n_users, n_items, dim, layers
        self.items = nn.Parameter(torch.randn(n_items, dim) * 0.1)
        self.users = None
        self.to_user = nn.ModuleList(_FusedSAGEConv(dim, dim) for _ in range(layers))
        self.to_item = nn.ModuleList(_FusedSAGEConv(dim, dim) for _ in range(layers))

    def forward(self, edge_index: Tensor | Graph) -> tuple[Tensor, Tensor]:
        """User and item vectors after K layers on the whole graph."""
        state = self._start()
        for k in range(self.layers):
            state = self._layer(k, state, edge_index)
        degree = degree_of(edge_index, self.n_users, self.n_items)
        return state[: self.n_users], self.readout(state[self.n_users :], degree)

    def tables(self, graph: Graph) -> Tables:
        """The items' states before each layer and after the last one."""
        state, past = self._start(), []
        for k in range(self.layers):
            past.append(state[self.n_users :])
            state = self._layer(k, state, graph)
        return Tables(past, state[self.n_users :])

    def user(self, pooled: list[Tensor], own: Tensor | None = None) -> Tensor:
        """Run K dense layers over the pooled histories."""
        state = torch.zeros_like(pooled[0])
        for k, mean in enumerate(pooled):
            conv = self._convs[k]
            state = self._activate(k, conv.lin_l(mean) + conv.lin_r(state))
        return state

    def lower(self, graph: Graph) -> Lowered:
        """One past table per layer, with the dense layers as Gemm, MatMul and Relu."""
        tables = self.tables(graph)
        arrays = {f"past{k}": array(past) for k, past in enumerate(tables.past)}
        arrays["items"] = array(self.readout(tables.candidates, graph.item_degree))
        constants: dict[str, F32] = {}
        ops: list[Op] = []
        state = ""
        for k, conv in enumerate(self._convs):
            last = k == self.layers - 1
            constants |= {
                f"w{k}": array(conv.lin_l.weight.T),
                f"b{k}": array(conv.lin_l.bias[None]),
            }
            ops += [
                Op("Gather", (f"past{k}", "history"), f"rows{k}"),
                Op("Mul", (f"rows{k}", "weights"), f"weighted{k}"),
                Op("ReduceSum", (f"weighted{k}",), f"mean{k}"),
            ]
            out = "user" if last and not state else f"dense{k}"
            if k == 0:
                ops.append(Op("Gemm", (f"mean{k}", f"w{k}", f"b{k}"), out))
            else:
                constants[f"v{k}"] = array(conv.lin_r.weight.T)
                out = "user" if last else f"sum{k}"
                ops += [
                    Op("Gemm", (f"mean{k}", f"w{k}", f"b{k}"), f"dense{k}"),
                    Op("MatMul", (state, f"v{k}"), f"own{k}"),
                    Op("Add", (f"dense{k}", f"own{k}"), out),
                ]
            if not last:
                ops.append(Op("Relu", (out,), f"state{k}"))
                state = f"state{k}"
        return Lowered(arrays, constants, tuple(ops))

    @property
    def _convs(self) -> list[Any]:
        return list(self.to_user)

    def _start(self) -> Tensor:
        return torch.cat([self.items.new_zeros(self.n_users, self.dim), self.vectors()])

    def _layer(self, k: int, state: Tensor, edge_index: Tensor | Graph) -> Tensor:
        """One round in both directions: the edges contain both, and each conv uses its own rows."""
        to_user = self.to_user[k](state, edge_index)[: self.n_users]
        to_item = self.to_item[k](state, edge_index)[self.n_users :]
        return self._activate(k, torch.cat([to_user, to_item]))

    def _activate(self, k: int, x: Tensor) -> Tensor:
        return x if k == self.layers - 1 else x.relu()
