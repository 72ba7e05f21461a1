"""Predicting the next item: from those before it, and in no other order."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from edgerec.data.dataset import Dataset
from edgerec.data.interactions import Interactions
from edgerec.data.quality import evaluate
from edgerec.errors import OptionError
from edgerec.model.device_model import DeviceModel
from edgerec.model.history import pad_history
from edgerec.model.items import Items
from edgerec.training.examples import Lists
from edgerec.training.graph import Graph
from edgerec.training.held_out import in_order
from edgerec.training.loop import train
from edgerec.training.losses import soft_loss
from edgerec.training.objective import Objective
from edgerec.training.options import TrainOptions
from edgerec.training.teacher import Teachers
from edgerec.training.trained import make_gnn
from tests.conftest import make_dataset

FAMILIES = ["historygcn:tied=false", "lightgcn:user_embedding=true", "graphsage"]


def test_prefixes_worked_example() -> None:
    given = torch.tensor([1.0, 2, 3, 4, 5, 6, 7])
    lists = Lists(torch.tensor([7, 3, 5, 1, 2, 4, 9]), torch.tensor([4, 1, 2]), 0.5, given=given)
    held, owner = in_order(lists, 2)
    each = held.whole
    assert owner.tolist() == [0, 0, 0, 2]
    assert each.items[held.target].tolist() == [3, 5, 1, 9]
    assert held.kept.counts.tolist() == [1, 2, 2, 1]
    assert each.counts.tolist() == [2, 3, 3, 2]
    assert each.items.tolist() == [7, 3, 7, 3, 5, 3, 5, 1, 4, 9]
    assert each.given is not None
    assert each.given.tolist() == [1, 2, 1, 2, 3, 2, 3, 4, 6, 7]
    assert each.recency == 0.5


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("family", FAMILIES)
def test_the_loss_is_that_of_each_prefix_by_itself(family: str, weighted: bool) -> None:
    data = make_dataset().split_random(0.2)
    if weighted:
        rng = np.random.default_rng(0)
        weights = rng.uniform(0.5, 2, len(data.train)).astype(np.float32)
        train_of = Interactions(data.train.indptr, data.train.items, weights=weights)
        data = Dataset("weighted", data.users, data.items, train_of)
    torch.manual_seed(0)
    o = TrainOptions(
        model=family, dim=8, negatives=25, recency=0.7, predict="next", history_length=4
    )
    graph = Graph(data.train, len(data.items))
    gnn = make_gnn(o.family(), graph, o, data)
    asked = Objective(gnn, graph, data, o)
    users = torch.nonzero(graph.degree[: graph.n_users] > 1)[:3, 0]
    sample = asked._samples(1, torch.Generator().manual_seed(5))[0]
    found = asked(users, torch.Generator().manual_seed(5))

    tables = gnn.rows(graph, torch.arange(len(data.items)))
    losses, shares = [], []
    for user in users.tolist():
        items = data.train.of(user)
        given = data.train.weights_of(user)
        ages = np.arange(len(items), 0, -1)
        parts = ages ** (-0.7 / 3)
        parts = parts * len(items) ** 0.8 / parts.sum()
        parts = parts if given is None else parts * given
        for place in range(1, len(items)):
            before = slice(max(0, place - 4), place)
            _, weights = pad_history(
                items[before],
                4,
                gnn.normalization,
                None if given is None else given[before],
                recency=0.7,
            )
            known = torch.as_tensor(items[before].astype(np.int64))
            weight = torch.as_tensor(weights[: len(known)])
            own = None if gnn.users is None else gnn.users[user : user + 1]
            vector = gnn.user([(weight @ past[known])[None] for past in tables.past], own)
            scores = (F.normalize(vector, dim=1) @ tables.candidates.T)[0] / o.temperature
            masked = {*known.tolist(), int(items[place])}
            others = [one for one in sample.tolist() if one not in masked]
            ratio = math.log(len(data.items) / len(sample))
            rest = scores[others].logsumexp(0) + ratio
            loss = F.softplus(rest - scores[int(items[place])])
            losses.append(-torch.expm1(-o.gce * loss) / o.gce)
            shares.append(parts[place])
    share = torch.tensor(np.array(shares) / sum(shares), dtype=torch.float32)
    expected = (torch.stack(losses) * share).sum()
    assert float(found.detach()) == pytest.approx(float(expected.detach()), rel=1e-4)


def ring(users: int = 400, items: int = 48) -> Dataset:
    """Users who go around a ring of items, from anywhere; two thirds of the steps are by one."""
    rng = np.random.default_rng(0)
    owners, rows = [], []
    for user in range(users):
        steps = np.where(rng.random(7) < 0.67, 1, rng.integers(2, items - 8, 7))
        past = dict.fromkeys((int(rng.integers(items)) + np.cumsum(steps)) % items)
        rows += list(past)
        owners += [user] * len(past)
    edges = Interactions.of_pairs(np.array(owners), np.array(rows), users)
    names = [f"u{n}" for n in range(users)]
    return Dataset("ring", names, Items.of(range(items)), edges).split_last()


def test_only_the_next_item_depends_on_a_direction() -> None:
    data = ring()
    options = {"dim": 16, "model": "historygcn:tied=false", "recency": 2.0}
    found = {
        predict: evaluate(train(data, predict=predict, **options).to_device_model(), data, k=1)
        for predict in ("any", "next")
    }
    assert found["next"].recall > 0.5
    assert found["any"].recall < 0.4


@torch.no_grad()
def test_a_teacher_is_asked_about_whole_histories(dataset: Dataset, model: DeviceModel) -> None:
    graph = Graph(dataset.train, len(dataset.items))
    o = TrainOptions(dim=8, negatives=25, recency=0.7, predict="next", history_length=4)
    gnn = make_gnn(o.family(), graph, o, dataset)
    users = torch.nonzero(graph.degree[: graph.n_users] > 1)[:3, 0]
    plain, taught = (
        float(Objective(gnn, graph, dataset, o, teacher)(users, torch.Generator().manual_seed(5)))
        for teacher in (None, model)
    )
    asked = Objective(gnn, graph, dataset, o, model)
    sample = asked._samples(1, torch.Generator().manual_seed(5))[0]
    whole, tables = asked._histories(users), gnn.rows(graph, torch.arange(len(dataset.items)))
    user = F.normalize(asked._encoded(whole, tables), dim=1)
    rows = tables.candidates[sample]
    scores = user @ rows.T / rows.norm(dim=1).median()
    theirs = Teachers.of(model, model.items).scores(whole, sample)
    for place, number in enumerate(users.tolist()):
        seen = np.isin(sample.numpy(), dataset.train.of(number))
        scores[place, seen] = theirs[place, seen] = -1e4
    expected = 5 * float(soft_loss(theirs, scores, 0.07))
    assert taught - plain == pytest.approx(expected, rel=1e-3)


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return make_dataset().split_random(0.2)


@pytest.fixture(scope="module")
def model(dataset: Dataset) -> DeviceModel:
    return train(dataset, dim=16, epochs=4).to_device_model()


def test_refusals(dataset: Dataset) -> None:
    with pytest.raises(OptionError, match="predict: expected 'any' or 'next', got 'last'"):
        train(dataset, predict="last")
