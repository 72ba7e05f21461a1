"""Pages of memory-mapped files, which count as a process's memory once they are read."""

from __future__ import annotations

import mmap
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["give_back", "release"]


def release(array: NDArray[Any]) -> None:
    """Return the pages of an array in a memory-mapped file to the system.

    They count as this process's memory otherwise, and are read again when needed.
    """
    owner: Any = array
    while isinstance(owner, np.ndarray):
        owner = owner.base
    mapped = owner.obj if isinstance(owner, memoryview) else owner
    if isinstance(mapped, mmap.mmap):
        start = array.ctypes.data - np.frombuffer(mapped, np.uint8).ctypes.data
        give_back(mapped, start, start + array.nbytes)


def give_back(mapped: mmap.mmap, start: int, stop: int) -> None:
    """Return the pages from ``start`` to ``stop`` to the system."""
    if hasattr(mmap, "MADV_DONTNEED"):
        start -= start % mmap.PAGESIZE
        mapped.madvise(mmap.MADV_DONTNEED, start, stop - start)
