"""Training with a teacher: its order is learned, and what does not fit is refused."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import edgerec
from edgerec.data.dataset import Dataset
from edgerec.data.metrics import overlap
from edgerec.data.quality import evaluate
from edgerec.data.ranking import rank
from edgerec.errors import CompressError, OptionError
from edgerec.model.codecs import F32, Fp32
from edgerec.model.device_model import DeviceModel, Head
from edgerec.model.history import pad_history
from edgerec.model.ops import Op
from edgerec.model.oracle import Oracle, normalize
from edgerec.model.table import Table
from edgerec.training import objective
from edgerec.training.examples import Batch, Lists, lists
from edgerec.training.loop import train
from edgerec.training.losses import sampled_softmax, scale_of, soft_loss
from edgerec.training.normalizer import NEVER
from edgerec.training.teacher import Teachers
from tests.conftest import make_dataset

SMALL: dict[str, Any] = {"epochs": 4, "dim": 8, "batch": 32}


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return make_dataset().split_random(0.2)


@pytest.fixture(scope="module")
def teacher(dataset: Dataset) -> DeviceModel:
    return train(dataset, dim=32, epochs=8, batch=32).to_device_model()


@pytest.mark.parametrize("family", ["historygcn", "lightgcn", "graphsage"])
def test_a_student_comes_closer_to_its_teacher(
    family: str, dataset: Dataset, teacher: DeviceModel
) -> None:
    goal = evaluate(teacher, dataset)
    options: dict[str, Any] = SMALL | {"model": family, "epochs": 20}
    alone = train(dataset, **options).to_device_model()
    taught = train(dataset, teacher=teacher, distill=5.0, **options).to_device_model()
    assert taught.table_bytes == alone.table_bytes
    assert divergence(taught, teacher, dataset) < 0.9 * divergence(alone, teacher, dataset)
    # The top 20 of a dense encoder this narrow come no closer at the teacher's low temperature.
    if family != "graphsage":
        assert evaluate(taught, dataset).kept(goal)[1] > evaluate(alone, dataset).kept(goal)[1]


def divergence(model: DeviceModel, teacher: DeviceModel, dataset: Dataset) -> float:
    """How far the ranking of a model is from its teacher's, in the terms that training has."""
    (users,), sample = lists(teacher, dataset, size=10**6), torch.arange(len(dataset.items))
    ranked = [Teachers.of(one, dataset.items).scores(users, sample) for one in (teacher, model)]
    return float(soft_loss(*ranked, objective._TEACHER_TEMPERATURE))


@pytest.mark.network
@pytest.mark.slow
def test_a_narrow_student_is_better_for_it() -> None:
    films = edgerec.load("ml-100k").split_random(0.2)
    wide = train(films, dim=128).to_device_model()
    alone = train(films, dim=16).to_device_model()
    taught = train(films, teacher=wide, dim=16).to_device_model()
    assert evaluate(taught, films).ndcg > evaluate(alone, films).ndcg + 0.001


def test_generalized_cross_entropy() -> None:
    scores, positive = torch.tensor([[0.2, -0.1], [0.4, 0.3]]), torch.tensor([0.5, 0.1, 0.2])
    owner, counts = torch.tensor([0, 0, 1]), torch.tensor([2.0, 1.0])
    losses, weights = [], []
    for place, user in enumerate(owner.tolist()):
        rest = sum(math.exp(s / 0.5) for s in scores[user].tolist()) * 6 / 2
        losses.append(math.log(1 + rest / math.exp(positive[place].item() / 0.5)))
        weights.append(counts[user].item() ** -0.3)
    for q in (0.0, 0.2):
        each = [(1 - math.exp(-q * loss)) / q if q else loss for loss in losses]
        expected = sum(w * loss for w, loss in zip(weights, each, strict=True)) / sum(weights)
        shares = counts[owner] ** -0.3
        rest = torch.logsumexp(scores / 0.5, 1)
        found = sampled_softmax(rest, positive, owner, shares, 6 / 2, 0.5, gce=q)
        assert found.item() == pytest.approx(expected, rel=1e-5)


