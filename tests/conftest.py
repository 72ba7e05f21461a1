"""Shared fixtures: a small synthetic data set with structure, and a trained model of it."""

from __future__ import annotations

import functools
import os
import random
from pathlib import Path

import numpy as np
import pytest
import torch

from edgerec.data.dataset import Dataset
from edgerec.data.features import Features
from edgerec.data.sources import load
from edgerec.errors import DataError
from edgerec.model.device_model import DeviceModel
from edgerec.testing import example_dataset, example_models


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what needs the network where there is none."""
    if item.get_closest_marker("network") and (reason := unreachable()):
        pytest.skip(reason)


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Start every test from one random state: layers without a seed of their own draw from it."""
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)


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


#: Users of four tastes, under the name that tests use.
make_dataset = example_dataset


def example_features(dataset: Dataset, seed: int = 0) -> Features:
    """Features of every kind: the taste that each item of ``example_dataset`` has, and noise."""
    rng = np.random.default_rng(seed)
    assert dataset.items.titles is not None
    kinds = [title.split()[-1] for title in dataset.items.titles]
    n = len(kinds)
    return Features.of(
        dataset.items.ids,
        categories={"kind": [[kind, "all"] for kind in kinds]},
        numbers={"size": rng.normal(5, 2, n)},
        text={"blurb": [f"A {kind} thing, number {row}" for row, kind in enumerate(kinds)]},
        vectors={"shape": np.eye(4)[[int(kind) for kind in kinds]] + rng.normal(0, 0.1, (n, 4))},
    )


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
