"""Exact ranking in blocks, next to a plain sort."""

from __future__ import annotations

import numpy as np
import pytest

from edgerec.data import ranking
from edgerec.data.dataset import Dataset
from edgerec.data.ranking import rank_rows, top_k_of_each
from edgerec.model.device_model import DeviceModel
from edgerec.training.loop import train


@pytest.fixture(scope="module")
def trained(dataset: Dataset) -> DeviceModel:
    return train(dataset, epochs=1, dim=8).to_device_model()


@pytest.mark.parametrize("seed", range(60))
def test_the_highest_are_found_among_ties_and_missing_scores(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n, k, users = int(rng.integers(1, 3000)), int(rng.integers(1, 40)), int(rng.integers(1, 5))
    scores = rng.integers(0, rng.choice([3, 50, 10**6]), (users, n)).astype(np.float32)
    scores[rng.random((users, n)) < rng.choice([0, 0.3, 0.99])] = -np.inf
    rows, best = top_k_of_each(scores, k)
    assert rows.dtype == np.int32
    assert rows.shape == best.shape == (users, min(k, n))
    for user in range(users):
        expected = np.lexsort((np.arange(n), -scores[user]))[:k]
        assert np.array_equal(rows[user], expected)
        assert np.array_equal(best[user], scores[user][expected])


def test_lists_do_not_depend_on_the_size_of_blocks(
    trained: DeviceModel, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    users = np.arange(len(dataset.users))[::-1][:97]
    whole = rank_rows(trained, dataset, users, 15)
    monkeypatch.setattr(ranking, "_SCORES", 7 * len(trained.items))
    parts = rank_rows(trained, dataset, users, 15)
    assert np.array_equal(whole[0], parts[0])
    assert np.allclose(whole[1], parts[1], atol=1e-5)


def test_an_error_in_a_block_is_raised(
    trained: DeviceModel, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(scores: np.ndarray, k: int) -> None:  # type: ignore[type-arg]
        raise MemoryError("no memory")

    monkeypatch.setattr(ranking, "top_k_of_each", fail)
    with pytest.raises(MemoryError, match="no memory"):
        rank_rows(trained, dataset, np.arange(5))
