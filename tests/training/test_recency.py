"""Recency: the latest items count more, alike in training, in the oracle and on a device."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import edgerec
from edgerec.data.dataset import Dataset
from edgerec.data.interactions import Interactions
from edgerec.data.quality import evaluate
from edgerec.device.scorer import Scorer
from edgerec.errors import BundleError, ModelError, OptionError
from edgerec.files.container import Container
from edgerec.files.container_writer import write_container
from edgerec.model.device_model import DeviceModel
from edgerec.model.history import pad_histories, pad_history
from edgerec.model.items import Items
from edgerec.model.oracle import Oracle
from edgerec.training.examples import Lists
from edgerec.training.loop import train
from edgerec.training.losses import shares_of
from edgerec.training.teacher import Teachers


def test_weights_worked_example() -> None:
    rows = np.array([7, 3, 5, 1])
    history, weights = pad_history(rows, 6, 0.5, recency=1.0)
    assert history.tolist() == [7, 3, 5, 1, -1, -1]
    assert weights.tolist() == pytest.approx([0.5 / 4, 0.5 / 3, 0.5 / 2, 0.5, 0, 0])
    _, latest = pad_history(rows, 2, 0.0, np.array([9, 9, 9, 2], np.float32), recency=1.0)
    assert latest.tolist() == pytest.approx([9 / 2, 2])


def test_lists_weigh_as_histories_do() -> None:
    lists = Lists(torch.tensor([7, 3, 5, 1, 2, 4]), torch.tensor([4, 2]), 0.5)
    expected = [(4 - j) ** -0.5 for j in range(4)] + [2**-0.5, 1]
    assert lists.weights.tolist() == pytest.approx(expected)
    shares = shares_of(lists, 0.2)
    # A user with c items counts c^0.8, however the items share it.
    assert shares[:4].sum().item() == pytest.approx(4**0.8)
    assert (shares[3] / shares[0]).item() == pytest.approx(4 ** (0.5 / 3))


def drifting(users: int = 300, items: int = 60) -> Dataset:
    """Users whose taste moves on: each goes once through the kinds of item, from anywhere."""
    rng = np.random.default_rng(0)
    rows, owners = [], []
    for user in range(users):
        start = int(rng.integers(6))
        for step in range(4):
            kind = (start + step) % 6
            rows += list(kind * 10 + rng.choice(10, 4, replace=False))
            owners += [user] * 4
    edges = Interactions.of_pairs(np.array(owners), np.array(rows), users)
    names = [f"u{n}" for n in range(users)]
    return Dataset("drift", names, Items.of(range(items)), edges).split_last(4)


def test_it_helps_where_tastes_move_on() -> None:
    data = drifting()
    alike, recent = (
        evaluate(train(data, dim=16, batch=32, recency=r).to_device_model(), data).ndcg
        for r in (0.0, 1.0)
    )
    assert recent > 1.1 * alike


@pytest.fixture(scope="module")
def model(dataset: Dataset) -> DeviceModel:
    return train(dataset, dim=8, epochs=2, batch=32, recency=0.7).to_device_model()


def test_a_device_weighs_as_training_did(model: DeviceModel, tmp_path: Path) -> None:
    assert model.recency == 0.7
    edgerec.save_model(model, tmp_path / "m.model")
    assert edgerec.load_model(tmp_path / "m.model").recency == 0.7
    edgerec.export(model, "numpy", tmp_path / "m.edgerec")
    scorer, oracle = Scorer.open(tmp_path / "m.edgerec"), Oracle(model)
    for rows in ([3, 1, 4, 9], [9, 4, 1, 3]):
        found = scorer.recommend([model.items.ids[r] for r in rows], 5)
        logits = oracle.logits(oracle.encode(*pad_histories([np.array(rows, np.int32)], model)))[0]
        logits[rows] = -np.inf
        assert [r.id for r in found] == [model.items.ids[int(r)] for r in np.argsort(-logits)[:5]]
    # A teacher is asked as the device would be.
    lists = Lists(torch.tensor([3, 1, 4, 9]), torch.tensor([4]))
    taught = Teachers([model], model.items).scores(lists, torch.tensor([5, 6, 7]))[0]
    history, weights = pad_histories([np.array([3, 1, 4, 9], np.int32)], model)
    scores = oracle.logits(oracle.encode(history, weights))[0, 5:8]
    assert np.corrcoef(taught, scores)[0, 1] > 0.9999


@pytest.mark.parametrize("value", ["often", None, 10**400])
def test_a_hostile_manifest(value: object, model: DeviceModel, tmp_path: Path) -> None:
    edgerec.export(model, "numpy", tmp_path / "m.edgerec")
    container = Container(tmp_path / "m.edgerec")
    sections = {name: container.array(name) for name in container.names}
    write_container(tmp_path / "x.edgerec", "bundle", container.meta | {"recency": value}, sections)
    with pytest.raises(BundleError):
        Scorer.open(tmp_path / "x.edgerec")


def test_refusals(dataset: Dataset, model: DeviceModel) -> None:
    with pytest.raises(OptionError, match="recency: expected 0 or more, got -1"):
        train(dataset, recency=-1)
    for name in ("recency", "gce", "popularity", "tilt", "user_weight", "temperature"):
        with pytest.raises(OptionError, match=f"{name}: expected .*, got nan"):
            train(dataset, **{name: float("nan")})
    with pytest.raises(ModelError, match="recency: expected a number from -8 to 8, got nan"):
        model.replace(recency=float("nan"))
