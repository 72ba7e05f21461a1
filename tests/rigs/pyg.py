"""A small graph of users and items, and networks of torch-geometric on it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch_geometric import nn as pyg
from torch_geometric.data import Data
from torch_geometric.utils import degree

import edgerec
from edgerec.model.device_model import DeviceModel

__all__ = [
    "BOTH",
    "DATA",
    "EDGES",
    "HISTORIES",
    "MODELS",
    "PAIRS",
    "STATES",
    "D",
    "H",
    "Layers",
    "N",
    "U",
    "made",
    "states_of",
]

U, N, D, H = 40, 70, 8, 12
RNG = np.random.default_rng(0)
HISTORIES = [RNG.choice(N, RNG.integers(1, H + 3), replace=False) for _ in range(U)]
PAIRS = torch.tensor([(u, i) for u, past in enumerate(HISTORIES) for i in past.tolist()]).T
EDGES = torch.stack([PAIRS[0], PAIRS[1] + U])
BOTH = torch.cat([EDGES, EDGES.flip(0)], 1)
STATES = torch.from_numpy(RNG.normal(size=(U + N, D)).astype(np.float32))
DATA = Data(x=STATES, edge_index=BOTH)


class Layers(nn.Module):
    """Convolutions with an activation, a norm and residuals between them."""

    def __init__(self, *convs: nn.Module, act: Any = torch.relu, more: bool = False) -> None:
        super().__init__()
        self.convs, self.act = nn.ModuleList(convs), act
        self.norms = nn.ModuleList(nn.BatchNorm1d(D) for _ in convs if more)
        for norm in self.norms:
            norm.running_mean.normal_()
            norm.running_var.uniform_(0.5, 2)

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        """All layers."""
        for k, conv in enumerate(self.convs):
            h = conv(x, edge_index)
            if self.norms:
                h = x + self.norms[k](h)
            x = self.act(h) if k < len(self.convs) - 1 else h
        return x


class NGCFConv(pyg.MessagePassing):
    """Neural graph collaborative filtering, with degrees computed as most people do."""

    def __init__(self) -> None:
        super().__init__(aggr="add")
        self.w1, self.w2 = nn.Linear(D, D), nn.Linear(D, D)

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        """One layer."""
        row, col = edge_index
        root = degree(col, x.size(0), dtype=x.dtype).pow(-0.5)
        root[root == float("inf")] = 0
        norm = root[row] * root[col]
        return nn.functional.leaky_relu(self.propagate(edge_index, x=x, norm=norm) + self.w1(x))

    def message(self, x_j: Tensor, x_i: Tensor, norm: Tensor) -> Tensor:
        """What an edge carries."""
        return norm.view(-1, 1) * (self.w1(x_j) + self.w2(x_j * x_i))


class NGCF(nn.Module):
    """A model that holds the rows of users and items itself, and splits all nodes into them."""

    def __init__(self) -> None:
        super().__init__()
        self.user_rows, self.item_rows = nn.Embedding(U, D), nn.Embedding(N, D)
        self.convs = nn.ModuleList([NGCFConv(), NGCFConv()])

    def forward(self, edge_index: Tensor) -> Any:
        """All layers, side by side."""
        x = torch.cat([self.user_rows.weight, self.item_rows.weight])
        states = [x]
        for conv in self.convs:
            x = conv(x, edge_index)
            states.append(nn.functional.normalize(x, dim=1))
        return torch.split(torch.cat(states, 1), [U, N])


def elu(*convs: nn.Module) -> Layers:
    return Layers(*convs, act=nn.functional.elu)


MODELS: dict[str, Callable[[], nn.Module]] = {
    "sage mean": lambda: Layers(pyg.SAGEConv(D, D), pyg.SAGEConv(D, D), more=True),
    "sage max": lambda: Layers(pyg.SAGEConv(D, D, aggr="max"), pyg.SAGEConv(D, D, aggr="min")),
    "sage lists": lambda: Layers(pyg.SAGEConv(D, D, aggr=["mean", "max", "softmax"])),
    "sage unit": lambda: Layers(pyg.SAGEConv(D, D, normalize=True, project=True)),
    "gat": lambda: elu(pyg.GATConv(D, D), pyg.GATConv(D, D)),
    "gat heads": lambda: elu(pyg.GATConv(D, 4, heads=2), pyg.GATConv(D, D, heads=3, concat=False)),
    "gat apart": lambda: elu(pyg.GATConv(D, 4, heads=2, add_self_loops=False)),
    "gatv2": lambda: elu(pyg.GATv2Conv(D, 4, heads=2, residual=True), pyg.GATv2Conv(D, D)),
    "transformer": lambda: Layers(pyg.TransformerConv(D, 4, heads=2, beta=True)),
    "gcn": lambda: Layers(pyg.GCNConv(D, D), pyg.GCNConv(D, D, add_self_loops=False)),
    "gin": lambda: Layers(pyg.GINConv(nn.Sequential(nn.Linear(D, D), nn.ReLU()), train_eps=True)),
    "graphconv": lambda: Layers(pyg.GraphConv(D, D), pyg.GraphConv(D, D, aggr="mean")),
    "edgeconv": lambda: Layers(pyg.EdgeConv(nn.Linear(2 * D, D))),
    "gated": lambda: Layers(pyg.ResGatedGraphConv(D, D)),
    "lgconv": lambda: Layers(pyg.LGConv(), pyg.LGConv(), act=lambda x: x),
    "lightgcn": lambda: pyg.LightGCN(U + N, D, 3),
    "ngcf": NGCF,
    "library": lambda: pyg.GAT(D, D, 2, out_channels=D, heads=2, v2=True, jk="cat"),
}


def made(name: str, **options: Any) -> tuple[nn.Module, Data, DeviceModel]:
    """A model, its graph and what is imported of them."""
    torch.manual_seed(1)
    model = MODELS[name]()
    own = name in ("lightgcn", "ngcf")
    data = Data(edge_index=BOTH, num_nodes=U + N) if own else DATA
    method = "get_embedding" if name == "lightgcn" else "forward"
    given = {"ids": range(N), "users": U, "history_length": H, "method": method}
    return model, data, edgerec.from_pyg(model, data, **(given | options))


def states_of(model: nn.Module, data: Data) -> Any:
    with torch.no_grad():
        if isinstance(model, pyg.LightGCN):
            return model.get_embedding(data.edge_index)
        return model(data.edge_index) if data.x is None else model(data.x, data.edge_index)
