"""Score candidates block by block, from the stored codes if the codec has a structure."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from edgerec.plugin import F32, Affine, Lookup, Partition, Structure, Table, top_k
from edgerec_numpy.lookup import scan_lookup

__all__ = ["Above", "Scan", "best"]

#: Rows by slice, or by ascending number -> their products with the user vector.
Product = Callable[[slice | NDArray[np.int64]], F32]

#: (rows, bound) -> the positions within the slice of the scores above the bound, and those scores.
Above = Callable[[slice, float], tuple[NDArray[np.int64], F32]]

#: Rows scanned before the first bound is known.
_FIRST = 4096

#: Rows scored at a time: 1 MiB of floats at d = 64, which stays in the cache.
_BLOCK = 4096

#: Rows scored at a time by look-ups, which decode nothing. More rows would not stay in the cache of
#: a core, and with fewer rows, the calls to numpy would take longer than the look-ups.
_LOOKUP_BLOCK = 65536


class Scan:
    """Scores the rows of a table for one user after another.

    Args:
        table: the candidates.
        factor: float32[n], by which scores are multiplied; None for no factor.
    """

    def __init__(self, table: Table, factor: F32 | None = None) -> None:
        self.table, self.factor = table, factor
        self.structure = table.codec.structure(table.arrays)
        #: The number of rows to score at a time.
        self.block = _LOOKUP_BLOCK if isinstance(self.structure, Lookup) else _BLOCK

    def product(self, user: F32, rows: int | None = None) -> Product:
        """Return a function from rows to their products with float32[d], times their factors.

        Everything that depends only on the user is computed here, once.

        Args:
            user: float32[d].
            rows: the number of rows that will be scored, all by default.
        """
        score, factor = self._product(user, rows), self.factor
        return score if factor is None else lambda part: score(part) * factor[part]

    def _product(self, user: F32, rows: int | None) -> Product:
        if self.structure is None:
            return lambda part: self.table.decode(part) @ user
        if isinstance(self.structure, Lookup):
            return scan_lookup(self.structure, user, rows)[0]
        return _product(self.structure, user)

    def above(self, user: F32) -> Above:
        """Return a function from a slice of rows and a bound to the rows that score above it."""
        if self.factor is None and isinstance(self.structure, Lookup):
            return scan_lookup(self.structure, user)[1]
        return _above(self.product(user))


def best(above: Above, n: int, block: int, k: int) -> tuple[NDArray[np.int32], F32]:
    """Rows and scores of the k highest of n, highest first, equal to ``top_k`` of all scores.

    Only rows that may be among the best are kept, because one float per row of a million rows
    already takes 4 MB.
    """
    rows, scores = np.empty(0, np.int32), np.empty(0, np.float32)
    bound = -np.inf
    # A few rows come first, because they yield a bound that most rows of a large block miss.
    for start, stop in itertools.pairwise([0, *range(min(block, _FIRST), n, block), n]):
        # A later row does not displace an equal score, so rows equal to the bound can be dropped.
        found, high = above(slice(start, stop), bound)
        rows = np.concatenate([rows, (found + start).astype(np.int32)])
        scores = np.concatenate([scores, high])
        if len(rows) > 4 * k:
            rows, scores = _cut(rows, scores, k)
            bound = float(scores[-1])
    return _cut(rows, scores, k)


def _cut(rows: NDArray[np.int32], scores: F32, k: int) -> tuple[NDArray[np.int32], F32]:
    # Positions are in row order, so among equal scores the lower row still comes first.
    positions, scores = top_k(scores, k)
    return rows[positions], scores


def _product(structure: Structure, user: F32) -> Product:
    """A function from rows to their products with float32[d]."""
    match structure:
        case Affine(bits=8, groups=1) as affine:
            codes = affine.codes
            return _affine(lambda rows: codes[rows].astype(np.float32) @ user, affine, user)
        case Affine(bits=4, groups=1) as affine:
            return _affine(_packed_products(affine, user), affine, user)
        case Affine() as affine:
            return _grouped(affine, user)
        case Lookup() as lookup:
            return scan_lookup(lookup, user)[0]
        case Partition(heights=heights) as partition:
            products = [_product(part, user) for part in partition.parts]
            one_by_one = _one_by_one(products, partition.starts, heights)
            return lambda rows: (
                one_by_one(rows) if isinstance(rows, slice) else partition.rows(rows) @ user
            )
    return lambda rows: structure.rows(rows) @ user


def _one_by_one(
    products: Sequence[Product], starts: Sequence[int], heights: Sequence[int]
) -> Callable[[slice], F32]:
    """The products of a slice of rows, some of which may be in one part and some in the next."""

    def score(rows: slice) -> F32:
        found = []
        for product, start, height in zip(products, starts, heights, strict=True):
            first, last = max(rows.start - start, 0), min(rows.stop - start, height)
            if first < last:
                found.append(product(slice(first, last)))
        return np.concatenate(found)

    return score


def _above(score: Product) -> Above:
    """Score all rows of a slice, and drop those that do not exceed the bound."""

    def found(rows: slice, bound: float) -> tuple[NDArray[np.int64], F32]:
        scores = score(rows)
        positions = np.flatnonzero(scores > bound)
        return positions, scores[positions]

    return found


def _affine(products: Product, affine: Affine, user: F32) -> Product:
    """Apply scales and offsets to the products of codes: u · (s q + o) = s (u · q) + o Σu."""
    total = user.sum()

    def score(rows: slice | NDArray[np.int64]) -> F32:
        scores = products(rows)
        scores *= affine.scale[rows].reshape(-1)
        if affine.offset is not None:
            scores += affine.offset[rows].reshape(-1).astype(np.float32) * total
        return scores

    return score


def _grouped(affine: Affine, user: F32) -> Product:
    """Products by groups of columns: Σ_g s_g (u_g · q_g) + o_g Σ_j u_gj."""
    parts = user.reshape(affine.groups, -1)
    factors = np.zeros((len(user), affine.groups), np.float32)
    factors[np.arange(len(user)), np.repeat(np.arange(affine.groups), parts.shape[1])] = user
    sums = parts.sum(1)

    def score(rows: slice | NDArray[np.int64]) -> F32:
        scores = affine.numbers(rows).astype(np.float32) @ factors
        scores *= affine.scale[rows].reshape(scores.shape)
        if affine.offset is not None:
            scores += affine.offset[rows].reshape(scores.shape) * sums
        found: F32 = scores.sum(1)
        return found

    return score


def _packed_products(affine: Affine, user: F32) -> Product:
    """Products of the low and the high halves of bytes that hold two 4-bit codes each."""
    packed = affine.codes.view(np.int8)
    # A low half shifted up is 16 times its code, including the sign.
    low, high = np.ascontiguousarray(user[0::2] / 16), np.ascontiguousarray(user[1::2])

    def products(rows: slice | NDArray[np.int64]) -> F32:
        block = packed[rows]
        scores: F32 = (block << 4).astype(np.float32) @ low
        scores += (block >> 4).astype(np.float32) @ high
        return scores

    return products
