r"""The codecs pq and runs: a row is a sum of codewords, times a length that its run shares.

The d columns are cut into G subspaces; in each, S codewords of k = 2^bits are added up,

    x_i ≈ r_i Σ_s [C_s1[q_is1], …, C_sG[q_isG]],

so that S · G codes tell a row. S = 1 is product quantization (Jégou, Douze & Schmid, "Product
Quantization for Nearest Neighbor Search", TPAMI 2011), G = 1 is residual quantization (Chen,
Guan & Wang, "Approximate Nearest Neighbor Search by Residual Vector Quantization", Sensors
2010), which needs fewer codes and more codebook.

The length r_i holds popularity, which codewords are not good at. It costs next to nothing where
rows lie in the order of their lengths: a number a *run* of rows is kept, and where runs end.

To score by look-up tables: with u_g the user's columns of subspace g,

    LUT[s, g, q] = u_g · C_sg[q]                                  float[S, G, k]
    score_i = levels[run of i] · Σ_{s, g} LUT[s, g, codes[i, s G + g]]

``codes`` is uint8[n, S G] (two to a byte, low half first, for 4 bits), C_s is
``scales[s, :, None] · words[s]``, float[k, d], its columns cut as ``kmeans.columns`` says, and run
j has the rows from ``ends[j - 1]`` to ``ends[j]``. Without runs all levels are 1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from edgerec.plugin import F32, Arrays, Codec, CodecError, normalize
from edgerec_pq.kmeans import Shape, learn, lookup
from edgerec_pq.scan import byte_tables, summing

__all__ = ["PQ", "Runs", "even_ends", "rounded"]

#: What a 4-bit number of a codeword is stored above.
ZERO = 8

Layout = dict[str, tuple[str, tuple[int, ...]]]


@dataclass(frozen=True)
class PQ(Codec):
    """S G bits / 8 bytes a row; S 2^bits (d + 2) for the codewords, 6 a run for lengths.

    G need not divide d: the first subspaces are then one column wider. Codewords are int8 with
    a float16 scale each; int4, two numbers a byte, where ``word_bits`` is 4. With ``runs=0`` a
    row's length is in its codewords.
    """

    name: ClassVar[str] = "pq"
    #: As many as a buffer of indices may have before malloc maps each anew, page by page.
    block: ClassVar[int] = 32768
    subspaces: int = 8
    stages: int = 1
    bits: Literal[4, 8] = 8
    runs: int = 0
    word_bits: Literal[4, 8] = 8

    @property
    def shape(self) -> Shape:
        """Stages, subspaces and codewords."""
        return Shape(self.stages, self.subspaces, 2**self.bits)

    def encode(self, matrix: F32) -> dict[str, NDArray[Any]]:
        """Learn the codewords, always from the same start; runs are of equal size."""
        self.layout(*matrix.shape)
        rows = normalize(matrix) if self.runs else matrix
        codes, words = learn(rows, self.shape)
        found = lookup(codes, rounded(words, self.word_bits)[2])
        ends = even_ends(len(matrix), self.runs)
        return self.write(codes, words, ends, _fitted(matrix, found, ends))

    def write(
        self,
        codes: NDArray[np.integer[Any]],
        words: F32,
        ends: NDArray[np.integer[Any]],
        levels: F32,
    ) -> dict[str, NDArray[Any]]:
        """Arrays of codes int[n, S G], words float32[S, k, d], and runs: ends and lengths.

        Raises:
            CodecError: a number does not fit float16.
        """
        numbers, scales, _ = rounded(words, self.word_bits)
        arrays: dict[str, NDArray[Any]] = {
            "codes": _pack(codes) if self.bits == 4 else codes.astype(np.uint8),
            "words": _pack(numbers + ZERO) if self.word_bits == 4 else numbers,
            "scales": scales,
        }
        return arrays | _runs(ends, levels) if self.runs else arrays

    def decode(self, arrays: Arrays, rows: NDArray[Any] | slice) -> F32:
        """Look codewords up, add, and give rows their length."""
        codes = arrays["codes"][rows]
        if self.bits == 4:
            codes = _unpack(codes)[:, : self.subspaces * self.stages]
        values = lookup(codes, self._words(arrays))
        if self.runs:
            values *= _levels_of(arrays, rows)[:, None]
        return values

    def scorer(self, arrays: Arrays, user: F32) -> Callable[[slice], F32]:
        """Look scores up, and give them their runs' lengths."""
        codes = arrays["codes"]
        tables = byte_tables(self._words(arrays), user, self.subspaces, self.bits)
        total = summing(tables, len(codes))
        if not self.runs:
            return lambda rows: total(codes[rows])
        return lambda rows: total(codes[rows]) * _levels_of(arrays, rows)

    def take(self, arrays: Arrays, rows: NDArray[Any]) -> tuple[Codec, dict[str, NDArray[Any]]]:
        """Take the rows' codes; codewords and lengths stay as they were learned."""
        if not self.runs:
            return self, {**arrays, "codes": arrays["codes"][rows]}
        if not _rises(rows):
            return super().take(arrays, rows)
        return self, {**arrays, "codes": arrays["codes"][rows], "ends": _ends_of(arrays, rows)}

    def layout(self, n: int, d: int) -> Layout:
        """Codes, codewords and their scales and, with lengths, runs."""
        if not 1 <= self.subspaces <= d:
            raise CodecError(
                f"codec pq: {self.subspaces} subspaces do not fit {d} columns; use 1 to {d}"
            )
        if self.word_bits == 4 and d % 2:
            raise CodecError(f"codec pq: word_bits=4 takes an even number of columns, got {d}")
        if self.stages < 1 or self.runs < 0:
            raise CodecError(
                f"codec pq: expected 1 stage or more and 0 runs or more, got {self.stages} and "
                f"{self.runs}"
            )
        width = -(-self.subspaces * self.stages * self.bits // 8)
        layout: Layout = {
            "codes": ("|u1", (n, width)),
            "words": ("|i1", (self.stages, 2**self.bits, d))
            if self.word_bits == 8
            else ("|u1", (self.stages, 2**self.bits, -(-d // 2))),
            "scales": ("<f2", (self.stages, 2**self.bits)),
        }
        return layout | _runs_layout(self.runs) if self.runs else layout

    def _words(self, arrays: Arrays) -> F32:
        """Codewords float32[S, k, d]."""
        words = arrays["words"]
        if self.word_bits == 4:
            words = _unpack(words).astype(np.int8) - np.int8(ZERO)
        return words.astype(np.float32) * arrays["scales"].astype(np.float32)[:, :, None]


@dataclass(frozen=True)
class Runs(Codec):
    """One number for each run of rows that lie side by side: 6 bytes a run.

    For tables of one column whose rows are in order of their numbers.
    """

    name: ClassVar[str] = "runs"
    runs: int = 256

    def encode(self, matrix: F32) -> dict[str, NDArray[Any]]:
        """Take the mean of runs of equal size, of all columns alike."""
        ends = even_ends(len(matrix), self.runs)
        return self.write(ends, _fitted(matrix, np.ones_like(matrix), ends))

    def write(self, ends: NDArray[np.integer[Any]], levels: F32) -> dict[str, NDArray[Any]]:
        """Arrays of the ends of runs and their numbers.

        Raises:
            CodecError: a number does not fit float16.
        """
        return _runs(ends, levels)

    def decode(self, arrays: Arrays, rows: NDArray[Any] | slice) -> F32:
        """Find each row's run."""
        return _levels_of(arrays, rows)[:, None]

    def take(self, arrays: Arrays, rows: NDArray[Any]) -> tuple[Codec, dict[str, NDArray[Any]]]:
        """Shorten the runs, where the rows stay in order."""
        if not _rises(rows):
            return super().take(arrays, rows)
        return self, {**arrays, "ends": _ends_of(arrays, rows)}

    def layout(self, n: int, d: int) -> Layout:
        """Ends and numbers."""
        if d != 1 or self.runs < 1:
            raise CodecError(
                f"codec runs: expected one column and 1 run or more, got {d} and {self.runs}"
            )
        return _runs_layout(self.runs)


def rounded(words: F32, bits: int = 8) -> tuple[NDArray[np.int8], NDArray[np.float16], F32]:
    """Codewords float32[..., d] as integers, their scales float16[...], and what those give."""
    largest, most = np.abs(words).max(axis=-1), 2 ** (bits - 1) - 1
    if float(largest.max(initial=0)) / most > 65504:
        raise CodecError("codec pq: a codeword is too large for float16; scale the table down")
    scales = (largest / most).astype(np.float16)
    wide = scales.astype(np.float32)[..., None]
    numbers = np.clip(np.rint(words / np.where(wide > 0, wide, 1)), -most, most).astype(np.int8)
    return numbers, scales, numbers * wide


def even_ends(n: int, runs: int) -> NDArray[np.int64]:
    """int64[runs], ends of runs of near-equal size over n rows."""
    return np.arange(1, runs + 1) * n // max(runs, 1)


def _fitted(matrix: F32, found: F32, ends: NDArray[np.int64]) -> F32:
    """The factor of ``found`` in each run that comes nearest to the matrix, float32[runs]."""
    owner = np.searchsorted(ends, np.arange(len(matrix)), side="right")
    top = np.bincount(owner, (matrix * found).sum(1), len(ends))[: len(ends)]
    bottom = np.bincount(owner, np.square(found).sum(1), len(ends))[: len(ends)]
    return np.divide(top, bottom, out=np.zeros(len(ends)), where=bottom > 0).astype(np.float32)


def _runs(ends: NDArray[np.integer[Any]], levels: F32) -> dict[str, NDArray[Any]]:
    if float(np.abs(levels).max(initial=0)) > 65504:
        raise CodecError("codec pq: a length is beyond ±65504; scale the table down")
    return {"ends": ends.astype(np.uint32), "levels": levels.astype(np.float16)}


def _runs_layout(runs: int) -> Layout:
    return {"ends": ("<u4", (runs,)), "levels": ("<f2", (runs,))}


def _rises(rows: NDArray[Any]) -> bool:
    return bool(np.all(np.diff(rows.astype(np.int64)) > 0))


def _ends_of(arrays: Arrays, rows: NDArray[Any]) -> NDArray[np.uint32]:
    """Where the runs end when of all rows these are left, in their order."""
    return np.searchsorted(rows, arrays["ends"]).astype(np.uint32)


def _levels_of(arrays: Arrays, rows: NDArray[Any] | slice) -> F32:
    """float32[len(rows)], the number of each row's run."""
    ends = arrays["ends"]
    if isinstance(rows, slice):
        start, stop, step = rows.indices(int(ends[-1]))
        if step == 1:
            # A scan's way: the runs that the slice cuts, each as often as it has rows there.
            first, last = np.searchsorted(ends, (start, stop - 1), side="right")
            borders = np.clip(ends[first : last + 1].astype(np.int64), start, stop)
            counts = np.diff(borders, prepend=start)
            return np.repeat(arrays["levels"][first : last + 1].astype(np.float32), counts)
    wanted = np.arange(int(ends[-1]))[rows]
    run = np.searchsorted(ends, wanted, side="right")
    return arrays["levels"][run].astype(np.float32)


def _pack(codes: NDArray[np.integer[Any]]) -> NDArray[np.uint8]:
    """Two 4-bit codes a byte of the last axis, low half first."""
    even = np.zeros((*codes.shape[:-1], codes.shape[-1] + codes.shape[-1] % 2), np.uint8)
    even[..., : codes.shape[-1]] = codes
    return np.ascontiguousarray(even[..., 0::2] | (even[..., 1::2] << 4))


def _unpack(packed: NDArray[np.uint8]) -> NDArray[np.uint8]:
    codes = np.empty((*packed.shape[:-1], packed.shape[-1] * 2), np.uint8)
    codes[..., 0::2] = packed & 15
    codes[..., 1::2] = packed >> 4
    return codes
