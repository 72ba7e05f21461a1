r"""The pq codec: a row is a number of codewords side by side, and a length.

The d columns are cut into M subspaces, each with a codebook of its own of k = 2^bits
centroids. A row keeps the index of the nearest centroid in each,

    x ≈ r [C_1[q_1], …, C_M[q_M]],   q_m = argmin_q |x_m / |x| - C_m[q]|²,

so M subspaces of 256 centroids tell 256^M rows apart in M bytes. Jégou, Douze & Schmid,
"Product Quantization for Nearest Neighbor Search", TPAMI 2011. The length r is one byte, an
index of 255 log-spaced ones: popularity lives in it, and directions are what codebooks are
good at.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from edgerec.plugin import F32, Arrays, Codec, CodecError, normalize
from edgerec_pq.kmeans import learn_codebook, lookup, nearest
from edgerec_pq.scan import byte_tables, summing

__all__ = ["PQ"]


@dataclass(frozen=True)
class PQ(Codec):
    """M · bits / 8 bytes a row, 1 more with a length, and 2 · 2^bits · d for the codebooks.

    The M codebooks lie side by side in one float16[k, d]. M need not divide d: the first
    subspaces are then one column wider. A column of width 1 becomes 256 levels of its own.
    """

    name: ClassVar[str] = "pq"
    block: ClassVar[int] = 65536
    subspaces: int = 8
    norm: bool = True
    bits: Literal[4, 8] = 8

    def encode(self, matrix: F32) -> dict[str, NDArray[Any]]:
        """Learn the codebooks by k-means, always from the same start, and assign the rows."""
        self.layout(*matrix.shape)
        if not self.norm:
            codebook = learn_codebook(matrix, self.subspaces, 2**self.bits)
            return self.write(nearest(matrix, codebook, self.subspaces), codebook, None)
        rows = normalize(matrix)
        codebook = learn_codebook(rows, self.subspaces, 2**self.bits)
        codes = nearest(rows, codebook, self.subspaces)
        # Codewords are means, which are short; the length makes up for it.
        found = np.linalg.norm(lookup(codes, codebook), axis=1)
        length = np.linalg.norm(matrix, axis=1) / np.maximum(found, 1e-6)
        return self.write(codes, codebook, length)

    def write(
        self, codes: NDArray[np.integer[Any]], codebook: F32, length: F32 | None
    ) -> dict[str, NDArray[Any]]:
        """Arrays of given codes int[n, M], codebooks float32[k, d] and lengths float32[n].

        Raises:
            CodecError: a number does not fit float16.
        """
        largest = max(float(np.abs(a).max(initial=0)) for a in (codebook, length) if a is not None)
        if largest > 65504:
            raise CodecError("codec pq: a value is beyond ±65504; scale the table down")
        arrays: dict[str, NDArray[Any]] = {
            "codes": _pack(codes) if self.bits == 4 else codes.astype(np.uint8),
            "codebook": codebook.astype(np.float16),
        }
        if length is None:
            return arrays
        levels = _levels(length)
        # Between two levels the nearest is told by their geometric mean, which suits zero too.
        borders = np.sqrt(levels[1:] * levels[:-1])
        index = np.searchsorted(borders, length, side="right").astype(np.uint8)
        return arrays | {"length": index, "levels": levels.astype(np.float16)}

    def decode(self, arrays: Arrays, rows: NDArray[Any] | slice) -> F32:
        """Look codewords up and give them their length."""
        codes = arrays["codes"][rows]
        if self.bits == 4:
            codes = _unpack(codes)[:, : self.subspaces]
        values = lookup(codes, arrays["codebook"].astype(np.float32))
        if self.norm:
            values *= arrays["levels"][arrays["length"][rows]].astype(np.float32)[:, None]
        return values

    def scorer(self, arrays: Arrays, user: F32) -> Callable[[slice], F32]:
        """Look scores up, and give them their rows' lengths."""
        codes, codebook = arrays["codes"], arrays["codebook"].astype(np.float32)
        total = summing(byte_tables(codebook, user, self.subspaces, self.bits), len(codes))
        if not self.norm:
            return lambda rows: total(codes[rows])
        length, levels = arrays["length"], arrays["levels"].astype(np.float32)
        return lambda rows: total(codes[rows]) * levels.take(length[rows], mode="clip")

    def take(self, arrays: Arrays, rows: NDArray[Any]) -> tuple[Codec, dict[str, NDArray[Any]]]:
        """Take the rows' codes and lengths; the codebooks stay as they were learned."""
        by_row = ("codes", "length")
        return self, {k: a[rows] if k in by_row else a for k, a in arrays.items()}

    def layout(self, n: int, d: int) -> dict[str, tuple[str, tuple[int, ...]]]:
        """Codes, codebooks and, with a length, its index and the levels."""
        if not 1 <= self.subspaces <= d:
            raise CodecError(
                f"codec pq: {self.subspaces} subspaces do not fit {d} columns; use 1 to {d}"
            )
        width = -(-self.subspaces * self.bits // 8)
        layout: dict[str, tuple[str, tuple[int, ...]]] = {
            "codes": ("|u1", (n, width)),
            "codebook": ("<f2", (2**self.bits, d)),
        }
        return (
            layout | {"length": ("|u1", (n,)), "levels": ("<f2", (256,))} if self.norm else layout
        )


def _levels(length: F32) -> F32:
    """Zero and 255 log-spaced lengths, as float16 holds them, float32[256]."""
    high = max(float(length.max(initial=0)), 1e-3)
    # One all but empty row must not spread the levels of all the others.
    low = max(float(length[length > 0].min(initial=high)), high * 1e-4)
    spaced = np.concatenate([[0], np.geomspace(low, high, 255)])
    return spaced.astype(np.float16).astype(np.float32)


def _pack(codes: NDArray[np.integer[Any]]) -> NDArray[np.uint8]:
    """Two 4-bit codes a byte, low half first."""
    even = np.pad(codes.astype(np.uint8), ((0, 0), (0, codes.shape[1] % 2)))
    return np.ascontiguousarray(even[:, 0::2] | (even[:, 1::2] << 4))


def _unpack(packed: NDArray[np.uint8]) -> NDArray[np.uint8]:
    codes = np.empty((packed.shape[0], packed.shape[1] * 2), np.uint8)
    codes[:, 0::2] = packed & 15
    codes[:, 1::2] = packed >> 4
    return codes
