"""The codes of sums of codewords, found by beam search."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from edgerec_pq import beam
from edgerec_pq.kmeans import assign, lookup

RNG = np.random.default_rng(3)


def drawn(n: int, stages: int, size: int, d: int) -> tuple[np.ndarray, np.ndarray]:
    return (
        RNG.normal(size=(n, d)).astype(np.float32),
        RNG.normal(size=(stages, size, d)).astype(np.float32),
    )


def errors(rows: np.ndarray, words: np.ndarray, codes: np.ndarray) -> np.ndarray:
    found = sum(words[stage][codes[:, stage]] for stage in range(len(words)))
    return np.square(rows - found).sum(1)


def test_a_beam_that_keeps_every_sum_finds_the_best() -> None:
    rows, words = drawn(50, 3, 6, 5)
    every = np.array([*itertools.product(range(6), repeat=3)])
    sums = words[0][every[:, 0]] + words[1][every[:, 1]] + words[2][every[:, 2]]
    best = np.square(rows[:, None] - sums).sum(2).min(1)
    assert np.allclose(errors(rows, words, beam.search(rows, words, 36)), best, atol=1e-4)


def test_a_wider_beam_has_less_error() -> None:
    rows, words = drawn(600, 4, 64, 12)
    found = [errors(rows, words, beam.search(rows, words, width)).mean() for width in (1, 8, 32)]
    assert found[0] > 1.2 * found[1]
    assert found[1] > found[2]


def test_a_beam_of_one_is_greedy() -> None:
    rows, words = drawn(300, 2, 16, 4)
    first = np.square(rows[:, None] - words[0]).sum(2).argmin(1)
    rest = rows - words[0][first]
    second = np.square(rest[:, None] - words[1]).sum(2).argmin(1)
    assert beam.search(rows, words, 1).tolist() == np.stack([first, second], 1).tolist()


def test_subspaces_are_searched_on_their_own() -> None:
    rows, words = drawn(40, 2, 8, 7)
    codes = assign(rows, words, 2)
    alone = [beam.search(rows[:, part], words[:, :, part]) for part in (slice(4), slice(4, 7))]
    assert codes[:, 0::2].tolist() == alone[0].tolist()
    assert codes[:, 1::2].tolist() == alone[1].tolist()
    own = [
        errors(rows[:, :4], words[:, :, :4], alone[0]),
        errors(rows[:, 4:], words[..., 4:], alone[1]),
    ]
    assert np.allclose(np.square(rows - lookup(codes, words)).sum(1), sum(own), atol=1e-4)


@pytest.mark.parametrize(("wide", "count"), [(512, 8), (512, 1), (256, 16), (60, 8), (8, 8)])
def test_the_lowest_of_many(wide: int, count: int) -> None:
    values = RNG.integers(0, 1000, (30, wide)).astype(np.float32)
    found = np.take_along_axis(values, beam._lowest(values, count), 1)
    assert np.sort(found, 1).tolist() == np.sort(values, 1)[:, :count].tolist()
