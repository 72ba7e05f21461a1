"""Blocks of candidates, of which a scan reads only those that suit the user.

This is an inverted file (Sivic & Zisserman, "Video Google", ICCV 2003; Jégou, Douze & Schmid,
"Product Quantization for Nearest Neighbor Search", TPAMI 2011) without an index: similar rows are
next to each other, so their position says which block they are in. Block b has the centroid c_b, a
mean of its rows, and a radius r_b, the greatest distance of a row from c_b. No row scores more than
u · c_b + |u| r_b (Cauchy–Schwarz), and few score nearly as much. The blocks that are read are those
with the highest

    u · c_b + 0.2 |u| r_b,      c_b = Σ |x_i|³ x_i / Σ |x_i|³,

because long rows are those with the highest scores. Centroids follow from the rows, so a step that
changes rows need not know about blocks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgerec.errors import ModelError
from edgerec.model.integers import F32

__all__ = ["OPTIMISM", "Blocks", "Centroids", "centroids_of"]

#: How much of the distance from a centroid to its farthest row counts. On trained rows, values from
#: 0.2 to 0.4 find the best rows in the fewest blocks.
OPTIMISM = 0.2

#: Rows decoded at a time.
_ROWS = 65536

#: The greatest code of a centroid.
_CODES = 127


@dataclass(frozen=True)
class Blocks:
    """How candidates are divided, and how many of the blocks are read.

    Args:
        height: the number of consecutive rows per block; the last block may be shorter.
        read: the number of blocks that are read for a user.
    """

    height: int
    read: int

    def __post_init__(self) -> None:
        for name in ("height", "read"):
            value = getattr(self, name)
            if type(value) is not int or value < 1:
                raise ModelError(f"head.blocks.{name}: expected a positive integer, got {value!r}")

    @classmethod
    def read_from(cls, values: Any) -> Blocks | None:
        """Read what ``dataclasses.asdict`` made of blocks, or of none.

        Raises:
            ModelError: it is something else.
        """
        if values is None:
            return None
        if not isinstance(values, Mapping) or values.keys() != {"height", "read"}:
            raise ModelError(f"head.blocks: expected height and read, got {values!r:.60}")
        return cls(**values)

    def count(self, rows: int) -> int:
        """The number of blocks that so many rows are divided into."""
        return -(-rows // self.height)

    def least_rows(self, rows: int) -> int:
        """The least number of rows that are read, of so many: the last block may be among them."""
        spare = self.count(rows) * self.height - rows
        return min(rows, self.read * self.height - spare)

    def enough_for(self, wanted: int, rows: int) -> int:
        """The least number of blocks to read that have the wanted number of rows in any case."""
        spare = self.count(rows) * self.height - rows
        return -(-(wanted + spare) // self.height)


class Centroids(NamedTuple):
    """Centroids and, in the last column, radii in 8 bits, with a scale per column.

    Args:
        codes: int8[blocks, d + 1].
        scale: float32[d + 1], by which a user vector is multiplied rather than each centroid.
    """

    codes: NDArray[np.int8]
    scale: F32

    def scores(self, user: F32) -> F32:
        """The score that the best row of each block is expected to have, float32[..., blocks].

        Args:
            user: float32[..., d].
        """
        length = np.linalg.norm(user, axis=-1, keepdims=True)
        both = np.concatenate([user, OPTIMISM * length], axis=-1).astype(np.float32) * self.scale
        return both @ self.codes.astype(np.float32, copy=False).T

    def unread(self, user: F32, read: int, tie: float = 0.0) -> NDArray[np.bool_]:
        """Blocks that are not read for float32[B, d]: bool[B, blocks].

        Args:
            user: the user vectors.
            read: the number of blocks to read; of equal ones, the first.
            tie: blocks whose score is within this of the last one that is read are read as well,
                relative to the highest absolute score; if it is negative, none of them is.
        """
        scores = self.scores(user)
        order = np.argsort(-scores, axis=1, kind="stable")
        if tie:
            last = np.take_along_axis(scores, order[:, read - 1 : read], axis=1)
            return scores < last - tie * np.abs(scores).max(axis=1, keepdims=True)
        unread = np.ones(scores.shape, bool)
        np.put_along_axis(unread, order[:, :read], False, axis=1)
        return unread


def centroids_of(decode: Callable[[slice], F32], rows: int, height: int) -> Centroids:
    """The centroids of rows.

    Args:
        decode: reads a slice of the rows as they are scored.
        rows: the number of rows.
        height: the number of rows per block.
    """
    step, found = max(1, _ROWS // height) * height, []
    for start in range(0, rows, step):
        part = decode(slice(start, min(start + step, rows)))
        starts = np.arange(0, len(part), height)
        length = np.linalg.norm(part, axis=1, keepdims=True).astype(np.float64)
        # Relative to the longest row, because cubes of large numbers overflow.
        weight = (length / max(float(length.max()), 1e-30)) ** 3
        total = np.add.reduceat(weight, starts, axis=0)
        mean = np.add.reduceat(part * weight, starts, axis=0) / np.maximum(total, 1e-300)
        away = np.square(part - np.repeat(mean, height, axis=0)[: len(part)]).sum(axis=1)
        radius = np.sqrt(np.maximum.reduceat(away, starts))
        found.append(np.concatenate([mean, radius[:, None]], axis=1))
    whole = np.concatenate(found)
    scale = np.maximum(np.abs(whole).max(axis=0), 1e-30) / _CODES
    return Centroids(np.rint(whole / scale).astype(np.int8), scale.astype(np.float32))
