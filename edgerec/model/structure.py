r"""What a codec's arrays mean, for a target that scans them without decoding the rows.

A codec may declare a structure; a target that knows it scores candidates straight from the
stored codes. With u the user vector:

``Affine``: row i is ``scale_i · codes_i + offset_i``, so

    u · x_i = scale_i (u · codes_i) + offset_i Σ_j u_j

``Lookup``: row i is a sum of codewords, one per stage s and subspace g, times a factor r_i, so

    u · x_i = r_i Σ_sg LUT[s, g, q_isg],    LUT[s, g, q] = u_g · C_sg[q]

(Jégou, Douze & Schmid, "Product Quantization for Nearest Neighbor Search", TPAMI 2011).

``RunLines``: the single number of row i lies on a line over a run of rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edgerec.model.integers import F32, unpack4

__all__ = ["Affine", "Lookup", "RunLines", "Structure"]


@dataclass(frozen=True)
class Affine:
    """Integer codes with a scale, and possibly an offset, per row.

    Args:
        codes: int8[n, d]; or uint8[n, d / 2] with two 4-bit codes per byte, low half first.
        bits: 8 or 4.
        scale: float[n].
        offset: float[n], or none.
    """

    codes: NDArray[Any]
    bits: Literal[4, 8]
    scale: NDArray[Any]
    offset: NDArray[Any] | None = None

    def rows(self, rows: NDArray[Any] | slice) -> F32:
        """Decode the given rows to float32[len(rows), d]."""
        codes = self.codes[rows]
        values = (unpack4(codes) if self.bits == 4 else codes).astype(np.float32)
        values *= self.scale[rows].astype(np.float32)[:, None]
        if self.offset is not None:
            values += self.offset[rows].astype(np.float32)[:, None]
        return values


@dataclass(frozen=True)
class Lookup:
    """Sums of codewords, with an optional factor per row.

    Args:
        codes: uint8[n, W]; code s · G + g of a row belongs to stage s and subspace g. Codes of
            4 bits lie two per byte, low half first.
        bits: 8 or 4.
        words: codewords float32[S, k, d], the columns of all subspaces side by side.
        subspace: int64[d], the subspace g of each column.
        factor: r, told by runs of rows; none means that every factor is 1.
        stored: the codewords as they are stored, the rows of ``words`` stage by stage, for targets
            that store them as well; none means that they are stored as floats.
    """

    codes: NDArray[np.uint8]
    bits: Literal[4, 8]
    words: F32
    subspace: NDArray[np.int64]
    factor: RunLines | None = None
    stored: tuple[Affine, ...] = ()

    def rows(self, rows: NDArray[Any] | slice) -> F32:
        """Decode the given rows to float32[len(rows), d]."""
        stages, _, d = self.words.shape
        groups = int(self.subspace.max()) + 1
        codes = self.codes[rows]
        if self.bits == 4:
            codes = (unpack4(codes) & 15).view(np.uint8)[:, : stages * groups]
        values = np.zeros((len(codes), d), np.float32)
        for s in range(stages):
            values += self.words[s][codes[:, s * groups + self.subspace], np.arange(d)]
        if self.factor is not None:
            values *= self.factor.of(rows)[:, None]
        return values


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


#: A structure that targets know.
Structure = Affine | Lookup | RunLines
