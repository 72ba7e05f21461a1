"""Factors of the best matrix of a rank (``edgerec.plugin.leading_basis``), and the rank."""

from __future__ import annotations

import numpy as np

from edgerec.plugin import F32, leading_basis

__all__ = ["factorize", "rank_for_energy"]


def factorize(matrix: F32, rank: int) -> tuple[F32, F32]:
    """Factors A float32[n, r] and B float32[r, d] of the best matrix of that rank."""
    basis = leading_basis(matrix)[0][:rank]
    return matrix @ basis.T, basis


def rank_for_energy(values: F32, share: float) -> int:
    """Smallest even r with Σ_{k≤r} σ_k² ≥ share · Σ σ_k²; even, for int4 packs pairs."""
    energy = np.cumsum(np.square(values, dtype=np.float64))
    rank = int(np.searchsorted(energy, share * energy[-1])) + 1
    return min(rank + rank % 2, len(values))
