r"""Codebooks by k-means, and the rotation that suits them.

Codebooks of M subspaces lie side by side in one matrix float32[k, d]; subspace m is the
m-th of M near-equal runs of columns.

``rotation`` is optimized product quantization (Ge, He, Ke & Sun, "Optimized Product
Quantization", TPAMI 2014): the orthogonal R that minimises Σ |x R - C[q]|², by turns: k-means
in the rotated space, then R by Procrustes, R = U Vᵀ of Xᵀ C[q] = U Σ Vᵀ. It starts from
principal axes dealt out so that every subspace has the same product of variances.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgerec.plugin import F32

__all__ = ["columns", "learn_codebook", "lookup", "nearest", "rotation"]

#: Rounds of k-means, and of rotating.
ROUNDS = 15


def columns(d: int, subspaces: int) -> NDArray[np.int64]:
    """int64[d], the subspace of each column."""
    parts = np.array_split(np.arange(d), subspaces)
    return np.repeat(np.arange(subspaces), [len(part) for part in parts])


def lookup(codes: NDArray[np.integer[Any]], codebook: F32) -> F32:
    """Rows of codewords side by side, float32[n, d]."""
    d = codebook.shape[1]
    rows: F32 = codebook[codes[:, columns(d, codes.shape[1])], np.arange(d)]
    return rows


def nearest(matrix: F32, codebook: F32, subspaces: int) -> NDArray[np.int64]:
    """int64[n, M], each subspace's nearest codeword: the largest x·c - |c|²/2."""
    place = columns(matrix.shape[1], subspaces)
    codes = np.empty((len(matrix), subspaces), np.int64)
    for m in range(subspaces):
        words = codebook[:, place == m]
        scores = matrix[:, place == m] @ words.T
        scores -= np.square(words).sum(axis=1) / 2
        codes[:, m] = scores.argmax(axis=1)
    return codes


def learn_codebook(matrix: F32, subspaces: int, size: int, rounds: int = ROUNDS) -> F32:
    """Codebooks float32[size, d] of the matrix, by k-means from random rows."""
    codebook = _start(matrix, size)
    for _ in range(rounds):
        codebook = _means(matrix, nearest(matrix, codebook, subspaces), codebook)
    return codebook


def rotation(matrix: F32, subspaces: int, size: int, rounds: int = ROUNDS) -> F32:
    """Orthogonal float32[d, d] by which rows lie best for a product of codebooks."""
    turn = _balanced_axes(matrix, subspaces)
    rotated = matrix @ turn
    codebook = _start(rotated, size)
    for _ in range(rounds):
        codes = nearest(rotated, codebook, subspaces)
        codebook = _means(rotated, codes, codebook)
        left, _, right = np.linalg.svd(matrix.T @ lookup(codes, codebook))
        turn = left @ right
        rotated = matrix @ turn
    return turn.astype(np.float32)


def _start(matrix: F32, size: int) -> F32:
    """Rows at random, each in turn if there are fewer than codewords."""
    order = np.random.default_rng(0).permutation(len(matrix))
    return matrix[np.resize(order, size)].astype(np.float32)


def _means(matrix: F32, codes: NDArray[np.int64], codebook: F32) -> F32:
    """The mean of what each codeword stands for; an unused one stays."""
    means = codebook.copy()
    for column, m in enumerate(columns(matrix.shape[1], codes.shape[1])):
        counts = np.bincount(codes[:, m], minlength=len(codebook))
        sums = np.bincount(codes[:, m], matrix[:, column], len(codebook))
        means[:, column] = np.where(counts > 0, sums / np.maximum(counts, 1), means[:, column])
    return means


def _balanced_axes(matrix: F32, subspaces: int) -> F32:
    """Principal axes, largest first, each to the subspace with room and least variance so far."""
    variances, axes = np.linalg.eigh(matrix.T.astype(np.float64) @ matrix)
    room = np.bincount(columns(matrix.shape[1], subspaces))
    dealt: list[list[int]] = [[] for _ in room]
    product = np.zeros(subspaces)
    # Logs are measured from the smallest variance, so that each axis dealt adds to a product.
    gains = np.log(np.maximum(variances / max(variances[0], 1e-9 * variances[-1], 1e-30), 1))
    for axis in np.argsort(-variances, kind="stable"):
        full = [len(d) == r for d, r in zip(dealt, room, strict=True)]
        m = int(np.where(full, np.inf, product).argmin())
        dealt[m].append(int(axis))
        product[m] += gains[axis]
    return np.ascontiguousarray(axes[:, np.concatenate(dealt).astype(int)], np.float32)
