r"""What a codec's arrays mean, for a target that scans them without decoding the rows.

A codec may declare a structure. A target lowers structures, so that it runs codecs that it has
never heard of, and scores candidates straight from the stored codes where it can. With u the user
vector:

``Dense``: row i is stored as floats.

``Affine``: row i is ``scale_i · codes_i + offset_i``, so

    u · x_i = scale_i (u · codes_i) + offset_i Σ_j u_j,

or the same for each group of its columns, with a scale per group.

``Lookup``: row i is a sum of codewords, one per stage s and subspace g, times a factor r_i, so

    u · x_i = r_i Σ_sg LUT[s, g, q_isg],    LUT[s, g, q] = u_g · C_sg[q]

(Jégou, Douze & Schmid, "Product Quantization for Nearest Neighbor Search", TPAMI 2011).

``RunLines``: the single number of row i lies on a line over a run of rows.

``Sparse``: row i is zero but for a few numbers, so

    u · x_i = scale_i Σ_{e of i} values_e u_{column_e}

``Partition``: the first rows have one structure, and the next ones have another.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edgerec.model.integers import F32, unpack1, unpack4
from edgerec.model.run_lines import RunLines
from edgerec.model.sparse_rows import Sparse, numbers_of

__all__ = [
    "STRUCTURES",
    "Affine",
    "Dense",
    "Lookup",
    "Partition",
    "RunLines",
    "Sparse",
    "Structure",
    "leaves",
    "rows_of_parts",
]


@dataclass(frozen=True)
class Dense:
    """Floats.

    Args:
        values: float16[n, d] or float32[n, d].
    """

    values: NDArray[Any]

    def rows(self, rows: NDArray[Any] | slice) -> F32:
        """Decode the given rows to float32[len(rows), d]."""
        return np.asarray(self.values[rows], np.float32)


@dataclass(frozen=True)
class Affine:
    """Integer codes with a scale, and possibly an offset, per row or per group of columns.

    Args:
        codes: int8[n, d] for 8 bits; otherwise uint8[n, d bits / 8], with the first code in the
            lowest bits of a byte. Codes of 4 bits are two's complement. A bit that is set stands
            for 1, and one that is not for -1.
        bits: 8, 4 or 1.
        scale: float[n]; or float[n, G], one per group of d / G columns.
        offset: of the shape of ``scale``, or none.
        width: d, where bits of the last byte are unused; none means that there are none.
    """

    codes: NDArray[Any]
    bits: Literal[1, 4, 8]
    scale: NDArray[Any]
    offset: NDArray[Any] | None = None
    width: int | None = None

    @property
    def columns(self) -> int:
        """The width d of a row."""
        return self.codes.shape[1] * 8 // self.bits if self.width is None else self.width

    @property
    def groups(self) -> int:
        """The number of groups G, 1 for a scale per row."""
        return 1 if self.scale.ndim == 1 else int(self.scale.shape[1])

    @property
    def planes(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Which column each code is of, int64[m], and of which group that column is.

        Codes are in the order in which arithmetic on whole bytes finds them: the first one of every
        byte, then the second ones. Those beyond the columns have column d - 1 and group -1.
        """
        per_byte, d = 8 // self.bits, self.columns
        column = np.arange(self.codes.shape[1] * per_byte).reshape(-1, per_byte).T.reshape(-1)
        group = np.where(column < d, column // (d // self.groups), -1)
        return column.clip(0, d - 1), group

    def numbers(self, rows: NDArray[Any] | slice) -> NDArray[np.int8]:
        """The codes of the given rows, int8[len(rows), d]."""
        codes = self.codes[rows]
        if self.bits == 8:
            return codes
        return (unpack4 if self.bits == 4 else unpack1)(codes)[:, : self.columns]

    def rows(self, rows: NDArray[Any] | slice) -> F32:
        """Decode the given rows to float32[len(rows), d]."""
        codes = self.numbers(rows)
        d = codes.shape[1]
        values = codes.reshape(-1, self.groups, d // self.groups).astype(np.float32)
        tall = (-1, self.groups, 1)
        values *= self.scale[rows].astype(np.float32).reshape(tall)
        if self.offset is not None:
            values += self.offset[rows].astype(np.float32).reshape(tall)
        return values.reshape(-1, d)


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

    def by_byte(self, height: int = 0) -> NDArray[np.uint8]:
        """A byte of each row's codes after the other, uint8[W, n].

        If rows are read in blocks of a ``height``, zeros follow up to a whole block.
        """
        return np.pad(self.codes.T, ((0, 0), (0, -len(self.codes) % max(1, height))))

    def by_pair(self) -> tuple[NDArray[np.uint16], NDArray[np.uint8]]:
        """Two bytes of each row at a time, uint16[P, n], the first one in the low half.

        The rest follows: uint8[W - 2 P, n], the last byte of an odd W, or all bytes if there are
        fewer codewords than a code has values.
        """
        codes = self.by_byte()
        paired = len(codes) // 2 * 2 if self.words.shape[1] == 2**self.bits else 0
        high = codes[1:paired:2].astype(np.uint16)
        pairs: NDArray[np.uint16] = high * np.uint16(256) + codes[0:paired:2]
        return pairs, codes[paired:]


@dataclass(frozen=True)
class Partition:
    """Consecutive rows of different structures, such as popular rows and the rest.

    Args:
        parts: the structures, in the order of the rows.
        heights: the number of rows of each.
    """

    parts: tuple[Structure, ...]
    heights: tuple[int, ...]

    @property
    def starts(self) -> list[int]:
        """The first row of each part."""
        return [0, *itertools.accumulate(self.heights[:-1])]

    def rows(self, rows: NDArray[Any] | slice) -> F32:
        """Decode the given rows to float32[len(rows), d]."""
        return rows_of_parts([part.rows for part in self.parts], self.heights, rows)


def rows_of_parts(
    decode: Sequence[Callable[[NDArray[Any]], F32]],
    heights: Sequence[int],
    rows: NDArray[Any] | slice,
) -> F32:
    """Decode rows of consecutive parts, float32[len(rows), d].

    Args:
        decode: decodes rows of each part, which are counted from its first one.
        heights: the number of rows of each.
        rows: rows of the whole.
    """
    wanted, ends = numbers_of(rows, sum(heights)), np.cumsum(heights)
    owner = np.searchsorted(ends, wanted, side="right")
    found = [
        (owner == place, of_part(wanted[owner == place] - (end - height)))
        for place, (of_part, end, height) in enumerate(zip(decode, ends, heights, strict=True))
    ]
    values = np.empty((len(wanted), found[0][1].shape[1]), np.float32)
    for mine, decoded in found:
        values[mine] = decoded
    return values


def leaves(structure: Structure) -> list[Structure]:
    """A structure and all parts of it."""
    parts = structure.parts if isinstance(structure, Partition) else ()
    return [structure, *(leaf for part in parts for leaf in leaves(part))]


#: A structure that targets know.
Structure = Dense | Affine | Lookup | RunLines | Sparse | Partition

#: All of them.
STRUCTURES: tuple[type, ...] = (Dense, Affine, Lookup, RunLines, Sparse, Partition)
