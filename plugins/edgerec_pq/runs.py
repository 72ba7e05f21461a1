r"""Runs: one number per row, which follows from the row's position.

Rows are sorted by a number that each row has, and split into *runs*. Of each run, its last row and
the numbers at both ends are stored. In between, the numbers lie on a line: row i of the run from s
to e has

    r_i = (1 - t) · levels[run, 0] + t · levels[run, 1],      t = (i - s) / (e - s - 1),

so a few bytes per run replace one or two bytes per row. ``ends[j]`` is one past the last row of run
j. A run of a single row has the first of its levels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from edgerec.plugin import F32, Arrays, Codec, CodecError, RunLines, Structure

__all__ = [
    "Runs",
    "aligned_ends",
    "block_ends",
    "check_ends",
    "even_ends",
    "fit",
    "levels_of",
    "places",
    "runs_arrays",
    "runs_for",
    "runs_layout",
    "taken_runs",
]

Layout = dict[str, tuple[str, tuple[int, ...]]]

#: Rows per run, the fewest and the most runs, and the fewest rows per run.
ROWS_A_RUN, FEWEST_RUNS, MOST_RUNS, FEWEST_ROWS = 160, 32, 2048, 16

#: Long runs start at multiples of so many rows; they are long if they have so many on average.
STEP, LONG = 16, 256


def runs_for(n: int) -> int:
    """The number of runs for a table of n rows."""
    wanted = min(MOST_RUNS, max(FEWEST_RUNS, n // ROWS_A_RUN))
    return max(1, min(wanted, n // FEWEST_ROWS))


@dataclass(frozen=True)
class Runs(Codec):
    """A line per run of consecutive rows: 8 bytes per run.

    It is for tables of one column whose rows are sorted by their numbers.
    """

    name: ClassVar[str] = "runs"
    learns: ClassVar[bool] = True
    runs: int = 256

    def encode(self, matrix: F32) -> dict[str, NDArray[Any]]:
        """Fit runs of equal size."""
        self.layout(*matrix.shape)
        ends = even_ends(len(matrix), self.runs)
        return self.write(ends, fit(matrix[:, 0], ends))

    def write(self, ends: NDArray[np.integer[Any]], levels: F32) -> dict[str, NDArray[Any]]:
        """The arrays for the ends of runs and their levels, float32[runs, 2].

        Raises:
            CodecError: a number does not fit float16.
        """
        return runs_arrays(ends, levels)

    def decode(self, arrays: Arrays, rows: NDArray[Any] | slice) -> F32:
        """Read each row's number off the line of its run."""
        return levels_of(arrays, rows)[:, None]

    def structure(self, arrays: Arrays) -> Structure:
        """Lines over runs."""
        return RunLines(arrays["ends"], arrays["levels"])

    def take(self, arrays: Arrays, rows: NDArray[Any]) -> tuple[Codec, dict[str, NDArray[Any]]]:
        """Shorten the runs, and fit their lines again."""
        return self, taken_runs(arrays, rows)

    def check(self, arrays: Arrays, n: int, d: int) -> None:
        """Check the layout, and that runs follow one another up to the last row."""
        super().check(arrays, n, d)
        check_ends(arrays, n)

    def layout(self, n: int, d: int) -> Layout:
        """Ends and levels."""
        if d != 1 or self.runs < 1:
            raise CodecError(
                f"codec runs: expected one column and at least 1 run, got {d} and {self.runs}"
            )
        return runs_layout(self.runs)


