"""The hour and the weekday as context: learned with the item to predict, and told by a device."""

from __future__ import annotations

import copy
import dataclasses
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import torch

from edgerec.building.agree import agree
from edgerec.building.build import build
from edgerec.building.measured import quality_of_file
from edgerec.building.recipe import Recipe
from edgerec.compression.chain import compress
from edgerec.data.contexts import context_of, known_of
from edgerec.data.dataset import Dataset
from edgerec.data.features import Features
from edgerec.data.moments import MOMENTS, moments_of
from edgerec.data.quality import evaluate
from edgerec.device.scorer import Scorer
from edgerec.errors import DataError, OptionError
from edgerec.exporting.export import export
from edgerec.model.device_model import DeviceModel
from edgerec.training.loop import train
from edgerec.training.trained import Trained, load_trained
from edgerec.training.user_context import UserContext

OPTIONS = {
    "predict": "next",
    "epochs": 20,
    "learning_rate": 0.03,
    "dim": 16,
    "history_length": 20,
}


def by_the_clock(users: int = 150, items: int = 48, seed: int = 0) -> Dataset:
    """Users who take what is of the hour: items 0 to 23 by day, and the others at night."""
    rng = np.random.default_rng(seed)
    hour = rng.integers(0, 24, (users, 12))
    day = 1_700_000_000 // 86400 + np.arange(12) + rng.integers(0, 300, (users, 1))
    item = rng.integers(0, items // 2, hour.shape) + np.where((hour < 6) | (hour > 18), 24, 0)
    user = np.repeat(np.arange(users), 12)
    times = day * 86400 + hour * 3600 + 1800
    return Dataset.from_pairs(user, item.ravel(), times.ravel(), name="clock")


@pytest.fixture(scope="module")
def data() -> Dataset:
    return by_the_clock().split_last()


@pytest.fixture(scope="module")
def trained(data: Dataset) -> Trained:
    return train(data, context="weekday,hour", **OPTIONS)


@pytest.fixture(scope="module")
def model(trained: Trained) -> DeviceModel:
    return trained.to_device_model()


@pytest.mark.parametrize("parts_of_a_second", [1, 1000, 1_000_000, 1_000_000_000])
def test_moments_by_the_calendar(data: Dataset, parts_of_a_second: int) -> None:
    times = data.train.timestamps
    assert times is not None
    train = dataclasses.replace(data.train, timestamps=times * parts_of_a_second)
    dates = [datetime.fromtimestamp(one, UTC) for one in times.tolist()]
    hours, days = (moments_of(data, train, name) for name in ("hour", "weekday"))
    assert hours.tolist() == [date.hour for date in dates]
    assert [MOMENTS["weekday"][day] for day in days] == [f"{date:%A}" for date in dates]


def test_each_interaction_has_its_own(data: Dataset, trained: Trained) -> None:
    part = copy.deepcopy(trained.gnn.get_submodule("user_context"))
    assert isinstance(part, UserContext)
    with torch.no_grad():
        part.matrix.copy_(torch.arange(31.0)[:, None].expand(-1, part.matrix.shape[1]))
        users = torch.tensor([3, 0, 7])
        edges, owner, _ = trained.graph.edges(users)
        found = part(users[owner], edges)[:, 0].tolist()
    times = data.train.timestamps
    assert times is not None
    expected = []
    for user in users.tolist():
        for edge in range(data.train.indptr[user], data.train.indptr[user + 1]):
            date = datetime.fromtimestamp(float(times[edge]), UTC)
            expected.append(date.weekday() + 7 + date.hour)
    assert found == expected


def test_the_hour_tells_what_is_next(data: Dataset) -> None:
    model = train(data, context="weekday,hour", **OPTIONS).to_device_model()
    plain = train(data, **OPTIONS).to_device_model()
    assert evaluate(model, data, k=5).ndcg > 1.3 * evaluate(plain, data, k=5).ndcg


def test_users_are_ranked_for_at_the_time_of_what_is_held_out() -> None:
    data = by_the_clock().split_recent(0.25)
    context = context_of(data, ["hour"])
    assert data.test is not None
    assert data.test.timestamps is not None
    for user in (0, 9):
        first = float(data.test.timestamps[data.test.indptr[user]])
        hour = str(datetime.fromtimestamp(first, UTC).hour)
        assert known_of(context, data, np.array([user])) == [{"hour": [hour]}]


def test_a_device_tells_the_hour(data: Dataset, model: DeviceModel, tmp_path: Path) -> None:
    small = compress(model, "quantize:codec=int8")
    path = export(small, "numpy", tmp_path / "x.edgerec", top_k=20).path
    with Scorer.open(path) as scorer:
        by_day, at_night = (
            {int(r.id) for r in scorer.recommend(["3", "30"], 10, context={"hour": hour})}
            for hour in (12, 23)
        )
    assert sum(item < 24 for item in by_day) > sum(item < 24 for item in at_night)
    assert quality_of_file(path, data).ndcg == pytest.approx(evaluate(model, data).ndcg, rel=0.03)


def test_builds_know_the_moment(data: Dataset, model: DeviceModel, tmp_path: Path) -> None:
    recipe = Recipe(compress=(("quantize", {"codec": "int8"}),), targets=("numpy",), top_k=20)
    (built,) = build(model, data, recipe, tmp_path / "a")
    assert agree(model, built.path, data).overlap.value > 0.9
    (without,) = build(model, None, recipe, tmp_path / "b")
    assert without.overlap is not None
    assert without.overlap > 0.9


def test_users_may_have_an_hour_of_their_own(data: Dataset) -> None:
    hours = [["8"] for _ in data.users]
    own = data.with_user_features(Features.of(data.users, categories={"hour": hours}))
    assert context_of(own, ["hour"]).width == 1
    context = context_of(own, ["hour"])
    assert known_of(context, own, np.array([3])) == [{"hour": ["8"]}]
    # A model says what its hour is: that of an interaction, or one that its users have.
    with pytest.raises(DataError, match="the data set knows no hour of its users"):
        known_of(context, data, np.arange(2))
    moment = context_of(data, ["hour"])
    assert known_of(moment, own, np.arange(9)) == known_of(moment, data, np.arange(9))


def test_what_has_no_time_is_refused(data: Dataset, model: DeviceModel, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="context: hour: changes from one interaction to the nex"):
        train(data, context="hour", epochs=1)
    timeless = dataclasses.replace(
        data, train=dataclasses.replace(data.train, timestamps=None), test=None
    )
    with pytest.raises(OptionError, match="context: hour: clock does not say when interactions"):
        train(timeless, context="hour", **OPTIONS)
    counted = np.arange(len(data.train), dtype=np.float64)
    numbered = dataclasses.replace(data.train, timestamps=counted)
    with pytest.raises(OptionError, match="are no seconds"):
        train(dataclasses.replace(data, train=numbered), context="hour", **OPTIONS)
    with pytest.raises(DataError, match="is that of an interaction to predict, and none is held"):
        compress(model, "pq:epochs=1", dataset=data)
    beyond = dataclasses.replace(data.train, timestamps=np.full(len(data.train), 1e21))
    with pytest.raises(OptionError, match="are no seconds"):
        moments_of(data, beyond, "hour")


def test_other_times_are_other_data(data: Dataset, tmp_path: Path) -> None:
    train(data, context="hour", **OPTIONS | {"epochs": 1}).save(tmp_path / "gnn")
    assert data.train.timestamps is not None
    later = dataclasses.replace(data.train, timestamps=data.train.timestamps + 3600)
    with pytest.raises(OptionError, match="was trained on other interactions"):
        load_trained(tmp_path / "gnn", dataclasses.replace(data, train=later))
    assert load_trained(tmp_path / "gnn", data).to_device_model().context is not None
