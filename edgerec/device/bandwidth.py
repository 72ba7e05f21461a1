"""Memory bandwidth, the floor of a scan: no scan is faster than reading its table once."""

from __future__ import annotations

import time
from collections.abc import Callable

__all__ = ["time_alternately"]

#: More bytes than the caches of a phone's or a server's core hold.
_BEYOND_CACHE = 64_000_000


def time_alternately(
    nbytes: int, scan: Callable[[int], object], count: int = 30
) -> tuple[list[float], list[float]]:
    """Time reads of ``nbytes`` from memory and calls of ``scan``, alternating between the two.

    Both find their bytes in memory, not in a cache, because an untimed read of other memory comes
    before each. A read is a search for a byte that does not occur, which the C library does at
    about the speed of memory, in one thread.

    Args:
        nbytes: the size of the table.
        scan: called with 0, 1, 2, ….
        count: the number of reads, and of calls.

    Returns:
        Milliseconds of each read, and of each call.
    """
    memory = b"\1" * (nbytes + _BEYOND_CACHE)
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