def test_resuming_needs_the_same_teacher(
    dataset: Dataset, teacher: DeviceModel, tmp_path: Path
) -> None:
    def interrupt(done: int, total: int, what: str) -> None:
        raise KeyboardInterrupt

    path = tmp_path / "checkpoint"
    with pytest.raises(KeyboardInterrupt):
        train(dataset, teacher=teacher, checkpoint=path, progress=interrupt, **SMALL)
    with pytest.raises(OptionError, match="was written with another teacher; use the same"):
        train(dataset, checkpoint=path, **SMALL)
    resumed = train(dataset, teacher=teacher, checkpoint=path, **SMALL)
    assert torch.equal(resumed.gnn.items, train(dataset, teacher=teacher, **SMALL).gnn.items)


def test_what_is_refused(dataset: Dataset, teacher: DeviceModel) -> None:
    with pytest.raises(OptionError, match="distill: has no effect without a teacher; set both"):
        train(dataset, distill=1.0, **SMALL)
    with pytest.raises(OptionError, match="gce: expected 0 or more, got -1"):
        train(dataset, gce=-1, **SMALL)
    fewer = teacher.take([0, 1, 2, 3])  # type: ignore[arg-type]  # rows
    with pytest.raises(OptionError, match=r"teacher: its catalogue \(4 items\) is not that of the"):
        train(dataset, teacher=fewer, **SMALL)


@pytest.mark.parametrize("given", [None, torch.tensor([1.0, 5.0, 2.0, 1.0])])
def test_several_teachers_are_averaged(
    given: torch.Tensor | None, dataset: Dataset, teacher: DeviceModel
) -> None:
    sage = train(dataset, model="graphsage", epochs=2, dim=16, batch=64).to_device_model()
    users = Lists(torch.tensor([3, 1, 4, 7]), torch.tensor([3, 1]), given=given)
    sample = torch.arange(80)
    own = torch.ones(1, 3) if given is None else given[None, :3]
    batch = Batch(
        torch.tensor([[3, 1, 4]]),
        own * 3**-0.5,
        torch.tensor([9]),
        None if given is None else own,
    )
    found = []
    for models in ([teacher], [sage], [teacher, sage]):
        teachers = Teachers(models, dataset.items)
        lists, examples = teachers.scores(users, sample), teachers.example_scores(batch)
        assert lists[0, [1, 3, 4]].eq(NEVER).all()
        # The first user's history is that of the example.
        unseen = lists[0] > NEVER
        assert torch.allclose(lists[0][unseen], examples[0][unseen], atol=1e-5)
        found.append(lists[:, 10:])
    assert torch.allclose(found[2], (found[0] + found[1]) / 2, atol=1e-6)
    # GraphSAGE takes a mean: a history of three weighs a third each.
    oracle = Oracle(sage)
    history, weights = pad_history(np.array([3, 1, 4]), 9, 1, own[0].numpy())
    user = normalize(oracle.encode(history[None], weights[None]))
    expected = torch.from_numpy(oracle.logits(user)[0, 10:] / scale_of(sage))
    assert torch.allclose(found[1][0], expected, atol=1e-5)


def test_any_teacher_and_more_than_one(dataset: Dataset, teacher: DeviceModel) -> None:
    sage = train(dataset, model="graphsage", epochs=20, dim=16, batch=32).to_device_model()
    goal = evaluate(sage, dataset)
    alone, by_sage, by_both = (
        evaluate(train(dataset, teacher=given, **SMALL).to_device_model(), dataset).kept(goal)[1]
        for given in (None, sage, [sage, teacher])
    )
    assert by_sage > alone
    assert by_both != by_sage


