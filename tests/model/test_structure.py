"""Structures of codecs: lines along runs of rows, read by row, by slice and as a range."""

from __future__ import annotations

import numpy as np
import pytest

from edgerec.plugin import RunLines

#: Runs of one row, of two, and longer ones, which begin and end inside what is read.
ENDS = np.array([1, 3, 4, 11, 16, 17, 40], np.uint32)


@pytest.fixture
def lines() -> RunLines:
    levels = np.random.default_rng(0).normal(size=(len(ENDS), 2)).astype(np.float32)
    return RunLines(ENDS, levels)


def written_out(lines: RunLines) -> np.ndarray:
    """Every row, one at a time, straight from the definition."""
    rows, start = [], 0
    for end, first, slope in zip(ENDS.tolist(), lines.first, lines.slope, strict=True):
        rows += [first + np.float32(row - start) * slope for row in range(start, end)]
        start = end
    return np.array(rows, np.float32)


def test_rows_lie_on_the_lines(lines: RunLines) -> None:
    expected = written_out(lines)
    assert np.allclose(lines.at(np.arange(40)), expected, rtol=1e-6, atol=1e-6)
    shuffled = np.random.default_rng(1).permutation(40)
    assert np.allclose(lines.of(shuffled), expected[shuffled], rtol=1e-6, atol=1e-6)


def test_slices_equal_rows(lines: RunLines) -> None:
    expected = written_out(lines)
    for start in range(40):
        for stop in range(start + 1, 41):
            assert np.allclose(lines.along(start, stop), expected[start:stop], rtol=1e-5, atol=1e-6)
            assert np.array_equal(lines.of(slice(start, stop)), lines.along(start, stop))
    assert np.allclose(lines.of(slice(2, 40, 3)), expected[2:40:3], rtol=1e-6, atol=1e-6)
    assert len(lines.of(slice(5, 5))) == 0


def test_ranges_contain_the_rows(lines: RunLines) -> None:
    expected = written_out(lines)
    for start in range(40):
        for stop in range(start + 1, 41):
            low, high = lines.range(start, stop)
            assert low <= expected[start:stop].min() + 1e-6
            assert high >= expected[start:stop].max() - 1e-6
    # A range is that of the runs it touches, and no other.
    assert lines.range(5, 6) == (float(lines.low[3]), float(lines.high[3]))
