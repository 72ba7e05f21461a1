"""Find the best rows for several users at a time, decoding each block of the table only once."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from edgerec.plugin import F32, Table, top_k

__all__ = ["best_of_batch"]

#: Rows decoded at a time, which stay in the cache.
_BLOCK = 4096


def best_of_batch(
    table: Table, factor: F32 | None, users: F32, k: int
) -> tuple[NDArray[np.int32], F32]:
    """Rows int32[B, k] and scores float32[B, k] of the k highest, highest first.

    Args:
        table: the candidates, at least k rows.
        factor: float32[n], by which scores are multiplied; None for no factor.
        users: float32[B, d].
        k: the number of rows per user.
    """
    kept = [(np.empty(0, np.int32), np.empty(0, np.float32)) for _ in users]
    bounds = np.full((len(users), 1), -np.inf, np.float32)
    high: list[tuple[NDArray[np.int64], NDArray[np.int64], F32]] = []
    for start, stop, is_last in _blocks(table.shape[0], k):
        scores = users @ table.decode(slice(start, stop)).T
        if factor is not None:
            scores *= factor[start:stop]
        if start == 0:
            kept = [top_k(mine, min(k, stop)) for mine in scores]
        else:
            # A later row does not displace an equal score.
            above = np.flatnonzero(scores > bounds)
            owners, places = np.divmod(above, stop - start)
            high.append((owners, places + start, scores.reshape(-1)[above]))
            if not is_last:
                continue
            kept, high = _merged(kept, high, k), []
        bounds = np.array([[mine[-1] if len(mine) == k else -np.inf] for _, mine in kept])
    return np.stack([rows for rows, _ in kept]), np.stack([scores for _, scores in kept])


def _blocks(n: int, k: int) -> Iterator[tuple[int, int, bool]]:
    """Blocks of rows, and whether the bounds should be renewed after each.

    That happens whenever the number of rows has doubled, because hardly any row exceeds the bounds
    after the first few blocks.
    """
    first = min(n, max(_BLOCK, k))
    yield 0, first, True
    renewed = first
    for start in range(first, n, _BLOCK):
        stop = min(start + _BLOCK, n)
        is_last = stop == n or stop >= 2 * renewed
        renewed = stop if is_last else renewed
        yield start, stop, is_last


def _merged(
    kept: list[tuple[NDArray[np.int32], F32]],
    high: list[tuple[NDArray[np.int64], NDArray[np.int64], F32]],
    k: int,
) -> list[tuple[NDArray[np.int32], F32]]:
    """The k highest of what is kept and of what exceeded the bounds, for each user."""
    owners, rows, scores = (np.concatenate(part) for part in zip(*high, strict=True))
    order = np.argsort(owners, kind="stable")  # the rows of a user stay in order
    ends = np.cumsum(np.bincount(owners, minlength=len(kept)))[:-1]
    found = []
    for (old, highest), mine, new in zip(
        kept, np.split(rows[order], ends), np.split(scores[order], ends), strict=True
    ):
        if len(mine):
            every, all_scores = np.append(old, mine), np.append(highest, new)
            # In the order of rows, so that of equal scores the lower row comes first.
            by_row = np.argsort(every, kind="stable")
            places, best = top_k(all_scores[by_row], k)
            found.append((every[by_row][places].astype(np.int32), best))
        else:
            found.append((old, highest))
    return found