def factors(dataset: Dataset) -> tuple[DeviceModel, F32]:
    """A model that reads the user's own row, and the rows of all users."""
    rng = np.random.default_rng(0)
    tastes = rng.normal(size=(4, 6)).astype(np.float32)
    titles = dataset.items.titles
    assert titles is not None
    kind = np.array([int(title[-1]) for title in titles])
    items = tastes[kind] + rng.normal(size=(len(kind), 6)).astype(np.float32)
    users = tastes[[np.bincount(kind[rows]).argmax() for rows in dataset.train.lists()]]
    model = DeviceModel(
        items=dataset.items,
        tables={"items": Table.encode(items, Fp32())},
        encoder=(Op("ReduceSum", ("user_vector",), "user"),),
        head=Head("items"),
        history_length=9,
    )
    return model, users


def test_a_teacher_with_user_rows(dataset: Dataset) -> None:
    model, users = factors(dataset)
    teachers = Teachers([model], dataset.items, users)
    lists, numbers = Lists(torch.tensor([3, 1, 4]), torch.tensor([2, 1])), torch.tensor([7, 2])
    sample = torch.arange(10, 30)
    found = teachers.scores(lists, sample, numbers)
    items = model.tables["items"].decode()
    expected = normalize(users[[7, 2]]) @ items[10:30].T / scale_of(model)
    assert np.allclose(found.numpy(), expected, atol=1e-5)
    assert teachers.digest != Teachers([model], dataset.items, users[::-1]).digest

    # A student of histories alone comes to rank as it does for the same users.
    every = np.arange(len(dataset.users))
    wanted = rank(model, dataset, every, 20, users)

    def agreement(rows: F32) -> float:
        trained = train(
            dataset,
            teacher=model,
            teacher_vectors=rows,
            distill=20.0,
            **{**SMALL, "dim": 16, "epochs": 20},
        )
        return overlap(wanted, rank(trained.to_device_model(), dataset, every, 20))

    assert agreement(users) > agreement(users[::-1]) + 0.1


def test_user_rows_of_teachers_are_checked(dataset: Dataset, teacher: DeviceModel) -> None:
    model, users = factors(dataset)

    def refused(message: str, **options: Any) -> None:
        with pytest.raises(OptionError, match=message):
            train(dataset, **options, **SMALL)

    refused("reads a user_vector; pass the rows of all users as teacher_vectors", teacher=model)
    refused("teacher_vectors: has no effect without a teacher", teacher_vectors=users)
    refused("no teacher reads rows of users", teacher=teacher, teacher_vectors=users)
    refused(
        "expected one row for each of 120 users, got 119", teacher=model, teacher_vectors=users[1:]
    )
    refused("expected rows of 6 numbers, got", teacher=model, teacher_vectors=users[:, :5])
    refused(r"expected float32\[users, c\], one row", teacher=model, teacher_vectors=users[:, 0])
    refused(r"expected float32\[users, c\]", teacher=model, teacher_vectors=[[1.0], [2.0, 3.0]])
    refused("a number is NaN", teacher=model, teacher_vectors=users + np.float32(np.nan))
    aware = model.replace(encoder=(Op("ReduceSum", ("context",), "user"),), context_width=6)
    refused("reads a context; pass the rows", teacher=aware)
    both = Op("Add", ("user_vector", "context"), "user")
    refused("reads both", teacher=model.replace(encoder=(both,), context_width=6))
    lists, numbers = Lists(torch.tensor([3, 1, 4]), torch.tensor([2, 1])), torch.tensor([7, 2])
    scores = [
        Teachers([one], dataset.items, users).scores(lists, torch.arange(9), numbers)
        for one in (model, aware)
    ]
    assert torch.equal(*scores)


@pytest.mark.parametrize("name", ["user_vector", "context"])
def test_models_that_read_more_than_histories_are_not_fine_tuned(
    name: str, dataset: Dataset
) -> None:
    model, _ = factors(dataset)
    model = model.replace(
        encoder=(Op("ReduceSum", (name,), "user"),), context_width=6 * (name == "context")
    )
    with pytest.raises(CompressError, match=f"quantize: the model reads {name}, which tastes"):
        edgerec.compress(model, "quantize:codec=int8,epochs=1", dataset=dataset)
    assert edgerec.compress(model, "quantize:codec=int8").table_bytes < model.table_bytes
