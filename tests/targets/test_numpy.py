"""The numpy target scores rows without decoding, and finds the best without all scores."""

from __future__ import annotations

import numpy as np
import pytest

from edgerec.model.codecs import Codec
from edgerec.model.table import Table
from edgerec.plugin import top_k
from edgerec.testing import CORE_CODECS
from edgerec_numpy.lookup import Sums
from edgerec_numpy.scan import Scan, _above, best
from edgerec_pq.codec import PQ
from edgerec_quantize.grouped import Int4Group

PQS = (
    *(PQ(), PQ(8, bits=4), PQ(6, runs=5), PQ(3, 2, bits=4), PQ(1, 3, runs=7)),
    *(PQ(4, 2, word_bits=4), PQ(1, 3, runs=7, word_bits=4), PQ(5, runs=3), PQ(2, 3)),
    *(PQ(3, 3, 4, 60), PQ(16, bits=4), PQ(1, 5, 4, 1)),
)


def check_scan(codec: Codec) -> None:
    """Check that a scan equals the product with decoded rows, and finds all rows above a bound."""
    rng = np.random.default_rng(0)
    matrix = rng.normal(size=(50, 16)).astype(np.float32)
    matrix[3] = 0
    table = Table.encode(matrix, codec)
    user, whole = rng.normal(size=16).astype(np.float32), table.decode()
    scan = Scan(table)
    score = scan.product(user)
    for part in (slice(0, 50), slice(10, 20)):
        assert np.allclose(score(part), whole[part] @ user, rtol=1e-4, atol=1e-5)
    exact = score(slice(10, 40))
    for bound in (-np.inf, float(np.median(exact)), float(exact.max()) + 1):
        positions, high = scan.above(user)(slice(10, 40), bound)
        assert np.array_equal(positions, np.flatnonzero(exact > bound))
        assert np.allclose(high, exact[positions], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("codec", [*CORE_CODECS, Int4Group(4), *PQS], ids=str)
def test_a_scan_equals_the_product_with_decoded_rows(codec: Codec) -> None:
    check_scan(codec)


@pytest.mark.parametrize("codec", PQS, ids=str)
def test_looking_up_two_bytes_at_a_time(codec: PQ, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgerec_numpy.lookup._MANY", 0)
    check_scan(codec)


@pytest.mark.parametrize("height", [1, 7, 1000, 5000])
@pytest.mark.parametrize("k", [1, 20, 600])
def test_the_best_of_blocks_are_the_best_of_all(height: int, k: int) -> None:
    rng = np.random.default_rng(0)
    n = 3000
    for scores in (rng.normal(size=n), np.arange(n) % 5, np.zeros(n), -np.arange(n), np.arange(n)):
        scores = scores.astype(np.float32)
        found = best(_above(scores.__getitem__), n, height, k)
        for got, expected in zip(found, top_k(scores, k), strict=True):
            assert np.array_equal(got, expected)
            assert got.dtype == expected.dtype


@pytest.mark.parametrize("many", [0, 10**9], ids=["pairs", "bytes"])
@pytest.mark.parametrize("width", [1, 3, 8])
@pytest.mark.parametrize("kept", [0, 1, 20, 2500, 5000])
def test_above_returns_every_sum_above_the_bound(
    width: int, kept: int, many: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgerec_numpy.lookup._MANY", many)
    rng = np.random.default_rng(width)
    codes = rng.integers(0, 256, (5000, width), np.uint8)
    spread = rng.uniform(0.1, 2, (width, 1)).astype(np.float32)
    sums = Sums(rng.standard_normal((width, 256)).astype(np.float32) * spread, len(codes))
    every = sums.all(codes)
    bound = np.inf if not kept else float(np.sort(every)[-kept])
    places, scores = sums.above(codes, bound)
    assert np.array_equal(places, np.flatnonzero(every > bound))
    assert np.array_equal(scores, every[places])
