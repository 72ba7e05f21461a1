r"""NGCF: neighbors that agree with a node weigh more.

Wang et al., "Neural Graph Collaborative Filtering", SIGIR 2019. A message from i to u contains the
product of both, element by element:

    p_u^(k) = Σ_{i ∈ N(u)} x_i^(k) / √(|N(u)| |N(i)|)        (and the same for items)
    x_u^(k+1) = LeakyReLU(W_k (x_u^(k) + p_u^(k)) + V_k (x_u^(k) ⊙ p_u^(k)) + b_k)
    score(u, i) = [x_u^(1) ‖ … ‖ x_u^(K)] · [x_i^(1) ‖ … ‖ x_i^(K)]

Σ_i x_i ⊙ x_u = x_u ⊙ Σ_i x_i, so the user side, split off, is a sum of rows per layer, and small
dense layers after it. As in the authors' code, the state of each layer is scaled to unit length for
the product of the last line; the propagation goes on with the state itself.

Users start at zero, so a history is all that the model needs. The authors' x^(0) is left out of the
concatenation, because it would meet the users' zeros. W_k starts at the identity and V_k at zero,
so that training starts from propagated spectral vectors. There is no dropout.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edgerec.learn import GNN, Graph, Lowered, Tables, array, degree_of
from edgerec.plugin import F32, Op
from edgerec_families.lightgcn import FusedLGConv

__all__ = ["NGCF"]

#: The slope of LeakyReLU below zero, as in the authors' code.
_SLOPE = 0.2


class NGCF(GNN):
    """NGCF on the bipartite graph; its vectors are ``layers`` times ``dim`` wide.

    Args:
        n_users: number of users.
        n_items: number of items.
        dim: width of all states.
        layers: K, at least 1.
    """

    normalization: ClassVar[float] = 0.5
    linear: ClassVar[bool] = False

    def __init__(self, n_users: int, n_items: int, dim: int, layers: int) -> None:
        super().__init__()
        self.n_users, self.n_items, self.dim, self.layers = n_users, n_items, dim, layers
        self.items = nn.Parameter(torch.randn(n_items, dim) * 0.1)
        self.users = None
        self.conv = FusedLGConv()
        self.sum = nn.ModuleList(nn.Linear(dim, dim) for _ in range(layers))
        self.product = nn.ModuleList(nn.Linear(dim, dim, bias=False) for _ in range(layers))

    def start(self, vectors: Tensor, graph: Graph, popularity: float) -> None:
        """Start from given item vectors, which the layers do not change at first."""
        super().start(vectors, graph, popularity)
        for one, other in self._dense:
            nn.init.eye_(one.weight)
            nn.init.zeros_(one.bias)
            nn.init.zeros_(other.weight)

    def forward(self, edge_index: Tensor | Graph) -> tuple[Tensor, Tensor]:
        """User and item vectors after K layers on the whole graph."""
        whole = self._joined(self._states(edge_index)[1:])
        degree = degree_of(edge_index, self.n_users, self.n_items)
        return whole[: self.n_users], self.readout(whole[self.n_users :], degree)

    def tables(self, graph: Graph) -> Tables:
        """The items' states before each layer, and all after it side by side."""
        states = [state[self.n_users :] for state in self._states(graph)]
        scale = graph.item_degree[:, None] ** -0.5
        return Tables([state * scale for state in states[:-1]], self._joined(states[1:]))

    def user(self, pooled: list[Tensor], own: Tensor | None = None) -> Tensor:
        """Run K dense layers over the pooled histories."""
        states = [torch.zeros_like(pooled[0])]
        for k, part in enumerate(pooled):
            states.append(self._layer(k, states[-1], part))
        return self._joined(states[1:])

    def lower(self, graph: Graph) -> Lowered:
        """One past table per layer, with the dense layers as Gemm, MatMul and LeakyRelu."""
        tables = self.tables(graph)
        arrays = {f"past{k}": array(past) for k, past in enumerate(tables.past)}
        arrays["items"] = array(self.readout(tables.candidates, graph.item_degree))
        constants: dict[str, F32] = {}
        ops: list[Op] = []
        for k, (one, other) in enumerate(self._dense):
            constants |= {f"w{k}": array(one.weight.T), f"b{k}": array(one.bias[None])}
            ops += [
                Op("Gather", (f"past{k}", "history"), f"rows{k}"),
                Op("Mul", (f"rows{k}", "weights"), f"weighted{k}"),
                Op("ReduceSum", (f"weighted{k}",), f"pooled{k}"),
            ]
            if k == 0:
                ops.append(Op("Gemm", ("pooled0", "w0", "b0"), "dense0"))
            else:
                constants[f"v{k}"] = array(other.weight.T)
                ops += [
                    Op("Add", (f"state{k}", f"pooled{k}"), f"sum{k}"),
                    Op("Gemm", (f"sum{k}", f"w{k}", f"b{k}"), f"linear{k}"),
                    Op("Mul", (f"state{k}", f"pooled{k}"), f"product{k}"),
                    Op("MatMul", (f"product{k}", f"v{k}"), f"bilinear{k}"),
                    Op("Add", (f"linear{k}", f"bilinear{k}"), f"dense{k}"),
                ]
            unit = "user" if self.layers == 1 else f"unit{k + 1}"
            ops += [
                Op("LeakyRelu", (f"dense{k}",), f"state{k + 1}", {"alpha": _SLOPE}),
                Op("LpNormalization", (f"state{k + 1}",), unit),
            ]
        if self.layers > 1:
            ops.append(Op("Concat", tuple(f"unit{k + 1}" for k in range(self.layers)), "user"))
        return Lowered(arrays, constants, tuple(ops))

    @property
    def _dense(self) -> list[tuple[Any, Any]]:
        return list(zip(self.sum, self.product, strict=True))

    def _states(self, edge_index: Tensor | Graph) -> list[Tensor]:
        users = self.items.new_zeros(self.n_users, self.dim)
        states = [torch.cat([users, self.vectors()])]
        for k in range(self.layers):
            states.append(self._layer(k, states[-1], self.conv(states[-1], edge_index)))
        return states

    def _layer(self, k: int, state: Tensor, pooled: Tensor) -> Tensor:
        one, other = self._dense[k]
        return F.leaky_relu(one(state + pooled) + other(state * pooled), _SLOPE)

    def _joined(self, states: list[Tensor]) -> Tensor:
        return torch.cat([F.normalize(state, dim=1) for state in states], 1)
