"""Large batches: groups of users, each against a sample of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from edgerec.data.dataset import Dataset
from edgerec.model.device_model import DeviceModel
from edgerec.training import objective
from edgerec.training.examples import Lists
from edgerec.training.graph import Graph
from edgerec.training.held_out import HeldOut
from edgerec.training.loop import train
from edgerec.training.objective import Objective
from edgerec.training.options import TrainOptions
from edgerec.training.teacher import Teachers
from edgerec.training.trained import make_gnn
from tests.conftest import make_dataset


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return make_dataset().split_random(0.2)


@pytest.fixture(scope="module")
def teacher(dataset: Dataset) -> DeviceModel:
    return train(dataset, dim=8, epochs=1).to_device_model()


def objective_of(family: str, dataset: Dataset, teacher: DeviceModel | None) -> Objective:
    """The objective of an untrained network, with small samples."""
    torch.manual_seed(0)
    options = TrainOptions(model=family, dim=8, negatives=25)
    graph = Graph(dataset.train, len(dataset.items))
    gnn = make_gnn(options.family(), graph, options, dataset)
    return Objective(
        gnn, graph, options, None if teacher is None else Teachers.of(teacher, dataset.items)
    )


@pytest.mark.parametrize("taught", [False, True])
@pytest.mark.parametrize("family", ["historygcn", "lightgcn:user_embedding=true", "graphsage"])
def test_the_loss_of_a_batch_is_the_mean_over_its_groups(
    family: str,
    taught: bool,
    dataset: Dataset,
    teacher: DeviceModel,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = objective_of(family, dataset, teacher if taught else None)
    active = torch.nonzero(asked.graph.degree[: asked.graph.n_users] > 1)[:, 0]
    users, generator = active[torch.randperm(len(active))][:50], torch.Generator().manual_seed(4)
    samples = asked._samples(3, generator)
    left: Iterator[Tensor] = iter([])

    def drawn(count: int, generator: torch.Generator) -> list[Tensor]:
        return [next(left) for _ in range(count)]

    def gradients() -> list[Tensor]:
        found = [p.grad.clone() for p in asked.gnn.parameters() if p.grad is not None]
        asked.gnn.zero_grad()
        return found

    monkeypatch.setattr(asked, "_samples", drawn)
    left = iter(samples)
    parts = []
    for group in users.tensor_split(3):
        parts.append(asked(group, generator.manual_seed(len(parts))))
    expected = torch.stack(parts).mean()
    expected.backward()  # type: ignore[no-untyped-call]
    slopes = gradients()

    monkeypatch.setattr(objective, "_GROUP", 20)
    left, seeds = iter(samples), iter(range(3))
    at_random = objective.at_random

    def seeded(
        lists: Lists, share: float, user_weight: float, generator: torch.Generator
    ) -> HeldOut:
        return at_random(lists, share, user_weight, generator.manual_seed(next(seeds)))

    monkeypatch.setattr(objective, "at_random", seeded)
    found = asked(users, generator)
    found.backward()  # type: ignore[no-untyped-call]
    assert float(found.detach()) == pytest.approx(float(expected.detach()), rel=1e-5)
    steepest = max(float(slope.abs().max()) for slope in slopes)
    assert steepest > 0
    for ours, theirs in zip(gradients(), slopes, strict=True):
        assert torch.allclose(ours, theirs, atol=1e-5 * steepest)


def test_samples_have_no_item_in_common_while_items_suffice(dataset: Dataset) -> None:
    asked = objective_of("historygcn", dataset, None)
    n = len(dataset.items)
    samples = asked._samples(5, torch.Generator().manual_seed(0))
    assert [len(sample) for sample in samples] == [25] * 5
    together = torch.cat(samples[: n // 25])
    assert len(together.unique()) == len(together)
    assert all(len(sample.unique()) == 25 for sample in samples)
    assert not torch.equal(samples[0].sort().values, samples[-1].sort().values)
