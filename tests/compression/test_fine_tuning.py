"""Fine-tuning: the losses equal what they abbreviate, and the loop improves and repeats."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from edgerec.contracts.compressor import Context
from edgerec.data.dataset import Dataset
from edgerec.data.quality import evaluate
from edgerec.errors import CompressError, OptionError
from edgerec.learn import TorchModel, fine_tune
from edgerec.model.device_model import DeviceModel
from edgerec.training.examples import Lists, lists
from edgerec.training.loop import train
from edgerec.training.losses import (
    list_loss,
    needed_rows,
    rows_of,
    scale_of,
    scores_of,
    seen_among,
    soft_loss,
    user_vectors,
)
from edgerec.training.normalizer import NEVER


@pytest.fixture(scope="module")
def trained(dataset: Dataset) -> DeviceModel:
    return train(dataset, epochs=4, dim=16, batch=64).to_device_model()


def noisy(model: DeviceModel, noise: float = 0.5) -> TorchModel:
    """Make a torch_model of a model that something has damaged."""
    torch_model = TorchModel(model)
    rows = torch_model.tables["items"]
    generator = torch.Generator().manual_seed(0)
    rows.data += noise * rows.norm(dim=1).mean() * torch.randn(rows.shape, generator=generator) / 4
    return torch_model


@pytest.mark.parametrize("name", ["sum", "two-tables"])
def test_a_step_gives_the_same_loss_from_the_rows_that_it_needs(
    models: dict[str, DeviceModel], name: str
) -> None:
    torch_model, scale = TorchModel(models[name]), scale_of(models[name])
    given = torch.tensor([1.0, 20.0, 1.0, 1.0, 3.0, 1.0])
    users = Lists(torch.tensor([3, 1, 4, 1, 5, 9]), torch.tensor([3, 3]), recency=0.7, given=given)
    sample = torch.tensor([1, 599, 300, 9, 2])
    seen = {(0, 0), (1, 0), (1, 3)}
    assert {*zip(*(part.tolist() for part in seen_among(users, sample)), strict=True)} == seen
    every = rows_of(torch_model, scale)
    user = user_vectors(every, users)
    rows, local, among = needed_rows(torch_model, users, sample, scale)
    assert len(rows.past) == len(rows.candidates) == 8
    of_part = user_vectors(rows, local)
    assert torch.allclose(of_part, user, atol=1e-6)
    scores = scores_of(every.candidates, user, sample)
    assert torch.allclose(scores_of(rows.candidates, of_part, among), scores, atol=1e-6)
    assert {*zip(*(part.tolist() for part in seen_among(local, among)), strict=True)} == seen
    with torch.no_grad():
        found, whole = list_loss(rows, local, among, 0.2), list_loss(every, users, sample, 0.2)
    assert torch.allclose(found[1], user, atol=1e-6)
    assert float(found[0]) == pytest.approx(float(whole[0]))


@pytest.mark.parametrize("given", [None, torch.tensor([2.0, 1.0, 1.0, 5.0, 1.0])])
@pytest.mark.parametrize("name", ["sum", "two-tables"])
def test_list_loss_leaves_each_item_out(
    models: dict[str, DeviceModel], name: str, given: torch.Tensor | None
) -> None:
    model, scale = models[name], scale_of(models[name])
    torch_model, users = (
        TorchModel(model),
        Lists(torch.tensor([3, 1, 4, 5, 9]), torch.tensor([2, 3]), given=given),
    )
    own = torch.ones(5) if given is None else given
    sample = torch.arange(0, 600, 2)
    rows = rows_of(torch_model, scale)
    found, _ = list_loss(rows, users, sample, 0.2, user_weight=0.5)
    total, weights = torch.zeros(()), 0.0
    for history, each in (([3, 1], own[:2]), ([4, 5, 9], own[2:])):
        everyone = F.normalize(torch_model(torch.tensor([history]), each[None]), dim=1)
        others = [j for j in sample.tolist() if j not in history]
        others_sum = (torch_model.logits(everyone, torch.tensor(others)) / (scale * 0.2)).logsumexp(
            1
        )
        others_sum = others_sum + math.log(600 / len(sample))
        for place, item in enumerate(history):
            left = torch.tensor([[j for j in history if j != item]])
            rest = torch.tensor([[w for j, w in enumerate(each.tolist()) if j != place]])
            without = F.normalize(torch_model(left, rest), dim=1)
            positive = torch_model.logits(without, torch.tensor([item]))[0, 0] / (scale * 0.2)
            share = float(each[place]) * len(history) ** -0.5
            total += F.softplus(others_sum - positive)[0].detach() * share
            weights += share
    assert float(found.detach()) == pytest.approx(float(total) / weights, rel=1e-4)


def test_soft_loss_is_a_divergence() -> None:
    scores = torch.tensor([[1.0, 2.0, NEVER], [0.0, 0.5, 0.2]])
    assert float(soft_loss(scores, scores, 0.1)) == pytest.approx(0, abs=1e-6)
    assert float(soft_loss(scores, scores + 5, 0.1)) == pytest.approx(0, abs=1e-5)
    assert float(soft_loss(scores, -scores.clamp(min=0), 0.1)) > 0.1


def test_lists_hold_every_user_once(trained: DeviceModel, dataset: Dataset) -> None:
    parts = lists(trained, dataset, size=50, seed=3)
    sizes = np.diff(dataset.train.indptr)
    assert sum(len(p.counts) for p in parts) == (sizes > 1).sum()
    assert sum(len(p.items) for p in parts) == sizes[sizes > 1].sum()
    again = lists(trained, dataset, size=50, seed=3)
    assert all(torch.equal(a.items, b.items) for a, b in zip(parts, again, strict=True))


def test_damage_is_mended_and_repeats_itself(trained: DeviceModel, dataset: Dataset) -> None:
    before = evaluate(trained, dataset)

    def overlap(torch_model: TorchModel) -> float:
        return evaluate(torch_model.to_device_model(), dataset).kept(before)[1]

    options = {"who": "test", "epochs": 20, "learning_rate": 0.01, "distill": 10.0}
    twins = [noisy(trained), noisy(trained)]
    losses = [fine_tune(torch_model, Context(dataset), **options) for torch_model in twins]
    assert losses[0] == losses[1]
    assert torch.equal(twins[0].tables["items"], twins[1].tables["items"])
    assert overlap(twins[0]) > overlap(noisy(trained)) + 0.1


def test_groups_and_steps(trained: DeviceModel, dataset: Dataset) -> None:
    torch_model, done, told = TorchModel(trained), [], []
    groups = [
        {"params": [torch_model.tables["items"]], "lr": 0.0},
        {"params": [torch_model.tables["past_scale"]]},
    ]
    context = Context(dataset, progress=lambda *what: told.append(what))
    fine_tune(
        torch_model,
        context,
        who="test",
        epochs=2,
        learning_rate=0.01,
        parameters=groups,
        after_step=done.append,
    )
    assert np.array_equal(torch_model.tables["items"].detach(), trained.tables["items"].decode())
    assert not np.array_equal(
        torch_model.tables["past_scale"].detach(), trained.tables["past_scale"].decode()
    )
    assert done == sorted(done)
    assert done[-1] == 1
    assert [(n, of) for n, of, _ in told] == [(1, 2), (2, 2)]
    assert "test, loss" in told[0][2]


def test_other_encoders(dataset: Dataset) -> None:
    sage = train(dataset, model="graphsage", epochs=4, dim=16, batch=64).to_device_model()
    losses = []
    for epochs in (1, 15):
        torch_model = noisy(sage)
        losses.append(
            fine_tune(
                torch_model,
                Context(dataset),
                who="test",
                epochs=epochs,
                learning_rate=0.01,
                distill=1,
            )
        )
    assert losses[1] < losses[0]


def test_what_cannot_be_trained(trained: DeviceModel, dataset: Dataset) -> None:
    with pytest.raises(CompressError, match="test: needs training interactions"):
        fine_tune(TorchModel(trained), Context(), who="test", epochs=1, learning_rate=0.01)
    part = trained.take(np.arange(30))
    with pytest.raises(
        OptionError, match=r"catalogue \(80 items\) is not that of the model \(30\)"
    ):
        fine_tune(
            TorchModel(part),
            Context(dataset),
            who="test",
            epochs=1,
            learning_rate=0.01,
            teacher=trained,
        )
    single = trained.take(np.array([0]))
    with pytest.raises(CompressError, match="no user has two items that the model knows"):
        fine_tune(TorchModel(single), Context(dataset), who="test", epochs=1, learning_rate=0.01)
