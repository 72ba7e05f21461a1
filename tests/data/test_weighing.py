"""Interactions that count differently: kinds of events, and ratings."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from edgerec.building.measured import histories_of
from edgerec.contracts.host import Host
from edgerec.data.dataset import Dataset
from edgerec.data.dataset_file import load_dataset, save_dataset
from edgerec.data.matching import known_histories
from edgerec.data.quality import evaluate, evaluation_users
from edgerec.data.ranking import rank
from edgerec.data.readers import read_dataset
from edgerec.data.weighing import parse_event_weights
from edgerec.device.bench import measure
from edgerec.device.scorer import Scorer
from edgerec.errors import DataError, OptionError
from edgerec.exporting.export import export
from edgerec.training import held_out, objective
from edgerec.training.examples import Lists, batches, lists
from edgerec.training.graph import bag
from edgerec.training.loop import train
from edgerec.training.losses import shares_of

EVENTS = """user,item,event,rating,timestamp
ann,x,view,1,1
ann,x,buy,2,2
ann,x,view,3,3
ann,y,cart,4,4
bob,y,view,5,5
bob,z,remove,2,6
bob,x,buy,2,7
"""
WEIGHTS = {"view": 1, "cart": 3, "buy": 10, "remove": 0}


def read(tmp_path: Path, text: str = EVENTS, **options: Any) -> Dataset:
    path = tmp_path / "events.csv"
    path.write_text(text, "utf-8")
    return read_dataset(path, **options)


def test_events_are_weighed(tmp_path: Path) -> None:
    data = read(tmp_path, event_weights=WEIGHTS)
    assert list(data.items.ids) == ["x", "y"]
    assert data.events == ["buy", "cart", "view"]
    assert data.event_weights == {"view": 1, "cart": 3, "buy": 10}
    train = data.train
    assert train.weights is not None
    assert train.events is not None
    # The pair has its latest place and rating, and the kind of event that counts most.
    found = [
        (data.users[u], data.items.ids[i], data.events[e], w, r)
        for u, i, e, w, r in zip(
            *(train.users, train.items, train.events, train.weights, train.ratings), strict=True
        )
    ]
    assert found == [
        ("ann", "x", "buy", 10, 3),
        ("ann", "y", "cart", 3, 4),
        ("bob", "y", "view", 1, 5),
        ("bob", "x", "buy", 10, 2),
    ]
    assert data.notes == {
        "interactions dropped for their kind of event": 1,
        "repeated pairs merged": 2,
    }
    save_dataset(data, tmp_path / "x.dataset")
    again = load_dataset(tmp_path / "x.dataset")
    assert again.event_weights == data.event_weights
    assert list(again.events) == data.events
    assert again.train.digest == train.digest
    assert again.train.events is not None
    assert again.train.events.tolist() == train.events.tolist()
    # Weights are part of what a model was trained on.
    plain = dataclasses.replace(train, weights=None)
    assert plain.digest != train.digest


def test_ratings_can_be_weights(tmp_path: Path) -> None:
    data = read(tmp_path, weigh_ratings=True)
    assert data.train.weights is not None
    assert data.train.weights.tolist() == [3, 4, 5, 2, 2]
    assert data.events == []
    assert read(tmp_path).train.weights is None


def test_events_that_are_named_are_kept(tmp_path: Path) -> None:
    data = read(tmp_path, columns={"event": "event"})
    assert data.train.weights is None
    assert data.train.events is not None
    assert [data.events[e] for e in data.train.events] == ["view", "cart", "view", "remove", "buy"]
    assert data.split_last(1).test is not None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"event_weights": {"view": 1, "buy": 2, "cart": 1}}, "'event', line 7: .*'remove'; give"),
        ({"event_weights": {**WEIGHTS, "buy": -1}}, "event_weights: buy: expected 0, to drop it"),
        ({"event_weights": {"view": 0}}, "every kind has weight 0"),
        ({"event_weights": WEIGHTS, "weigh_ratings": True}, "set event_weights or weigh_ratings"),
        ({"event_weights": WEIGHTS, "columns": {"event": "kind"}}, "no column 'kind'"),
        ({"columns": {"event": "event"}, "event_weights": {"x": 1}}, "a kind of event with a"),
    ],
)
def test_weights_that_are_refused(options: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        read(tmp_path, **options)


def test_columns_that_cannot_weigh(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no event column; .*--event-column"):
        read(tmp_path, "user,item\na,x\nb,y\n", event_weights=WEIGHTS)
    with pytest.raises(DataError, match="no rating column"):
        read(tmp_path, "user,item\na,x\nb,y\n", weigh_ratings=True)
    with pytest.raises(DataError, match=r"'rating', line 3: expected .*got 0\.0, as"):
        read(tmp_path, "user,item,rating\na,x,1\nb,y,0\n", weigh_ratings=True)
    many = "user,item,event\n" + "".join(f"a,x{i},e{i}\n" for i in range(300))
    with pytest.raises(DataError, match="300 kinds of events, more than 256"):
        read(tmp_path, many, columns={"event": "event"})


@pytest.mark.parametrize("text", ["", "view", "view=", "=1", "view=x", "view=1,view=2", "view=nan"])
def test_event_weights_that_cannot_be_read(text: str) -> None:
    with pytest.raises(DataError, match="expected view=1,cart=3,buy=10, each kind once"):
        parse_event_weights(text)
    assert parse_event_weights("view=1, buy=2.5") == {"view": 1, "buy": 2.5}


def weighed(dataset: Dataset, seed: int = 0) -> Dataset:
    """The data set with two kinds of events at random, one of which counts 20 times the other."""
    assert dataset.test is not None
    rng, kinds = np.random.default_rng(seed), np.array([1, 20], np.float32)
    parts = {}
    for name, part in (("train", dataset.train), ("valid", dataset.valid), ("test", dataset.test)):
        if part is None:
            continue
        events = rng.integers(0, 2, len(part)).astype(np.uint8)
        parts[name] = dataclasses.replace(part, events=events, weights=kinds[events])
    weights = {"view": 1.0, "buy": 20.0}
    return dataclasses.replace(dataset, **parts, events=["view", "buy"], event_weights=weights)


@pytest.mark.parametrize("family", ["historygcn", "lightgcn", "graphsage"])
def test_training_reads_weights(family: str, dataset: Dataset) -> None:
    assert dataset.test is not None
    with pytest.raises(DataError, match="either all parts have weights, or none has"):
        dataclasses.replace(weighed(dataset), test=dataset.test)
    same = dataclasses.replace(
        dataset,
        valid=None,
        test=None,
        train=dataclasses.replace(dataset.train, weights=np.ones(len(dataset.train), np.float32)),
    )
    options = {"model": family, "epochs": 1, "dim": 8}
    plain, ones, other = (
        train(data, **options).to_device_model() for data in (dataset, same, weighed(dataset))
    )
    for name, table in plain.tables.items():
        assert np.allclose(ones.tables[name].decode(), table.decode(), atol=1e-5)
        assert not np.allclose(other.tables[name].decode(), table.decode(), atol=1e-3)
    assert other.metadata["event_weights"] == {"view": 1.0, "buy": 20.0}
    assert "event_weights" not in plain.metadata


def test_examples_have_the_weights_of_their_items(dataset: Dataset) -> None:
    data = weighed(dataset)
    model = train(data, epochs=1, dim=8).to_device_model()
    known = {
        tuple(rows.tolist()): given for rows, given in known_histories(model, data) if len(rows) > 1
    }
    for users in lists(model, data, size=50):
        ends = users.counts.cumsum(0)[:-1]
        parts = users.items.tensor_split(ends)
        assert users.given is not None
        for rows, given in zip(parts, users.given.tensor_split(ends), strict=True):
            assert np.array_equal(known[tuple(rows.tolist())], given)
        assert torch.allclose(users.weights, users.given)
    strong = total = 0
    for batch in batches(model, data, size=40):
        assert batch.given is not None
        counts = (batch.history >= 0).sum(1, keepdim=True)
        shares = batch.given * counts**-0.5
        assert torch.allclose(batch.weights, shares.where(batch.history >= 0, 0))
        for history, target in zip(batch.history, batch.target, strict=True):
            past = {*history[history >= 0].tolist(), int(target)}
            (rows,) = [rows for rows in known if {*rows} == past]
            strong += int(known[rows][rows.index(int(target))] == 20)
            total += 1
    # Half of the items weigh 20 times as much as the others.
    assert strong > 0.8 * total


def test_a_dense_encoder_trains_on_weights(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    targets, pooled = [], []

    def shares(users: Lists, user_weight: float) -> torch.Tensor:
        targets.append(users.given)
        return shares_of(users, user_weight)

    def pool(x: torch.Tensor, rows: torch.Tensor, ends: torch.Tensor, weights: torch.Tensor) -> Any:
        pooled.append(weights)
        return bag(x, rows, ends, weights)

    monkeypatch.setattr(held_out, "shares_of", shares)
    monkeypatch.setattr(objective, "bag", pool)
    train(weighed(dataset), model="graphsage", epochs=1, dim=8)
    assert targets
    assert all(given is not None and {*given.tolist()} == {1.0, 20.0} for given in targets)
    # The mean weighs 1/n, and an item that counts 20 times 20/n.
    assert max(float(weights.max()) for weights in pooled) > 1.5


def test_training_does_not_resume_with_other_weights(dataset: Dataset, tmp_path: Path) -> None:
    def interrupt(done: int, total: int, what: str) -> None:
        raise KeyboardInterrupt

    path, options = tmp_path / "state", {"epochs": 2, "dim": 8}
    with pytest.raises(KeyboardInterrupt):
        train(weighed(dataset), checkpoint=path, progress=interrupt, **options)
    with pytest.raises(OptionError, match="was written with another dataset"):
        train(weighed(dataset, seed=1), checkpoint=path, **options)


@pytest.mark.parametrize("target", ["numpy", "onnx", "tflite"])
def test_devices_read_weights(target: str, dataset: Dataset, tmp_path: Path) -> None:
    data = weighed(dataset)
    model = train(data, epochs=1, dim=8).to_device_model()
    path = tmp_path / "x.edgerec"
    export(model, target, path, host=Host.installed())
    users = evaluation_users(data, 20)
    lists = rank(model, data, users, 10)
    assert (lists != rank(model, dataset, users, 10)).any()
    pairs = histories_of(data, users)
    with Scorer.open(path) as scorer:
        for row, (user, past) in enumerate(zip(users.tolist(), pairs, strict=True)):
            ids = [item for item, _ in past]
            known = data.histories
            assert known.events is not None
            start, end = known.indptr[user], known.indptr[user + 1]
            kinds = [data.events[event] for event in known.events[start:end]]
            expected = [data.items.ids[i] for i in lists[row]]
            by_name = scorer.recommend(ids, 10, weights=kinds)
            by_number = scorer.recommend(ids, 10, weights=[w for _, w in past])
            assert [one.id for one in by_name] == expected
            assert [one.id for one in by_number] == expected
        with pytest.raises(
            OptionError,
            match=r"weights\[0\]: expected a number .*, or one of view, buy, got 'wish'",
        ):
            scorer.recommend([data.items.ids[0]], weights=["wish"])
    figures = measure(path, pairs, k=10)
    assert figures.lists == [[data.items.ids[i] for i in row] for row in lists]
    assert evaluate(model, data, users=users, k=10).lists.tolist() == lists.tolist()
