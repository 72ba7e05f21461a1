"""Score rows straight from their codes: sums of looked-up numbers, no row is ever decoded.

u · x = Σ_sg u_g · C_sg[q_sg]: a table of the products u_g · C_sg[q], made once a user, turns a row
of W bytes into W lookups (Jégou, Douze & Schmid, TPAMI 2011, their asymmetric distance).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from edgerec.plugin import F32
from edgerec_pq.kmeans import columns

__all__ = ["byte_tables", "summing"]

#: From so many rows on, a table of byte pairs (256 KiB) pays for itself.
MANY = 100_000


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


def summing(tables: F32, n: int) -> Callable[[NDArray[np.uint8]], F32]:
    """Return a function from uint8[rows, W] to the sums of tables[w][byte w], float32[rows].

    Where there are many rows, two bytes are looked up at a time: half the lookups.
    """
    paired = len(tables) // 2 * 2 if n >= MANY else 0
    pairs = (tables[1:paired:2, :, None] + tables[0:paired:2, None, :]).reshape(-1, 65536)

    def total(codes: NDArray[np.uint8]) -> F32:
        wide = np.ascontiguousarray(codes[:, :paired]).view("<u2")
        scores = np.zeros(len(codes), np.float32)
        # No code is out of range; "clip" spares the check.
        for table, column in zip(pairs, wide.T, strict=True):
            scores += table.take(column, mode="clip")
        for table, column in zip(tables[paired:], codes[:, paired:].T, strict=True):
            scores += table.take(column, mode="clip")
        return scores

    return total
