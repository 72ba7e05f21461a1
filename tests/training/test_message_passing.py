"""The layers of families, against PyG's own layers and their equations worked out by hand."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from torch_geometric.nn import GATConv

from edgerec.contracts.family import Family
from edgerec.data.dataset import Dataset
from edgerec.data.interactions import Interactions
from edgerec.model.items import Items
from edgerec.training.graph import Graph
from edgerec.training.options import TrainOptions
from edgerec.training.trained import make_gnn
from edgerec_families import GAT, NGCF, Knowledge, PinSage, Social
from edgerec_families.pinsage import _most_visited

#: Three users: (a, b), (b, c) and (b, c, d).
SMALL = Dataset(
    "small",
    ["u", "v", "w"],
    Items.of(list("abcd")),
    Interactions.of_pairs(np.array([0, 0, 1, 1, 2, 2, 2]), np.array([0, 1, 1, 2, 1, 2, 3]), 3),
    triples=np.array([[0, 0, 0], [0, 1, 1], [1, 0, 0], [2, 1, 1], [2, 0, 2]], np.int32),
    friends=np.array([[0, 1], [0, 2], [1, 0], [2, 0]], np.int32),
)


def network(family: Family, dataset: Dataset = SMALL) -> tuple[Any, Graph]:
    """A network of random numbers, and its graph."""
    torch.manual_seed(0)
    graph = Graph(dataset.train, len(dataset.items))
    gnn: Any = make_gnn(family, graph, TrainOptions(model=family.name, dim=4), dataset)
    with torch.no_grad():
        for parameter in gnn.parameters():
            parameter.copy_(torch.randn_like(parameter))
    return gnn, graph


def adjacency(dataset: Dataset = SMALL) -> torch.Tensor:
    """float[users, items]."""
    found = torch.zeros(len(dataset.users), len(dataset.items))
    user, item = dataset.train.users, dataset.train.items
    found[user.tolist(), item.tolist()] = 1
    return found


@torch.no_grad()
def test_ngcf_is_its_equation() -> None:
    gnn, graph = network(NGCF(layers=2))
    r = adjacency()
    normalized = r / r.sum(1, keepdim=True).sqrt() / r.sum(0, keepdim=True).sqrt()
    user, item = torch.zeros(3, 4), gnn.items
    users, items = [], []
    for one, other in zip(gnn.sum, gnn.product, strict=True):
        to_user, to_item = normalized @ item, normalized.T @ user
        # As the paper has it: a message from each neighbor, and one from the node itself.
        user, item = (
            F.leaky_relu(
                x @ one.weight.T + p @ one.weight.T + (x * p) @ other.weight.T + one.bias, 0.2
            )
            for x, p in ((user, to_user), (item, to_item))
        )
        users.append(F.normalize(user, dim=1))
        items.append(F.normalize(item, dim=1))
    found = gnn(graph.edge_index)
    assert torch.allclose(found[0], torch.cat(users, 1), atol=1e-5)
    assert torch.allclose(found[1], torch.cat(items, 1), atol=1e-5)


@torch.no_grad()
def test_gat_is_the_attention_of_pyg() -> None:
    gnn, graph = network(GAT(layers=1, heads=2))
    user, item = SMALL.train.users.astype(np.int64), SMALL.train.items.astype(np.int64)
    forth = torch.from_numpy(np.stack([item, user]))

    def attend(ours: Any, x: torch.Tensor, edges: torch.Tensor, size: int) -> torch.Tensor:
        theirs = GATConv(4, 2, 2, add_self_loops=False)
        theirs.load_state_dict(ours.state_dict())
        found: torch.Tensor = theirs((x, None), edges, size=(len(x), size))
        return found

    users = F.elu(attend(gnn.to_user[0], gnn.items, forth, 3))
    items = gnn.items + F.elu(attend(gnn.to_item[0], users, forth.flip(0), 4))
    expected = attend(gnn.to_user[1], items, forth, 3)
    for form in (graph, graph.edge_index):
        found = gnn(form)
        assert torch.allclose(found[0], expected, atol=1e-4)
        assert torch.allclose(found[1], items, atol=1e-4)


@torch.no_grad()
def test_attention_survives_large_logits(dataset: Dataset) -> None:
    gnn, graph = network(GAT(heads=1), dataset)
    gnn.items.mul_(30)
    for form in (graph, graph.edge_index):
        assert all(bool(part.isfinite().all()) for part in gnn(form))


@torch.no_grad()
def test_pinsage_visits_what_random_walks_visit() -> None:
    r = adjacency()
    walks = (r.T / r.sum(0)[:, None]) @ (r / r.sum(1, keepdim=True))
    walks.fill_diagonal_(0)
    near, share = _most_visited(Graph(SMALL.train, 4), 2)
    assert near[0, 0] == 1  # only one user has a, and b besides
    assert share[0].tolist() == [1, 0]
    assert near[1].tolist() == [2, 0]
    most, _ = walks.topk(2, 1)
    assert torch.allclose(share, most / most.sum(1, keepdim=True))


@torch.no_grad()
def test_pinsage_is_its_equation() -> None:
    gnn, graph = network(PinSage(layers=1, neighbors=3))
    r = adjacency()
    walks = (r.T / r.sum(0)[:, None]) @ (r / r.sum(1, keepdim=True))
    walks.fill_diagonal_(0)
    walks /= walks.sum(1, keepdim=True)
    near = walks @ gnn.gate[0](gnn.items).relu()
    items = F.normalize(gnn.items + gnn.own[0](gnn.items) + gnn.pooled[0](near), dim=1)
    mean = r @ items / r.sum(1, keepdim=True)
    users = mean + gnn.pooled[1](gnn.gate[1](mean).relu())
    for form in (graph, graph.edge_index):
        found = gnn(form)
        assert torch.allclose(found[0], users, atol=1e-5)
        assert torch.allclose(found[1], items, atol=1e-5)


@torch.no_grad()
def test_facts_add_up_by_their_rarity() -> None:
    gnn, _ = network(Knowledge(heads=1))
    found = gnn.vectors() - gnn.items
    entity, relation = gnn.entities, gnn.relations
    # Entities 0 and 1 are each in two facts of four items' worth; entity 2 is in one.
    common, rare = np.log(4 / 2), np.log(4 / 1)
    expected = torch.stack(
        [
            (relation[0] * entity[0] + relation[1] * entity[1]) / 2**0.5,
            relation[0] * entity[0],
            (common * relation[1] * entity[1] + rare * relation[0] * entity[2])
            / np.hypot(common, rare),
            torch.zeros(4),  # nothing is known of d
        ]
    )
    assert torch.allclose(found, expected, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("layers", [1, 2])
def test_friends_add_their_mean(layers: int) -> None:
    gnn, graph = network(Social(layers=layers, weight=0.5))
    own = graph.pool(gnn.tables(graph).past[0], 0.5)
    expected = own + 0.5 * torch.stack([(own[1] + own[2]) / 2, own[0], own[0]])
    for form in (graph, graph.edge_index):
        assert torch.allclose(gnn(form)[0], expected, atol=1e-5)
    alone = dataclasses.replace(SMALL, friends=np.array([[0, 1], [1, 0]], np.int32))
    gnn, graph = network(Social(layers=layers), alone)
    assert not gnn.users[2].any()
