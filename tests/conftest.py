"""Shared fixtures: a small synthetic data set with structure, and a trained model of it."""

from __future__ import annotations

import functools
import os
from pathlib import Path

import numpy as np
import pytest

from edgerec.data.dataset import Dataset
from edgerec.data.interactions import Interactions
from edgerec.data.sources import load
from edgerec.errors import DataError
from edgerec.model.device_model import DeviceModel
from edgerec.model.items import Items
from edgerec.testing import example_models


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what needs the network where there is none."""
    if item.get_closest_marker("network") and (reason := unreachable()):
        pytest.skip(reason)


@pytest.fixture(autouse=True, scope="session")
def no_records(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep tests from reading, and from writing, what was recorded of real devices."""
    os.environ["EDGEREC_RECORDS"] = str(tmp_path_factory.mktemp("records"))


@functools.cache
def unreachable() -> str:
    """Why public data can neither be fetched nor found in the cache; empty if it can."""
    try:
        load("ml-100k")
    except DataError as error:
        if "cannot be reached" in str(error):
            return str(error)
    return ""


def make_dataset(users: int = 120, items: int = 80, seed: int = 0) -> Dataset:
    """Users of four tastes who mostly pick items of their own taste."""
    rng = np.random.default_rng(seed)
    taste, kind = rng.integers(4, size=users), rng.integers(4, size=items)
    chance = np.where(taste[:, None] == kind[None], 0.45, 0.04)
    user, item = np.nonzero(rng.random((users, items)) < chance)
    train = Interactions.of_pairs(user, item, users, timestamps=rng.permutation(len(user)))
    catalogue = Items.of(
        [f"i{n:03d}" for n in range(items)], [f"Title {n} of kind {kind[n]}" for n in range(items)]
    )
    return Dataset("tastes", [f"u{n:03d}" for n in range(users)], catalogue, train)


@pytest.fixture(scope="session")
def dataset() -> Dataset:
    """The synthetic data set, a fifth of it held out, and then a sixth to choose by."""
    return make_dataset().split_random(0.2).split_random(0.15, seed=1, part="valid")


@pytest.fixture(scope="session")
def models() -> dict[str, DeviceModel]:
    """Small models that use every op, head and table arrangement."""
    return example_models()


@pytest.fixture
def csv(tmp_path: Path) -> Path:
    """Write a small interactions file."""
    path = tmp_path / "ratings.csv"
    path.write_text(
        "user,item,rating,timestamp\n"
        "ann,apple,5,1\nann,pear,3,2\nann,fig,4,3\n"
        "bob,apple,4,1\nbob,fig,2,5\ncyd,pear,5,7\ncyd,apple,1,8\n"
    )
    return path
