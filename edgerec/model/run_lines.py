"""RunLines: a structure for a number per row that follows from the row's position."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgerec.model.integers import F32

__all__ = ["RunLines"]


class RunLines:
    r"""A number per row, read off lines over runs of consecutive rows.

    Row i of the run from row s up to row e has

        r_i = (1 - t) · levels[run, 0] + t · levels[run, 1],      t = (i - s) / (e - s - 1)

    Args:
        ends: integers[runs], one past the last row of each run.
        levels: floats[runs, 2], the numbers at both ends of each run.
    """

    def __init__(self, ends: NDArray[np.integer[Any]], levels: NDArray[Any]) -> None:
        self.levels = levels
        self.ends = ends.astype(np.int64)
        self.first, last = np.ascontiguousarray(levels.astype(np.float32).T)
        self.starts = np.concatenate([[0], self.ends[:-1]])
        span = np.maximum(self.ends - self.starts - 1, 1)
        self.slope = (last - self.first) / span.astype(np.float32)
        self.low, self.high = np.minimum(self.first, last), np.maximum(self.first, last)

    @property
    def even(self) -> int:
        """The number of rows per run if all runs but the last have as many; 0 if they do not."""
        heights = self.ends - self.starts
        height = int(heights[0])
        same = bool((heights[:-1] == height).all()) and 0 < heights[-1] <= height
        return height if same else 0

    @property
    def step(self) -> int:
        """The largest power of two, up to 64, of which the first row of each run is a multiple.

        Rows from one multiple to the next are in the same run.
        """
        return math.gcd(64, *(int(start) for start in self.starts[self.ends > self.starts]))

    def rows(self, rows: NDArray[Any] | slice) -> F32:
        """Decode the given rows to float32[len(rows), 1]."""
        return self.of(rows)[:, None]

    def of(self, rows: NDArray[Any] | slice) -> F32:
        """float32[len(rows)], the numbers of rows given by index or slice."""
        if isinstance(rows, slice):
            start, stop, step = rows.indices(int(self.ends[-1]))
            if step == 1 and start < stop:
                return self.along(start, stop)
            rows = np.arange(start, stop, step)
        return self.at(rows)

    def at(self, rows: NDArray[Any]) -> F32:
        """float32[len(rows)], the numbers of rows int[...]."""
        run = np.searchsorted(self.ends, rows, side="right")
        found: F32 = (rows - self.starts[run]).astype(np.float32) * self.slope[run]
        return found + self.first[run]

    def along(self, start: int, stop: int) -> F32:
        """float32[stop - start], the numbers of consecutive rows."""
        runs = self._runs_of(start, stop)
        counts = np.diff(np.clip(self.ends[runs], start, stop), prepend=start)
        along = np.arange(stop - start, dtype=np.float32)
        along -= np.repeat((self.starts[runs] - start).astype(np.float32), counts)
        along *= np.repeat(self.slope[runs], counts)
        along += np.repeat(self.first[runs], counts)
        return along

    def range(self, start: int, stop: int) -> tuple[float, float]:
        """The least and the greatest number that any row from start to stop may have."""
        runs = self._runs_of(start, stop)
        return float(self.low[runs].min()), float(self.high[runs].max())

    def _runs_of(self, start: int, stop: int) -> slice:
        """The runs that contain rows from start to stop."""
        one, other = np.searchsorted(self.ends, (start, stop - 1), side="right")
        return slice(one, other + 1)
