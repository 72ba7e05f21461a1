"""What is particular to numpy: the best of a scan, without all of its scores."""

from __future__ import annotations

import numpy as np
import pytest

from edgerec.plugin import above, top_k
from edgerec_numpy.run import best


@pytest.mark.parametrize("height", [1, 7, 1000, 5000])
@pytest.mark.parametrize("k", [1, 20, 600])
def test_best_of_blocks_is_the_best_of_all(height: int, k: int) -> None:
    rng = np.random.default_rng(0)
    n = 3000
    for scores in (rng.normal(size=n), np.arange(n) % 5, np.zeros(n), -np.arange(n), np.arange(n)):
        scores = scores.astype(np.float32)
        found = best(above(scores.__getitem__), n, height, k)
        for got, expected in zip(found, top_k(scores, k), strict=True):
            assert np.array_equal(got, expected)
            assert got.dtype == expected.dtype
