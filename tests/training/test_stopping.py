"""Early stopping: the best epoch is kept, and an interrupted training keeps the same one."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from edgerec.data.dataset import Dataset
from edgerec.data.quality import evaluate
from edgerec.errors import DataError, OptionError
from edgerec.training.loop import train
from tests.conftest import make_dataset

OPTIONS = {"dim": 8, "epochs": 30, "batch": 32, "learning_rate": 0.05, "patience": 2}


def test_the_best_epoch_is_kept(dataset: Dataset) -> None:
    judged: list[float] = []
    trained = train(dataset, judged=lambda epoch, ndcg: judged.append(ndcg), **OPTIONS)
    assert 3 <= len(judged) < 30
    assert judged[-1] < max(judged)
    found = evaluate(trained.to_device_model(), dataset.on_valid()).ndcg
    assert found == pytest.approx(max(judged), abs=1e-6)
    best = judged.index(max(judged))
    assert len(judged) - 1 - best == 2


def test_an_interrupted_training_stops_at_the_same_epoch(dataset: Dataset, tmp_path: Path) -> None:
    whole = train(dataset, **OPTIONS)
    path = tmp_path / "checkpoint"

    def interrupt(done: int, total: int, what: str) -> None:
        assert "on validation" in what
        raise KeyboardInterrupt

    epochs = 0
    while True:
        try:
            parts = train(dataset, checkpoint=path, progress=interrupt, **OPTIONS)
            break
        except KeyboardInterrupt:
            epochs += 1
    assert epochs >= 3
    for ours, theirs in zip(parts.gnn.parameters(), whole.gnn.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_it_needs_something_to_stop_by() -> None:
    with pytest.raises(DataError, match="has no validation interactions to choose by"):
        train(make_dataset().split_random(0.2), **OPTIONS)
    with pytest.raises(OptionError, match="patience: expected a positive integer, got 0"):
        train(make_dataset(), patience=0)
