"""The fast products on a Graph have the gradients of PyG's message passing."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from edgerec.data.dataset import Dataset
from edgerec.training.graph import Graph
from edgerec.training.options import TrainOptions
from edgerec.training.trained import make_gnn
from tests.conftest import make_dataset

SPECS = [
    "historygcn",
    "historygcn:tied=false",
    "lightgcn:layers=2",
    "lightgcn:layers=2,user_embedding=true",
    "graphsage:layers=2",
    "ngcf:layers=2",
    "gat:layers=1",
    "pinsage:layers=2",
    "knowledge",
    "social",
]


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return make_dataset()


def network(spec: str, dataset: Dataset) -> tuple[Any, Graph]:
    """A network of random numbers, and its graph."""
    torch.manual_seed(0)
    options, graph = TrainOptions(model=spec, dim=8), Graph(dataset.train, len(dataset.items))
    gnn: Any = make_gnn(options.family(), graph, options, dataset)
    with torch.no_grad():
        for parameter in gnn.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    gnn.popularity = 0.1
    return gnn, graph


def slopes(gnn: Any, *outputs: Tensor) -> list[Tensor]:
    """The gradients of the sum of the outputs' entries, each with a random weight."""
    generator = torch.Generator().manual_seed(1)
    total = sum((part * torch.randn(part.shape, generator=generator)).sum() for part in outputs)
    return list(torch.autograd.grad(total, list(gnn.parameters()), materialize_grads=True))


def alike(found: list[Tensor], expected: list[Tensor]) -> bool:
    """Whether gradients are equal within the precision of float32."""
    steepest = max(float(slope.abs().max()) for slope in expected)
    return steepest > 0 and all(
        torch.allclose(ours, theirs, atol=1e-4 * steepest, rtol=1e-3)
        for ours, theirs in zip(found, expected, strict=True)
    )


@pytest.mark.parametrize("spec", SPECS)
def test_gradients_are_those_of_pyg(spec: str, dataset: Dataset) -> None:
    gnn, graph = network(spec, dataset)
    assert alike(slopes(gnn, *gnn(graph)), slopes(gnn, *gnn(graph.edge_index)))


@pytest.mark.parametrize("spec", SPECS)
def test_rows_of_some_items_are_those_of_all(spec: str, dataset: Dataset) -> None:
    gnn, graph = network(spec, dataset)
    chosen = torch.tensor([5, 0, 7, 5])
    tables, part = gnn.tables(graph), gnn.rows(graph, chosen)
    whole = [past[chosen] for past in tables.past]
    whole.append(gnn.readout(tables.candidates, graph.item_degree)[chosen])
    some = [*part.past, part.candidates]
    for ours, theirs in zip(some, whole, strict=True):
        assert torch.allclose(ours, theirs, atol=1e-5)
    assert alike(slopes(gnn, *some), slopes(gnn, *whole))
