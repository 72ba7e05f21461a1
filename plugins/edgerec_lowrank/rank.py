"""The rank that keeps a share of a matrix's energy."""

from __future__ import annotations

import numpy as np

from edgerec.plugin import F32

__all__ = ["rank_for_energy"]


def rank_for_energy(values: F32, share: float) -> int:
    """The smallest even r with Σ_{k≤r} σ_k² ≥ share · Σ σ_k²; even because int4 packs pairs."""
    energy = np.cumsum(np.square(values, dtype=np.float64))
    rank = int(np.searchsorted(energy, share * energy[-1])) + 1
    return min(rank + rank % 2, len(values))
