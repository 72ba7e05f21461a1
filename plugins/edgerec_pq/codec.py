r"""The codec pq: a row is a sum of codewords, times a length that its place tells.

The d columns are cut into G subspaces; in each, S codewords of k = 2^bits are added up,

    x_i ≈ r_i Σ_s [C_s1[q_is1], …, C_sG[q_isG]],

so that S · G codes tell a row. S = 1 is product quantization (Jégou, Douze & Schmid, "Product
Quantization for Nearest Neighbor Search", TPAMI 2011), G = 1 is residual quantization (Chen,
Guan & Wang, "Approximate Nearest Neighbor Search by Residual Vector Quantization", Sensors
2010), which needs fewer codes and more codebook.

The length r_i holds popularity, which codewords are not good at. It costs next to nothing where
rows lie in the order of their lengths: lines over *runs* of rows are kept (``runs``).

To score by look-up tables: with u_g the user's columns of subspace g,

    LUT[s, g, q] = u_g · C_sg[q]                                  float[S, G, k]
    score_i = r_i · Σ_{s, g} LUT[s, g, codes[i, s G + g]]

``codes`` is uint8[n, S G] (two to a byte, low half first, for 4 bits) and C_s is
``scales[s, :, None] · words[s]``, float[k, d], its columns cut as ``kmeans.columns`` says. What the
first stage gives is most of a row, so its numbers are int8; those of later ones may be int4, two
to a byte above ``ZERO``, and are ``later[s - 1]`` then. Without runs all lengths are 1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from edgerec.plugin import F32, Above, Arrays, Codec, CodecError, normalize, pack4, unpack4
from edgerec_pq.kmeans import Shape, assign, learn, lookup
from edgerec_pq.runs import (
    Layout,
    Lines,
    check_ends,
    even_ends,
    fit,
    levels_of,
    runs_arrays,
    runs_layout,
    taken_runs,
)
from edgerec_pq.scan import Sums, byte_tables

__all__ = ["PQ", "fitted", "rounded"]

#: What a 4-bit number of a codeword is stored above.
ZERO = 8


@dataclass(frozen=True)
class PQ(Codec):
    """S G bits / 8 bytes a row; S 2^bits (d + 2) for the codewords, 8 a run for lengths.

    G need not divide d: the first subspaces are then one column wider. Codewords are int8 with
    a float16 scale each; those of later stages half as large where ``word_bits`` is 4. With
    ``runs=0`` a row's length is in its codewords.
    """

    name: ClassVar[str] = "pq"
    #: So many that looking up takes longer than calling; more would not stay in a core's cache.
    block: ClassVar[int] = 65536
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
        codes, words = self.learn(rows)
        ends, levels = even_ends(len(matrix), self.runs), np.empty((0, 2), np.float32)
        if self.runs:
            lengths, squares = fitted(matrix, lookup(codes, rounded(words, self.word_bits)[2]))
            levels = fit(lengths, ends, squares)
        return self.write(codes, words, ends, levels)

    def learn(self, matrix: F32, weight: F32 | None = None) -> tuple[NDArray[np.int64], F32]:
        """Codes and codewords of rows; the codes are chosen for codewords as they are rounded."""
        codes, words = learn(matrix, self.shape, weight)
        if self.word_bits == 4:
            codes = assign(matrix, codes, rounded(words, 4)[2])
        return codes, words

    def write(
        self,
        codes: NDArray[np.integer[Any]],
        words: F32,
        ends: NDArray[np.integer[Any]],
        levels: F32,
    ) -> dict[str, NDArray[Any]]:
        """Arrays of codes int[n, S G], words float32[S, k, d], and runs: ends and levels.

        Raises:
            CodecError: a number does not fit float16.
        """
        numbers, scales, _ = rounded(words, self.word_bits)
        arrays: dict[str, NDArray[Any]] = {
            "codes": pack4(codes) if self.bits == 4 else codes.astype(np.uint8),
            "words": numbers[:1] if self.word_bits == 4 else numbers,
            "scales": scales,
        }
        if self.word_bits == 4:
            arrays["later"] = pack4(numbers[1:] + ZERO)
        return arrays | runs_arrays(ends, levels) if self.runs else arrays

    def decode(self, arrays: Arrays, rows: NDArray[Any] | slice) -> F32:
        """Look codewords up, add, and give rows their length."""
        codes = arrays["codes"][rows]
        if self.bits == 4:
            codes = (unpack4(codes) & 15)[:, : self.subspaces * self.stages]
        values = lookup(codes, self._words(arrays))
        if self.runs:
            values *= levels_of(arrays, rows)[:, None]
        return values

    def scorer(self, arrays: Arrays, user: F32) -> Callable[[slice], F32]:
        """Look scores up, and give them their runs' lengths."""
        sums, codes = self._sums(arrays, user), arrays["codes"]
        if not self.runs:
            return lambda rows: sums.all(codes[rows])
        lines = Lines(arrays)
        return lambda rows: sums.all(codes[rows]) * lines.along(rows.start, rows.stop)

    def above(self, arrays: Arrays, user: F32) -> Above:
        """Add up and give their length to those rows that may then be above the bound, a few."""
        sums, codes = self._sums(arrays, user), arrays["codes"]
        if not self.runs:
            return lambda rows, bound: sums.above(codes[rows], bound)
        lines = Lines(arrays)

        def found(rows: slice, bound: float) -> tuple[NDArray[np.int64], F32]:
            low, high = lines.range(rows.start, rows.stop)
            if bound > 0 and low >= 0 and high > 0:
                places, scores = sums.above(codes[rows], bound / high * (1 - 1e-6))
                scores *= lines.at(places + rows.start)
            else:
                scores = sums.all(codes[rows]) * lines.along(rows.start, rows.stop)
                places = np.arange(len(scores))
            higher = scores > bound
            return places[higher], scores[higher]

        return found

    def take(self, arrays: Arrays, rows: NDArray[Any]) -> tuple[Codec, dict[str, NDArray[Any]]]:
        """Take the rows' codes; codewords stay as they were learned, lengths are fitted anew."""
        taken = {**arrays, "codes": arrays["codes"][rows]}
        return self, taken | taken_runs(arrays, rows) if self.runs else taken

    def check(self, arrays: Arrays, n: int, d: int) -> None:
        """The layout, and that runs follow one another to the last row."""
        super().check(arrays, n, d)
        if self.runs:
            check_ends(arrays, n)

    def layout(self, n: int, d: int) -> Layout:
        """Codes, codewords and their scales and, with lengths, runs."""
        if not 1 <= self.subspaces <= d:
            raise CodecError(
                f"codec pq: {self.subspaces} subspaces do not fit {d} columns; use 1 to {d}"
            )
        if self.word_bits == 4 and (d % 2 or self.stages < 2):
            raise CodecError(
                f"codec pq: word_bits=4 takes an even number of columns and 2 stages or more, got "
                f"{d} and {self.stages}"
            )
        if self.stages < 1 or self.runs < 0:
            raise CodecError(
                f"codec pq: expected 1 stage or more and 0 runs or more, got {self.stages} and "
                f"{self.runs}"
            )
        width = -(-self.subspaces * self.stages * self.bits // 8)
        layout: Layout = {
            "codes": ("|u1", (n, width)),
            "words": ("|i1", (1 if self.word_bits == 4 else self.stages, 2**self.bits, d)),
            "scales": ("<f2", (self.stages, 2**self.bits)),
        }
        if self.word_bits == 4:
            layout["later"] = ("|u1", (self.stages - 1, 2**self.bits, d // 2))
        return layout | runs_layout(self.runs) if self.runs else layout

    def _sums(self, arrays: Arrays, user: F32) -> Sums:
        """Scores of rows but for their length, from their codes."""
        tables = byte_tables(self._words(arrays), user, self.subspaces, self.bits)
        return Sums(tables, len(arrays["codes"]))

    def _words(self, arrays: Arrays) -> F32:
        """Codewords float32[S, k, d]."""
        words = arrays["words"]
        if self.word_bits == 4:
            later = (unpack4(arrays["later"]) & 15) - np.int8(ZERO)
            words = np.concatenate([words, later])
        return words.astype(np.float32) * arrays["scales"].astype(np.float32)[:, :, None]


def rounded(words: F32, bits: int = 8) -> tuple[NDArray[np.int8], NDArray[np.float16], F32]:
    """Codewords float32[S, k, d] as integers, their scales float16[S, k], and what those give.

    ``bits`` are those of a number after the first stage.
    """
    largest, most = np.abs(words).max(axis=-1), np.full((len(words), 1), 2 ** (bits - 1) - 1)
    most[:1] = 127
    if float((largest / most).max(initial=0)) > 65504:
        raise CodecError("codec pq: a codeword is too large for float16; scale the table down")
    scales = (largest / most).astype(np.float16)
    wide = scales.astype(np.float32)[..., None]
    whole = np.rint(words / np.where(wide > 0, wide, 1))
    numbers = np.clip(whole, -most[..., None], most[..., None]).astype(np.int8)
    return numbers, scales, numbers * wide


def fitted(matrix: F32, found: F32) -> tuple[F32, F32]:
    """The factor of each found row that comes nearest to the matrix, at least 0, and its square."""
    squares = np.maximum(np.square(found).sum(1), 1e-6)
    return np.maximum((matrix * found).sum(1), 0) / squares, squares
