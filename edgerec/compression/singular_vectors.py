r"""Leading singular vectors: the basis of the best matrix of rank r.

With X = U Σ Vᵀ, the closest matrix of rank r in the Frobenius norm is

    X ≈ A B,   A = X V_r = U_r Σ_r,   B = V_rᵀ,   |X - A B|² = Σ_{k>r} σ_k²

Eckart & Young, "The approximation of one matrix by another of lower rank", 1936.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from edgerec.model.codecs import F32

__all__ = ["leading_basis", "stack"]


def leading_basis(matrix: F32) -> tuple[F32, F32]:
    """Right singular vectors, float32[d, d], one per row, and values, float32[d], descending.

    They are the eigenvectors of XᵀX, which is d by d however many rows X has.
    """
    gram = matrix.astype(np.float64).T @ matrix.astype(np.float64)
    squares, vectors = np.linalg.eigh(gram)
    # A vector and its negative are equivalent; fix the sign, so that every platform agrees.
    vectors *= np.where(vectors.sum(axis=0) < 0, -1, 1)
    values = np.sqrt(np.maximum(squares, 0))
    return (
        np.ascontiguousarray(vectors.T[::-1], np.float32),
        np.ascontiguousarray(values[::-1], np.float32),
    )


def stack(matrices: Iterable[F32]) -> F32:
    """Stack tables, each scaled to norm 1, so that none outweighs another."""
    return np.concatenate([m / max(float(np.linalg.norm(m)), 1e-12) for m in matrices])
