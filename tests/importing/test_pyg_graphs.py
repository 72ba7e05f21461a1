"""Graphs of torch-geometric: their types of nodes, what users start with, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch_geometric import nn as pyg
from torch_geometric.data import Data, HeteroData
from torch_geometric.transforms import ToUndirected

import edgerec
from edgerec.errors import ModelError
from edgerec.model.oracle import Oracle
from tests.rigs.pyg import (
    BOTH,
    DATA,
    EDGES,
    HISTORIES,
    PAIRS,
    STATES,
    D,
    H,
    Layers,
    N,
    U,
)


def hetero(**nodes: Any) -> HeteroData:
    data = HeteroData()
    data["user"].x = nodes.get("user", torch.ones(U, 3))
    data["film"].x = STATES[U:]
    data["user", "saw", "film"].edge_index = PAIRS
    found: HeteroData = ToUndirected()(data)
    return found


class ByType(nn.Module):
    """A convolution per type of edges."""

    def __init__(self, data: HeteroData) -> None:
        super().__init__()
        convs = [
            {
                kind: pyg.GATConv((-1, -1), 4, heads=2, add_self_loops=False)
                for kind in data.edge_types
            }
            for _ in range(2)
        ]
        self.convs = nn.ModuleList(pyg.HeteroConv(one) for one in convs)
        with torch.no_grad():
            self(data.x_dict, data.edge_index_dict)

    def forward(self, x_dict: Any, edge_index_dict: Any) -> Any:
        """All layers."""
        for conv in self.convs:
            x_dict = {name: x.relu() for name, x in conv(x_dict, edge_index_dict).items()}
        return x_dict


@pytest.mark.parametrize("kind", ["HeteroConv", "to_hetero"])
@pytest.mark.parametrize("features", [False, True])
def test_heterogeneous_graphs(kind: str, features: bool) -> None:
    """Users with features of their own have an input; those that all start the same have none."""
    torch.manual_seed(0)
    data = hetero(user=torch.randn(U, 5)) if features else hetero()
    if kind == "HeteroConv":
        model: Any = ByType(data)
    else:
        plain = pyg.GraphSAGE((-1, -1), D, 2, out_channels=D)
        model = pyg.to_hetero(plain, data.metadata(), aggr="sum")
        with torch.no_grad():
            model(data.x_dict, data.edge_index_dict)
    found = edgerec.from_pyg(model, data, ids=range(N), item="film", history_length=H)
    assert found.inputs == ({"context": 5} if features else {})
    with torch.no_grad():
        users = model.eval()(data.x_dict, data.edge_index_dict)["user"]
    oracle = Oracle(found)
    for user in (0, 7, 21):
        history, weights = oracle.pad(HISTORIES[user][:H])
        own = {name: data["user"].x[user : user + 1].numpy() for name in found.inputs}
        vector = oracle.encode(history[None], weights[None], **own)[0]
        if len(HISTORIES[user]) <= H:
            assert np.allclose(vector, users[user], rtol=1e-3, atol=1e-5)


def test_what_users_start_with_can_be_predicted() -> None:
    """Where it follows from the history, the prediction is nearly as good."""
    rows = STATES[U:]
    own = torch.stack([rows[past].sum(0) / len(past) ** 0.5 for past in HISTORIES])
    data = Data(x=torch.cat([own, rows]), edge_index=BOTH)
    torch.manual_seed(0)
    model = Layers(pyg.SAGEConv(D, D), pyg.SAGEConv(D, D))
    options: Any = {"ids": range(N), "users": U, "history_length": H + 3}
    found = edgerec.from_pyg(model, data, predict_start=True, **options)
    assert found.inputs == {}
    assert found.metadata["fold_in"]["overlap"] > 0.95
    shuffled = Data(x=torch.cat([own.flip(0), rows]), edge_index=BOTH)
    other = edgerec.from_pyg(model, shuffled, predict_start=True, **options)
    assert other.metadata["fold_in"]["overlap"] < 0.9


class AllNodes(Layers):
    """A norm over all nodes, which a device does not have."""

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        """One layer, and less the mean of all nodes."""
        h = self.convs[0](x, edge_index)
        return h - h.mean(0, keepdim=True)


class Weighted(nn.Module):
    """A weight per edge."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = pyg.GraphConv(D, D)

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        """One layer."""
        return self.conv(x, edge_index, torch.ones(edge_index.shape[1]))


class Again(Layers):
    """A convolution that reads the first states again."""

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        """One layer."""
        return self.convs[0](x, x, edge_index)


class Sparse(nn.Module):
    """Messages that no convolution passes."""

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        """One layer."""
        ones = torch.ones(edge_index.shape[1])
        size = [len(x)] * 2
        return torch.sparse_coo_tensor(edge_index, ones, size, check_invariants=False) @ x


class Pair(nn.Module):
    """Scores instead of states."""

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        """A score per edge."""
        return (x[edge_index[0]] * x[edge_index[1]]).sum(1)


REFUSED: dict[str, tuple[Any, Any, dict[str, Any], str]] = {
    "all nodes": (
        lambda: AllNodes(pyg.SAGEConv(D, D)),
        DATA,
        {"users": U},
        "on the user's own items alone, it computes other user vectors than on the whole graph",
    ),
    "edge weights": (Weighted, DATA, {"users": U}, "GraphConv reads edge_weight; only"),
    "the first states": (
        lambda: Again(pyg.GCN2Conv(D, 0.1)),
        DATA,
        {"users": U},
        "GCN2Conv reads x_0; only",
    ),
    "a sparse product": (
        Sparse,
        DATA,
        {"users": U},
        "no MessagePassing module sends anything .* import the rows with fold_in",
    ),
    "scores": (Pair, DATA, {"users": U}, r"expected the states of all nodes.*got the shape"),
    "two hops in one": (
        lambda: Layers(pyg.SGConv(D, D, K=2)),
        DATA,
        {"users": U},
        "items have no neighbors on a star",
    ),
    "one direction": (
        lambda: Layers(pyg.SAGEConv(D, D)),
        Data(x=STATES, edge_index=EDGES),
        {"users": U},
        "has no edge from an item to a user; .*ToUndirected",
    ),
    "no users": (lambda: Layers(pyg.SAGEConv(D, D)), DATA, {}, "users: expected the number of"),
    "other users": (
        lambda: Layers(pyg.SAGEConv(D, D)),
        DATA,
        {"users": [0, 500]},
        f"users: expected some of the {U + N} nodes",
    ),
    "short histories": (
        lambda: Layers(pyg.SAGEConv(D, D)),
        Data(x=STATES, edge_index=BOTH[:, BOTH[1] != -1]),
        {"users": [max(range(U), key=lambda u: len(HISTORIES[u]))], "history_length": 2},
        "no user has at most 2 items",
    ),
    "ids": (
        lambda: Layers(pyg.SAGEConv(D, D)),
        DATA,
        {"users": U, "ids": range(N - 1)},
        "the states of items: expected 69 rows, one per id, got 70",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_imported_says_why(case: str) -> None:
    make, data, options, message = REFUSED[case]
    given = {"ids": range(N), "history_length": H + 3} | options
    if case == "short histories":
        given["ids"] = range(U + N - 1)
    with pytest.raises(ModelError, match=message):
        edgerec.from_pyg(make(), data, **given)
