"""Predicting the next item: from those before it, and in no other order."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from edgerec.compression import fine_tuning
from edgerec.data.dataset import Dataset
from edgerec.data.interactions import Interactions
from edgerec.data.quality import evaluate
from edgerec.errors import OptionError
from edgerec.model.device_model import DeviceModel
from edgerec.model.history import pad_history
from edgerec.model.items import Items
from edgerec.training import held_out, objective
from edgerec.training.examples import Lists, batches
from edgerec.training.graph import Graph
from edgerec.training.held_out import HeldOut, in_order
from edgerec.training.loop import train
from edgerec.training.losses import soft_loss
from edgerec.training.objective import Objective
from edgerec.training.options import TrainOptions
from edgerec.training.teacher import Teachers
from edgerec.training.torch_model import TorchModel
from edgerec.training.trained import make_gnn
from tests.conftest import make_dataset

FAMILIES = ["historygcn:tied=false", "lightgcn:user_embedding=true", "graphsage"]


def test_prefixes_worked_example() -> None:
    given = torch.tensor([1.0, 2, 3, 4, 5, 6, 7])
    lists = Lists(torch.tensor([7, 3, 5, 1, 2, 4, 9]), torch.tensor([4, 1, 2]), 0.5, given=given)
    held, later = in_order(lists, 2)
    each = held.whole
    assert later.tolist() == [1, 2, 3, 6]
    assert each.items[held.target].tolist() == [3, 5, 1, 9]
    assert held.kept.counts.tolist() == [1, 2, 2, 1]
    assert each.counts.tolist() == [2, 3, 3, 2]
    assert each.items.tolist() == [7, 3, 7, 3, 5, 3, 5, 1, 4, 9]
    assert each.given is not None
    assert each.given.tolist() == [1, 2, 1, 2, 3, 2, 3, 4, 6, 7]
    assert each.recency == 0.5


def weighted(data: Dataset) -> Dataset:
    """The same interactions, which count more or less."""
    weights = np.random.default_rng(0).uniform(0.5, 2, len(data.train)).astype(np.float32)
    given = Interactions(data.train.indptr, data.train.items, weights=weights)
    return Dataset("weighted", data.users, data.items, given)


def by_hand(
    histories: Interactions,
    users: list[int],
    encode: Callable[[int, Tensor, Tensor], Tensor],
    candidates: Tensor,
    sample: Tensor,
    gce: float,
    normalization: float,
) -> float:
    """The loss of each prefix by itself, with at most four items; ρ = 0.7, g = 0.2, τ = 0.15.

    ``encode`` returns the vector of a user, given rows and their weights.
    """
    losses, shares = [], []
    for user in users:
        items, given = histories.of(user), histories.weights_of(user)
        parts = np.arange(len(items), 0, -1) ** (-0.7 / 3)
        parts = parts * len(items) ** 0.8 / parts.sum() * (1 if given is None else given)
        for place in range(1, len(items)):
            before = slice(max(0, place - 4), place)
            own = None if given is None else given[before]
            _, weights = pad_history(items[before], 4, normalization, own, recency=0.7)
            known = torch.as_tensor(items[before].astype(np.int64))
            vector = encode(user, known, torch.as_tensor(weights[: len(known)]))
            scores = candidates @ F.normalize(vector, dim=0) / 0.15
            seen = {*known.tolist(), int(items[place])}
            rest = scores[[one for one in sample.tolist() if one not in seen]].logsumexp(0)
            rest = rest + math.log(len(candidates) / len(sample))
            loss = F.softplus(rest - scores[int(items[place])])
            losses.append(float(-torch.expm1(-gce * loss) / gce if gce else loss))
            shares.append(parts[place])
    return float(np.average(losses, weights=shares))


@torch.no_grad()
@pytest.mark.parametrize("given", [False, True])
@pytest.mark.parametrize("family", FAMILIES)
def test_the_loss_is_that_of_each_prefix_by_itself(family: str, given: bool) -> None:
    data = make_dataset().split_random(0.2)
    data = weighted(data) if given else data
    torch.manual_seed(0)
    o = TrainOptions(
        model=family, dim=8, negatives=25, recency=0.7, predict="next", history_length=4
    )
    graph = Graph(data.train, len(data.items))
    gnn = make_gnn(o.family(), graph, o, data)
    asked = Objective(gnn, graph, o)
    users = torch.nonzero(graph.degree[: graph.n_users] > 1)[:3, 0]
    sample = asked._samples(1, torch.Generator().manual_seed(5))[0]
    tables = gnn.rows(graph, torch.arange(len(data.items)))

    def encode(user: int, rows: Tensor, weights: Tensor) -> Tensor:
        own = None if gnn.users is None else gnn.users[user : user + 1]
        return gnn.user([(weights @ past[rows])[None] for past in tables.past], own)[0]

    expected = by_hand(
        data.train, users.tolist(), encode, tables.candidates, sample, o.gce, gnn.normalization
    )
    assert float(asked(users, torch.Generator().manual_seed(5))) == pytest.approx(
        expected, rel=1e-4
    )


@torch.no_grad()
@pytest.mark.parametrize("given", [False, True])
def test_fine_tuning_predicts_the_next_item_as_well(given: bool) -> None:
    data = make_dataset().split_random(0.2)
    data = weighted(data) if given else data
    with torch.enable_grad():
        trained = train(data, dim=8, epochs=1, predict="next", recency=0.7, history_length=4)
    model = trained.to_device_model()
    end = data.train.indptr[3]
    weights = None if data.train.weights is None else data.train.weights[:end]
    few = Interactions(data.train.indptr[:4], data.train.items[:end], weights=weights)
    data = Dataset("few", data.users[:3], data.items, few)
    found = fine_tuning._ListLosses(
        TorchModel(model), Teachers.of(model, model.items), data, 0.0, 0.1, 1000
    )
    ((loss, steps),) = found(0)
    rows = {name: torch.as_tensor(table.decode().copy()) for name, table in model.tables.items()}

    def encode(user: int, which: Tensor, weights: Tensor) -> Tensor:
        return (weights[:, None] * rows["past_scale"][which] * rows["items"][which]).sum(0)

    candidates = rows["items"] / rows["items"].norm(dim=1).median()
    every = torch.arange(len(data.items))
    expected = by_hand(few, [0, 1, 2], encode, candidates, every, 0.0, model.normalization)
    assert steps == 1
    assert float(loss) == pytest.approx(expected, rel=1e-4)


def test_examples_end_before_the_target() -> None:
    data = weighted(make_dataset().split_random(0.2))
    model = train(data, dim=8, epochs=1, predict="next", recency=0.7).to_device_model()
    past = [data.train.of(user).tolist() for user in range(len(data.users))]
    places = set()
    for batch in batches(model, data, in_order=True):
        assert batch.given is not None
        for history, target, given in zip(batch.history, batch.target, batch.given, strict=True):
            found = [*history[history >= 0].tolist(), int(target)]
            users = [user for user, one in enumerate(past) if one[: len(found)] == found]
            assert users
            own = data.train.weights_of(users[0])
            assert own is not None
            assert given[: len(found) - 1].tolist() == own[: len(found) - 1].tolist()
            places.add(len(found) - 1)
    assert min(places) == 1
    assert len(places) > 5


def test_long_histories_are_taken_in_smaller_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    data = make_dataset().split_random(0.2)
    o = TrainOptions(dim=8, predict="next", history_length=4)
    graph = Graph(data.train, len(data.items))
    torch.manual_seed(0)
    gnn = make_gnn(o.family(), graph, o, data)
    users = torch.nonzero(graph.degree[: graph.n_users] > 1)[:, 0]
    sizes: list[int] = []

    def counted(lists: Lists, longest: int, user_weight: float = 0.2) -> tuple[HeldOut, Tensor]:
        found = in_order(lists, longest, user_weight)
        sizes.append(len(found[0].whole.items))
        return found

    monkeypatch.setattr(objective, "in_order", counted)
    losses = []
    for most in (1 << 20, 1000):
        monkeypatch.setattr(held_out, "_EDGES", most)
        sizes.clear()
        losses.append(float(Objective(gnn, graph, o)(users, torch.Generator()).detach()))
    assert len(sizes) > 3
    assert max(sizes) < 2 * 1000
    assert losses[1] == pytest.approx(losses[0], rel=0.02)

    monkeypatch.setattr(held_out, "_EDGES", 100)
    model = train(data, epochs=1, dim=8, predict="next").to_device_model()
    tuned = fine_tuning._ListLosses(
        TorchModel(model), Teachers.of(model, model.items), data, 0.0, 0.1, 1000
    )
    assert next(tuned(0))[1] > 60


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
        float(Objective(gnn, graph, o, teachers)(users, torch.Generator().manual_seed(5)))
        for teachers in (None, Teachers.of(model, model.items))
    )
    asked = Objective(gnn, graph, o)
    sample = asked._samples(1, torch.Generator().manual_seed(5))[0]
    whole, tables = asked._histories(users), gnn.rows(graph, torch.arange(len(dataset.items)))
    user = F.normalize(asked._encoded(users, whole, tables), dim=1)
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
