"""Score rows straight from their codes: sums of looked-up numbers, without decoding any row.

A table of the products u_g · C_sg[q], computed once per user, turns a row of W bytes into W
look-ups (Jégou, Douze & Schmid, "Product Quantization for Nearest Neighbor Search", TPAMI 2011,
asymmetric distance).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgerec.plugin import F32, Lookup

__all__ = ["Sums", "byte_tables", "scan_lookup"]

#: The number of rows from which a table of byte pairs (256 KiB) pays for itself.
_MANY = 100_000

#: Rows are gathered individually once at most this share of them is left.
_FEW = 1 / 8


def scan_lookup(
    lookup: Lookup, user: F32, scored: int | None = None
) -> tuple[
    Callable[[slice | NDArray[np.int64]], F32],
    Callable[[slice, float], tuple[NDArray[np.int64], F32]],
]:
    """Return two functions: one scores rows, one finds those of a slice that are above a bound.

    Args:
        lookup: the rows.
        user: float32[d].
        scored: the number of rows that will be scored, all by default.
    """
    codes = lookup.codes
    sums = Sums(byte_tables(lookup, user), scored or len(codes))
    if lookup.factor is None:
        return lambda rows: sums.all(codes[rows]), lambda rows, bound: sums.above(
            codes[rows], bound
        )
    factor = lookup.factor

    def score(rows: slice | NDArray[np.int64]) -> F32:
        return sums.all(codes[rows]) * factor.of(rows)

    def above(rows: slice, bound: float) -> tuple[NDArray[np.int64], F32]:
        low, high = factor.range(rows.start, rows.stop)
        if bound > 0 and low >= 0 and high > 0:
            # Only rows whose sum reaches the bound over the largest factor need their own factor.
            positions, scores = sums.above(codes[rows], bound / high * (1 - 1e-6))
            scores *= factor.at(positions + rows.start)
        else:
            scores = score(rows)
            positions = np.arange(len(scores))
        higher = scores > bound
        return positions[higher], scores[higher]

    return score, above


def byte_tables(lookup: Lookup, user: F32) -> F32:
    """The contribution of each byte to a row's score, float32[W, 256]; a byte has 1 or 2 codes."""
    words, subspace = lookup.words, lookup.subspace
    groups = range(int(subspace.max()) + 1)
    parts = [words[:, :, subspace == g] @ user[subspace == g] for g in groups]
    products = np.stack(parts, axis=1).reshape(-1, words.shape[1])
    if lookup.bits == 8:
        return products
    even = np.pad(products, ((0, len(products) % 2), (0, 0)))
    # The low half of a byte varies fastest.
    return (even[1::2, :, None] + even[0::2, None, :]).reshape(-1, 256)


class Sums:
    """Sums of ``tables[w][byte w]`` for rows of W bytes.

    With many rows, two bytes are looked up at a time, which halves the number of look-ups.

    Args:
        tables: float32[W, 256], the contribution of each byte.
        n: the number of rows.
    """

    def __init__(self, tables: F32, n: int) -> None:
        self.paired = len(tables) // 2 * 2 if n >= _MANY else 0
        one, other = tables[0 : self.paired : 2], tables[1 : self.paired : 2]
        pairs = (other[:, :, None] + one[:, None, :]).reshape(-1, 65536)
        every: list[F32] = [*pairs, *tables[self.paired :]]
        # The tables that separate rows best come first, so that few rows remain early on.
        self.order = sorted(range(len(every)), key=lambda place: -np.ptp(every[place]))
        self.tables = [every[place] for place in self.order]
        highest = [float(table.max()) for table in self.tables]
        #: Per table, the most that the later tables can add, with a margin above rounding errors.
        slack = 1e-6 * sum(float(np.abs(table).max()) for table in self.tables)
        self.rest = [sum(highest[place + 1 :]) + slack for place in range(len(highest))]

    def all(self, codes: NDArray[np.uint8]) -> F32:
        """The sums of all rows, float32[rows]."""
        first, *others = zip(self.tables, self._columns(codes), strict=True)
        scores = _look_up(*first)
        for table, column in others:
            scores += _look_up(table, column)
        return scores

    def above(self, codes: NDArray[np.uint8], bound: float) -> tuple[NDArray[np.int64], F32]:
        """Ascending rows int64[r] whose sums exceed the bound, and those sums.

        A row is dropped as soon as the remaining tables cannot lift it above the bound.
        """
        steps = [*zip(self.tables, self._columns(codes), self.rest, strict=True)]
        half = len(steps) // 2 + 1
        # Hardly any row can be dropped before half of the tables are summed.
        scores = _look_up(*steps[0][:2])
        left: NDArray[np.int64] | None = None
        for step, (table, column, rest) in enumerate(steps[1:], start=2):
            scores += _look_up(table, column if left is None else column[left])
            if half <= step < len(steps):
                high = scores > np.float32(bound - rest)
                if np.count_nonzero(high) < _FEW * len(high):
                    chosen = np.flatnonzero(high)
                    scores, left = scores[chosen], chosen if left is None else left[chosen]
        chosen = np.flatnonzero(scores > bound)
        return chosen if left is None else left[chosen], scores[chosen]

    def _columns(self, codes: NDArray[np.uint8]) -> list[NDArray[np.unsignedinteger[Any]]]:
        """The indices into each table, in the order of the tables."""
        wide = np.ascontiguousarray(codes[:, : self.paired]).view("<u2")
        every = [*wide.T, *codes[:, self.paired :].T]
        return [every[place] for place in self.order]


def _look_up(table: F32, places: NDArray[np.unsignedinteger[Any]]) -> F32:
    # Codes are never out of range, and "clip" skips the check.
    return table.take(places, mode="clip")
