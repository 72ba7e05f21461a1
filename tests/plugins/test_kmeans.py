"""k-means of large tables, which learns from a sample of the rows."""

from __future__ import annotations

import numpy as np
import pytest

from edgerec_pq import kmeans
from edgerec_pq.kmeans import cluster, rotation


def heaps(counts: list[int]) -> tuple[np.ndarray, np.ndarray]:  # type: ignore[type-arg]
    """Rows of two kinds in one place per heap, the second kind a hundred times as heavy."""
    rng = np.random.default_rng(0)
    place = np.repeat(np.arange(len(counts)), counts)
    heavy = rng.random(len(place)) < 0.5
    rows = np.column_stack([10.0 * place, np.where(heavy, 1.0, -1.0)])
    order = rng.permutation(len(place))
    return rows[order].astype(np.float32), np.where(heavy, 100.0, 1.0)[order].astype(np.float32)


def test_words_from_a_sample_are_weighted_means_and_every_row_has_the_nearest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows, weight = heaps([400, 400])
    monkeypatch.setattr(kmeans, "SAMPLE", 60)
    words, nearest = cluster(rows, 2, weight, rounds=4)
    assert nearest.shape == (800,)
    assert np.array_equal(nearest, (rows[:, 0] > 5) if words[1, 0] > 5 else (rows[:, 0] < 5))
    # Close to 1, because heavy rows are at 1: the weights are those of the rows in the sample.
    assert np.all(words[:, 1] > 0.9)


def test_a_rotation_from_a_sample_is_orthogonal_and_fits_as_well(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = np.random.default_rng(1)
    rows = (rng.standard_normal((4000, 3)) @ rng.standard_normal((3, 8))).astype(np.float32)
    ones = np.ones(len(rows), np.float32)
    whole = rotation(rows, 4, 8, ones)
    monkeypatch.setattr(kmeans, "SAMPLE", 100)
    part = rotation(rows, 4, 8, ones)
    assert not np.array_equal(whole, part)
    assert np.allclose(part @ part.T, np.eye(8), atol=1e-5)

    def error(turn: np.ndarray) -> float:  # type: ignore[type-arg]
        codes, words = kmeans.learn(rows @ turn, kmeans.Shape(1, 4, 8))
        return float(np.square(rows @ turn - kmeans.lookup(codes, words)).mean())

    assert error(part) < 1.1 * error(whole)