def even_ends(n: int, runs: int) -> NDArray[np.int64]:
    """int64[runs], ends of runs of near-equal size over n rows."""
    return aligned_ends(np.arange(1, runs + 1) * n // max(runs, 1))


def aligned_ends(ends: NDArray[np.int64]) -> NDArray[np.int64]:
    """The ends of runs over n rows, moved to multiples of ``STEP`` if runs are long on average.

    A runtime then computes the lengths of as many rows together. Of other runs, too large a share
    would change over to the next one.
    """
    runs = len(ends)
    if not runs or ends[-1] < LONG * runs:
        return ends
    n = int(ends[-1])
    moved: NDArray[np.int64] = (ends + STEP // 2) // STEP * STEP
    return np.minimum(np.append(moved[:-1], n), n)


def block_ends(n: int, height: int) -> NDArray[np.int64]:
    """int64[runs], ends of runs of ``height`` rows, of which the last may have fewer, over n."""
    return np.minimum(np.arange(height, n + height, height), n)


def places(ends: NDArray[np.integer[Any]], rows: NDArray[Any]) -> tuple[NDArray[np.int64], F32]:
    """The run of each row, int64[rows], and its position t along it, float32[rows]."""
    run = np.searchsorted(ends, rows, side="right")
    starts, span = _extents(ends)
    return run, ((rows - starts[run]) / span[run]).astype(np.float32)


def check_ends(arrays: Arrays, n: int) -> None:
    """Check that runs follow one another up to the last of n rows.

    Raises:
        CodecError: they do not.
    """
    ends = arrays["ends"].astype(np.int64)
    if ends[-1] != n or (np.diff(ends) < 0).any():
        raise CodecError(f"codec runs: ends should rise to {n}, the number of rows")


def fit(values: F32, ends: NDArray[np.integer[Any]], weight: F32 | None = None) -> F32:
    """Levels float32[runs, 2] of numbers float32[n], by weighted least squares per run.

    A line stays within the range of the numbers in its run, so their sign is preserved.
    """
    runs = len(ends)
    run, t = places(ends, np.arange(len(values)))
    weight = np.ones(len(values), np.float32) if weight is None else weight
    low, high = np.full(runs, np.inf), np.full(runs, -np.inf)
    np.minimum.at(low, run, values)
    np.maximum.at(high, run, values)
    w, wt, wtt, wv, wtv = (
        np.bincount(run, weight * factor, runs)[:runs]
        for factor in (np.ones_like(t), t, t * t, values, t * values)
    )
    determinant = w * wtt - wt * wt
    solved = determinant > 1e-6 * w * wtt
    slope = np.where(solved, (w * wtv - wt * wv) / np.where(solved, determinant, 1), 0)
    start = np.where(w > 0, (wv - slope * wt) / np.where(w > 0, w, 1), 0)
    levels = np.stack([start, start + slope], axis=1)
    levels[low > high] = 0  # a run without rows
    inside = np.isfinite(low)
    levels[inside] = np.clip(levels[inside], low[inside, None], high[inside, None])
    return levels.astype(np.float32)


def levels_of(arrays: Arrays, rows: NDArray[Any] | slice) -> F32:
    """float32[len(rows)], the number of each row."""
    return RunLines(arrays["ends"], arrays["levels"]).of(rows)


def _extents(ends: NDArray[np.integer[Any]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The start of each run, and the distance from its first to its last row, at least 1."""
    wide = ends.astype(np.int64)
    starts = np.concatenate([[0], wide[:-1]])
    return starts, np.maximum(wide - starts - 1, 1)


def runs_arrays(ends: NDArray[np.integer[Any]], levels: F32) -> dict[str, NDArray[Any]]:
    """The stored arrays of runs.

    Raises:
        CodecError: a number does not fit float16.
    """
    if float(np.abs(levels).max(initial=0)) > 65504:
        raise CodecError("codec runs: a number is beyond ±65504; scale the table down")
    return {"ends": ends.astype(np.uint32), "levels": levels.astype(np.float16)}


def taken_runs(arrays: Arrays, rows: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """Runs of the remaining rows: the same ones, or equal ones if the order has changed."""
    ends: NDArray[np.integer[Any]] = np.searchsorted(rows, arrays["ends"])
    if (np.diff(rows.astype(np.int64)) <= 0).any():
        ends = even_ends(len(rows), len(ends))
    return runs_arrays(ends, fit(levels_of(arrays, rows), ends))


def runs_layout(runs: int) -> Layout:
    """Ends and levels."""
    return {"ends": ("<u4", (runs,)), "levels": ("<f2", (runs, 2))}
