r"""The codec pq: a row is a sum of codewords, times a length that follows from its position.

The d columns are split into G subspaces. In each, S of k = 2^bits codewords are summed,

    x_i ≈ r_i Σ_s [C_s1[q_is1], …, C_sG[q_isG]],

so that S · G codes describe a row. S = 1 is product quantization (Jégou, Douze & Schmid, "Product
Quantization for Nearest Neighbor Search", TPAMI 2011), and G = 1 is residual quantization (Chen,
Guan & Wang, "Approximate Nearest Neighbor Search by Residual Vector Quantization", Sensors 2010),
which needs fewer codes and larger codebooks.

The length r_i carries popularity, which codewords represent poorly. It costs almost nothing if rows
are sorted by length, because then lines over *runs* of rows suffice (``runs.py``).

Scoring uses look-up tables. With u_g the user's columns of subspace g,

    LUT[s, g, q] = u_g · C_sg[q]                                  float[S, G, k]
    score_i = r_i · Σ_{s, g} LUT[s, g, codes[i, s G + g]]

``codes`` is uint8[n, S G] (for 4 bits, two per byte, low half first). C_s is ``scales[s, :, None] ·
words[s]``, float[k, d], with its columns split as by ``kmeans.columns``. The first stage
contributes most of a row, so its numbers are int8. Those of later stages may be int4, stored above
``ZERO`` and two per byte as ``later[s - 1]``. Without runs, all lengths are 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from edgerec.plugin import (
    F32,
    Affine,
    Arrays,
    Codec,
    CodecError,
    Lookup,
    RunLines,
    Structure,
    normalize,
    pack4,
    unpack4,
)
from edgerec_pq.kmeans import Shape, assign, columns, learn, lookup
from edgerec_pq.runs import (
    Layout,
    check_ends,
    even_ends,
    fit,
    levels_of,
    runs_arrays,
    runs_layout,
    taken_runs,
)

__all__ = ["PQ", "fitted", "rounded"]

#: The offset of 4-bit numbers of codewords, which are stored as unsigned integers.
ZERO = 8


@dataclass(frozen=True)
class PQ(Codec):
    """S G bits / 8 bytes per row, S 2^bits (d + 2) for the codewords, and 8 per run for lengths.

    G need not divide d; the first subspaces are then one column wider. Codewords are int8 with a
    float16 scale each; those of later stages take half as much if ``word_bits`` is 4. With
    ``runs=0``, the codewords include a row's length.
    """

    name: ClassVar[str] = "pq"
    learns: ClassVar[bool] = True
    subspaces: int = 8
    stages: int = 1
    bits: Literal[4, 8] = 8
    runs: int = 0
    word_bits: Literal[4, 8] = 8

    @property
    def shape(self) -> Shape:
        """The numbers of stages, subspaces and codewords."""
        return Shape(self.stages, self.subspaces, 2**self.bits)

    def encode(self, matrix: F32) -> dict[str, NDArray[Any]]:
        """Learn the codewords, always from the same start, with runs of equal size."""
        self.layout(*matrix.shape)
        rows = normalize(matrix) if self.runs else matrix
        codes, words = self.learn(rows)
        ends, levels = even_ends(len(matrix), self.runs), np.empty((0, 2), np.float32)
        if self.runs:
            lengths, squares = fitted(matrix, lookup(codes, rounded(words, self.word_bits)[2]))
            levels = fit(lengths, ends, squares)
        return self.write(codes, words, ends, levels)

    def learn(self, matrix: F32, weight: F32 | None = None) -> tuple[NDArray[np.int64], F32]:
        """Learn codes and codewords of rows; the codes are chosen for the rounded codewords."""
        codes, words = learn(matrix, self.shape, weight)
        if self.word_bits == 4:
            codes = assign(matrix, rounded(words, 4)[2], self.subspaces)
        return codes, words

    def write(
        self,
        codes: NDArray[np.integer[Any]],
        words: F32,
        ends: NDArray[np.integer[Any]],
        levels: F32,
    ) -> dict[str, NDArray[Any]]:
        """The arrays for codes int[n, S G], words float32[S, k, d], and runs with ends and levels.

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
        """Look codewords up, add them, and scale rows to their length."""
        codes = arrays["codes"][rows]
        if self.bits == 4:
            codes = (unpack4(codes) & 15)[:, : self.subspaces * self.stages]
        values = lookup(codes, self._words(arrays))
        if self.runs:
            values *= levels_of(arrays, rows)[:, None]
        return values

    def structure(self, arrays: Arrays) -> Structure:
        """Sums of codewords, times the lengths that follow from the runs."""
        d = arrays["words"].shape[-1]
        factor = RunLines(arrays["ends"], arrays["levels"]) if self.runs else None
        return Lookup(
            arrays["codes"],
            self.bits,
            self._words(arrays),
            columns(d, self.subspaces),
            factor,
            self._stored(arrays),
        )

    def take(self, arrays: Arrays, rows: NDArray[Any]) -> tuple[Codec, dict[str, NDArray[Any]]]:
        """Copy the rows' codes; codewords do not change, and lengths are fitted again."""
        taken = {**arrays, "codes": arrays["codes"][rows]}
        return self, taken | taken_runs(arrays, rows) if self.runs else taken

    def check(self, arrays: Arrays, n: int, d: int) -> None:
        """Check the layout, and that runs follow one another up to the last row."""
        super().check(arrays, n, d)
        if self.runs:
            check_ends(arrays, n)

    def layout(self, n: int, d: int) -> Layout:
        """Codes, codewords with their scales and, for lengths, runs."""
        if not 1 <= self.subspaces <= d:
            raise CodecError(
                f"codec pq: {self.subspaces} subspaces do not fit {d} columns; use 1 to {d}"
            )
        if self.word_bits == 4 and (d % 2 or self.stages < 2):
            raise CodecError(
                f"codec pq: word_bits=4 needs an even number of columns and 2 or more stages, got "
                f"{d} and {self.stages}"
            )
        if self.stages < 1 or self.runs < 0:
            raise CodecError(
                f"codec pq: expected at least 1 stage and at least 0 runs, got {self.stages} and "
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

    def _stored(self, arrays: Arrays) -> tuple[Affine, ...]:
        """Codewords as they are stored, a row each."""
        words, scales = arrays["words"], arrays["scales"]
        wide = words.reshape(-1, words.shape[-1])
        first = Affine(wide, 8, scales[: len(words)].reshape(-1))
        if self.word_bits == 8:
            return (first,)
        # Unsigned numbers above ZERO become two's complement.
        later = arrays["later"].reshape(-1, arrays["later"].shape[-1]) ^ np.uint8(0x88)
        return first, Affine(later, 4, scales[len(words) :].reshape(-1))

    def _words(self, arrays: Arrays) -> F32:
        """Codewords float32[S, k, d]."""
        words = arrays["words"]
        if self.word_bits == 4:
            later = (unpack4(arrays["later"]) & 15) - np.int8(ZERO)
            words = np.concatenate([words, later])
        return words.astype(np.float32) * arrays["scales"].astype(np.float32)[:, :, None]


def rounded(words: F32, bits: int = 8) -> tuple[NDArray[np.int8], NDArray[np.float16], F32]:
    """Return codewords float32[S, k, d] as integers, their scales float16[S, k], and both decoded.

    ``bits`` is the width of the integers after the first stage, which is always 8 bits wide.
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
    """The best non-negative factor of each found row to fit the matrix, and its weight |row|²."""
    squares = np.maximum(np.square(found).sum(1), 1e-6)
    return np.maximum((matrix * found).sum(1), 0) / squares, squares
