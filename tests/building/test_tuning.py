"""Tuning: resumable, chosen on validation items, and honest about order."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgerec.building import tuning
from edgerec.building.tuning import tune
from edgerec.data.dataset import Dataset
from edgerec.data.interactions import Interactions
from edgerec.data.quality import evaluate
from edgerec.errors import DataError, OptionError
from edgerec.model.items import Items
from edgerec.training.loop import train
from edgerec.training.options import TrainOptions

GIVEN = TrainOptions(dim=8, epochs=4, batch=32)


def test_what_is_chosen_is_what_was_measured(dataset: Dataset, tmp_path: Path) -> None:
    tuned = tune(dataset, GIVEN, trials=4, folder=tmp_path)
    assert len(tuned.trials) == 4
    assert {name: tuned.trials[0][name] for name in ("learning_rate", "epochs", "patience")} == {
        "learning_rate": 0.01,
        "epochs": 4,
        "patience": None,
    }
    chosen = train(dataset, GIVEN, **tuned.options).to_device_model()
    assert evaluate(chosen, dataset.on_valid()).ndcg == pytest.approx(tuned.ndcg.value, abs=1e-4)
    first = evaluate(train(dataset, GIVEN).to_device_model(), dataset.on_valid()).ndcg
    assert tuned.gain.value == pytest.approx(tuned.ndcg.value / first, rel=1e-3)
    assert tuned.gain.value >= 1


def test_an_interrupted_tuning_resumes(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = tune(dataset, GIVEN, trials=3, folder=tmp_path / "whole")
    tune(dataset, GIVEN, trials=1, folder=tmp_path / "parts")

    def interrupt(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(tuning, "train", interrupt)
        with pytest.raises(KeyboardInterrupt):
            tune(dataset, GIVEN, trials=3, folder=tmp_path / "parts")
    assert tune(dataset, GIVEN, trials=3, folder=tmp_path / "parts") == whole
    with pytest.raises(OptionError, match="was created with another options"):
        tune(dataset, dataclasses.replace(GIVEN, dim=4), trials=1, folder=tmp_path / "parts")


def test_the_test_part_is_not_looked_at(dataset: Dataset) -> None:
    without = dataclasses.replace(dataset, test=None)
    assert tune(without, GIVEN, trials=2) == tune(dataset, GIVEN, trials=2)
    with pytest.raises(DataError, match="has no validation interactions"):
        tune(dataclasses.replace(dataset, valid=None), GIVEN, trials=1)
    with pytest.raises(OptionError, match=r"tune\.trials: expected at least 1, got 0"):
        tune(dataset, GIVEN, trials=0)


def moving(users: int = 300) -> Dataset:
    """Users whose next item follows from their last one alone."""
    rng = np.random.default_rng(0)
    rows = [(int(rng.integers(40)) + np.arange(8)) % 40 for _ in range(users)]
    edges = Interactions.of_pairs(np.repeat(np.arange(users), 8), np.concatenate(rows), users)
    data = Dataset("moving", [f"u{n}" for n in range(users)], Items.of(range(40)), edges)
    return data.split_last().split_last(part="valid")


def test_order_is_read_only_where_it_helps(dataset: Dataset) -> None:
    tuned = tune(moving(), dataclasses.replace(GIVEN, dim=16), trials=6)
    assert tuned.order_helps
    assert tuned.options["recency"] > 0
    # What comes next follows from the last item alone.
    assert tuned.options["predict"] == "next"
    assert {one["predict"] for one in tuned.trials if one["recency"] == 0} == {"any"}
    # Where nothing is in order, the best trial that reads none is taken.
    tuned = tune(dataset, GIVEN, trials=6)
    assert tuned.order is not None
    assert not tuned.order_helps
    assert tuned.options.get("recency", 0.0) == 0
