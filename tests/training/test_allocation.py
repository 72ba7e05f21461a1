"""Training keeps the memory of its large arrays, and gives it back at its end."""

from __future__ import annotations

import platform
import resource
from pathlib import Path

import numpy as np
import pytest

from edgerec.training.allocation import kept_allocations

LIBC, VERSION = platform.libc_ver()
TOLD = LIBC == "glibc" and tuple(map(int, VERSION.split("."))) >= (2, 35)

#: Larger than the blocks that glibc keeps by itself.
NBYTES = 64 * 2**20


def faults() -> int:
    """How many pages the system has mapped for this process."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


def fill(count: int) -> None:
    """Allocate and write a large block several times."""
    for _ in range(count):
        np.ones(NBYTES // 8)


def resident() -> int:
    """Resident memory in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


@pytest.mark.skipif(not TOLD, reason="only glibc's malloc, from 2.35 on, is told to keep memory")
def test_blocks_are_mapped_once_and_given_back() -> None:
    before = resident()
    with kept_allocations():
        fill(1)
        start = faults()
        fill(8)
        kept = faults() - start
        held = resident()
    assert held > before + NBYTES // 2
    assert resident() < held - NBYTES // 2
    start = faults()
    fill(8)
    assert kept < (faults() - start) / 4


def test_an_error_passes_through() -> None:
    with pytest.raises(ValueError, match="stop"), kept_allocations():
        raise ValueError("stop")
