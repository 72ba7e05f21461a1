"""Sparse: a structure for rows of which few numbers are not zero."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgerec.model.integers import F32

__all__ = ["Sparse", "numbers_of"]


def numbers_of(rows: NDArray[Any] | slice, n: int) -> NDArray[Any]:
    """The numbers of rows of n, which are given by index or by slice."""
    return np.arange(*rows.indices(n)) if isinstance(rows, slice) else np.asarray(rows)


@dataclass(frozen=True)
class Sparse:
    """Compressed sparse rows: the numbers that are not zero, row by row.

    Args:
        starts: integers[n + 1]; the numbers of row i are those from starts[i] up to starts[i + 1].
        columns: uint8[m], the column of each number; a row has a column once at most.
        values: int8, float16 or float32[m].
        width: d.
        scale: float[n], a factor per row, or none.
    """

    starts: NDArray[Any]
    columns: NDArray[np.uint8]
    values: NDArray[Any]
    width: int
    scale: NDArray[Any] | None = None

    @property
    def most(self) -> int:
        """The most numbers of a row, at least 1."""
        return max(1, int(np.diff(self.starts.astype(np.int64)).max(initial=0)))

    @property
    def stored(self) -> tuple[NDArray[np.uint8], NDArray[Any]]:
        """Columns and values as targets store them.

        Where all rows are zero, there is one of each, so that there is something to read.
        """
        if len(self.values):
            return self.columns, self.values
        return np.zeros(1, self.columns.dtype), np.zeros(1, self.values.dtype)

    def blocks(self, numbers: int) -> list[tuple[int, int, int, int]]:
        """Blocks of about so many numbers: first row, end, first number, end."""
        starts = self.starts.astype(np.int64)
        n = len(starts) - 1
        marks = np.searchsorted(starts, np.arange(numbers, starts[-1], numbers))
        ends = np.unique([0, *marks.clip(0, n), n])
        return [
            (int(start), int(stop), int(starts[start]), int(starts[stop]))
            for start, stop in itertools.pairwise(ends)
        ]

    def rows(self, rows: NDArray[Any] | slice) -> F32:
        """Decode the given rows to float32[len(rows), d]."""
        wanted = numbers_of(rows, len(self.starts) - 1)
        first = self.starts[wanted].astype(np.int64)
        lengths = self.starts[wanted + 1].astype(np.int64) - first
        out_rows = np.repeat(np.arange(len(wanted)), lengths)
        within = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        places = np.repeat(first, lengths) + within
        values = self.values[places].astype(np.float32)
        if self.scale is not None:
            values *= self.scale[wanted].astype(np.float32)[out_rows]
        dense = np.zeros((len(wanted), self.width), np.float32)
        dense[out_rows, self.columns[places]] = values
        return dense
