"""Score rows straight from their codes: sums of looked-up numbers, no row is ever decoded.

u · x = Σ_sg u_g · C_sg[q_sg]: a table of the products u_g · C_sg[q], made once a user, turns a row
of W bytes into W lookups (Jégou, Douze & Schmid, TPAMI 2011, their asymmetric distance).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgerec.plugin import F32
from edgerec_pq.kmeans import columns

__all__ = ["Sums", "byte_tables"]

#: From so many rows on, a table of byte pairs (256 KiB) pays for itself.
MANY = 100_000

#: Rows are picked out once so small a share of them is left.
FEW = 1 / 8


def byte_tables(words: F32, user: F32, subspaces: int, bits: int) -> F32:
    """What each byte of a row adds to its score, float32[W, 256]; two 4-bit codes a byte.

    ``words`` are codewords float32[S, k, d].
    """
    place = columns(len(user), subspaces)
    parts = [words[:, :, place == g] @ user[place == g] for g in range(subspaces)]
    products = np.stack(parts, axis=1).reshape(-1, words.shape[1])
    if bits == 8:
        return products
    even = np.pad(products, ((0, len(products) % 2), (0, 0)))
    # The low half of a byte varies fastest.
    return (even[1::2, :, None] + even[0::2, None, :]).reshape(-1, 256)


class Sums:
    """Sums of tables[w][byte w] for rows of W bytes.

    Where there are many rows, two bytes are looked up at a time: half the lookups.

    Args:
        tables: float32[W, 256], what each byte adds.
        n: number of rows.
    """

    def __init__(self, tables: F32, n: int) -> None:
        self.paired = len(tables) // 2 * 2 if n >= MANY else 0
        one, other = tables[0 : self.paired : 2], tables[1 : self.paired : 2]
        pairs = (other[:, :, None] + one[:, None, :]).reshape(-1, 65536)
        every: list[F32] = [*pairs, *tables[self.paired :]]
        # What tells rows apart best comes first, so that few may still be high after it.
        self.order = sorted(range(len(every)), key=lambda place: -np.ptp(every[place]))
        self.tables = [every[place] for place in self.order]
        highest = [float(table.max()) for table in self.tables]
        #: What the tables after each add at most, and more than rounding takes away.
        slack = 1e-6 * sum(float(np.abs(table).max()) for table in self.tables)
        self.rest = [sum(highest[place + 1 :]) + slack for place in range(len(highest))]

    def all(self, codes: NDArray[np.uint8]) -> F32:
        """Sums of every row, float32[rows]."""
        first, *others = zip(self.tables, self._columns(codes), strict=True)
        scores = _looked_up(*first)
        for table, column in others:
            scores += _looked_up(table, column)
        return scores

    def above(self, codes: NDArray[np.uint8], bound: float) -> tuple[NDArray[np.int64], F32]:
        """Rows whose sums are above the bound, int64[r] in ascending order, and those sums.

        A row is left out as soon as what is still to come cannot lift it over the bound.
        """
        steps = [*zip(self.tables, self._columns(codes), self.rest, strict=True)]
        half = len(steps) // 2 + 1
        # Before half of the tables hardly a row is out.
        scores = _looked_up(*steps[0][:2])
        left: NDArray[np.int64] | None = None
        for step, (table, column, rest) in enumerate(steps[1:], start=2):
            scores += _looked_up(table, column if left is None else column[left])
            if half <= step < len(steps):
                high = scores > np.float32(bound - rest)
                if np.count_nonzero(high) < FEW * len(high):
                    chosen = np.flatnonzero(high)
                    scores, left = scores[chosen], chosen if left is None else left[chosen]
        chosen = np.flatnonzero(scores > bound)
        return chosen if left is None else left[chosen], scores[chosen]

    def _columns(self, codes: NDArray[np.uint8]) -> list[NDArray[np.unsignedinteger[Any]]]:
        """Each table's indices, in the tables' order."""
        wide = np.ascontiguousarray(codes[:, : self.paired]).view("<u2")
        every = [*wide.T, *codes[:, self.paired :].T]
        return [every[place] for place in self.order]


def _looked_up(table: F32, places: NDArray[np.unsignedinteger[Any]]) -> F32:
    # No code is out of range; "clip" spares the check.
    return table.take(places, mode="clip")
