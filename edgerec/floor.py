"""The floor: no scan of a table is faster than reading its bytes once."""

from __future__ import annotations

import time
from collections.abc import Callable

__all__ = ["by_turns"]

#: More than the caches of a phone's or a server's core hold.
BEYOND_CACHE = 64_000_000


def by_turns(
    nbytes: int, scan: Callable[[int], object], count: int = 30
) -> tuple[list[float], list[float]]:
    """Time reads of ``nbytes`` of memory and calls of ``scan``, by turns.

    Both find their bytes in memory, not in a cache: what one reads drives out what the other
    did, and in between are reads that aren't timed. Reading is a search for a byte that isn't
    there, which the C library does about as fast as memory gives it, in one thread.

    Args:
        nbytes: of the table.
        scan: called with 0, 1, 2, ….
        count: how many times.

    Returns:
        Milliseconds of each read, and of each call.
    """
    memory = b"\1" * (nbytes + BEYOND_CACHE)
    reads, scans = [], []
    for i in range(count):
        memory.find(b"\0", nbytes)
        start = time.perf_counter()
        memory.find(b"\0", 0, nbytes)
        reads.append((time.perf_counter() - start) * 1e3)
        memory.find(b"\0", nbytes)
        start = time.perf_counter()
        scan(i)
        scans.append((time.perf_counter() - start) * 1e3)
    return reads, scans
