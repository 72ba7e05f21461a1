"""Large arrays of a training step keep their memory, instead of returning it to the system.

glibc maps every block above 32 MB anew, and the system clears it page by page. A step of a large
catalogue allocates a dozen tables, so a third of its time would go into that.
"""

from __future__ import annotations

import contextlib
import ctypes
import sys
from collections.abc import Iterator

__all__ = ["kept_allocations"]

#: ``mallopt``'s numbers of the size above which free memory at the end of the heap is returned, and
#: of the size above which blocks are mapped.
_TRIM, _MAP = -1, -3

#: The values during training: almost everything is kept. And after it: glibc's own limits.
_KEPT, _USUAL = 2**31 - 1, 32 * 2**20


@contextlib.contextmanager
def kept_allocations() -> Iterator[None]:
    """Keep freed memory for the next allocation; without effect but for glibc's malloc, from 2.35.

    Earlier versions map large blocks whatever they are told.
    """
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None
    if libc is None or not hasattr(libc, "mallopt"):
        yield
        return
    try:
        libc.malloc_trim(0)
        libc.mallopt(_MAP, _KEPT)
        libc.mallopt(_TRIM, _KEPT)
        yield
    finally:
        libc.mallopt(_MAP, _USUAL)
        libc.mallopt(_TRIM, 2 * _USUAL)
        libc.malloc_trim(0)
