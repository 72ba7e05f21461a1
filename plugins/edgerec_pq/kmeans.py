r"""Codewords by k-means, stage by stage, and the rotation that suits them.

Codewords are stored in one array float32[S, k, d]: stage s of subspace g is the g-th of G
near-equal groups of columns of ``words[s]``. Later stages are learned on the residuals of earlier
ones. After that, all words are refitted at once by least squares for the codes, alternating with
codes being chosen again for the words by beam search (``beam.py``; Martinez et al., "Revisiting
Additive Quantization", ECCV 2016).

``rotation`` is optimized product quantization (Ge, He, Ke & Sun, "Optimized Product Quantization",
TPAMI 2014): the orthogonal R that minimizes Σ w |x R - C[q]|². k-means in the rotated space
alternates with Procrustes, R = U Vᵀ for Xᵀ W C[q] = U Σ Vᵀ. It starts from principal axes,
distributed so that every subspace has the same product of variances.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgerec.plugin import F32
from edgerec_pq.beam import search

__all__ = ["Shape", "assign", "cluster", "columns", "learn", "lookup", "rotation"]

#: Rounds of k-means and of rotation, and rounds of refining stages together.
ROUNDS, REFINE = 15, 3

#: Words are learned from at most so many random rows per word, as faiss does: more change little.
SAMPLE = 256

#: Rows compared with all words at a time.
BLOCK = 8192


class Shape(NamedTuple):
    """S stages in each of G subspaces, k codewords each."""

    stages: int
    subspaces: int
    size: int


def columns(d: int, subspaces: int) -> NDArray[np.int64]:
    """int64[d], the subspace of each column."""
    parts = np.array_split(np.arange(d), subspaces)
    return np.repeat(np.arange(subspaces), [len(part) for part in parts])


def lookup(codes: NDArray[np.integer[Any]], words: F32) -> F32:
    """Sums of codewords, float32[n, d], of codes int[n, S G] and words float32[S, k, d]."""
    stages, _, d = words.shape
    subspaces = codes.shape[1] // stages
    place = columns(d, subspaces)
    rows = np.zeros((len(codes), d), np.float32)
    for s in range(stages):
        rows += words[s][codes[:, s * subspaces + place], np.arange(d)]
    return rows


def learn(matrix: F32, shape: Shape, weight: F32 | None = None) -> tuple[NDArray[np.int64], F32]:
    """Learn codes int64[n, S G] and codewords float32[S, k, d]; rows have ``weight``, or 1."""
    weight = np.ones(len(matrix), np.float32) if weight is None else weight
    n, d = matrix.shape
    place = columns(d, shape.subspaces)
    codes = np.zeros((n, shape.stages * shape.subspaces), np.int64)
    words = np.zeros((shape.stages, shape.size, d), np.float32)
    for g in range(shape.subspaces):
        part, mine = np.ascontiguousarray(matrix[:, place == g]), place == g
        rest = part.copy()
        for s in range(shape.stages):
            found, nearest = cluster(rest, shape.size, weight, seed=s)
            codes[:, s * shape.subspaces + g], words[s][:, mine] = nearest, found
            rest -= found[nearest]
    if shape.stages > 1:
        order = np.random.default_rng(0).permutation(n)
        part, own = _sample(matrix, weight, order, shape.size)
        for _ in range(REFINE):
            words = _refit(part, assign(part, words, shape.subspaces), words, own)
        codes = assign(matrix, words, shape.subspaces)
    return codes, words


def cluster(
    matrix: F32, size: int, weight: F32, seed: int = 0, rounds: int = ROUNDS
) -> tuple[F32, NDArray[np.int64]]:
    """Weighted k-means from random rows: centroids float32[size, d], and the nearest, int64[n]."""
    order = np.random.default_rng(seed).permutation(len(matrix))
    words = matrix[np.resize(order, size)].astype(np.float32)
    part, own = _sample(matrix, weight, order, size)
    for _ in range(rounds):
        words = _means(part, _nearest(part, words), words, own)
    return words, _nearest(matrix, words)


def assign(matrix: F32, words: F32, subspaces: int) -> NDArray[np.int64]:
    """The codes of rows, int64[n, S G], for codewords float32[S, k, d]."""
    stages, _, d = words.shape
    place = columns(d, subspaces)
    codes = np.empty((len(matrix), stages * subspaces), np.int64)
    for g in range(subspaces):
        part = np.ascontiguousarray(matrix[:, place == g])
        codes[:, g::subspaces] = search(part, np.ascontiguousarray(words[:, :, place == g]))
    return codes


def rotation(matrix: F32, subspaces: int, size: int, weight: F32) -> F32:
    """The orthogonal float32[d, d] that best suits rows to a product of codebooks."""
    order = np.random.default_rng(0).permutation(len(matrix))
    start = matrix[np.resize(order, size)]
    matrix, weight = _sample(matrix, weight, order, size)
    weighted = matrix * weight[:, None]
    turn = _balanced_axes(matrix * np.sqrt(weight)[:, None], subspaces)
    place = columns(matrix.shape[1], subspaces)
    words = start @ turn
    for _ in range(ROUNDS):
        rotated = matrix @ turn
        found = np.empty_like(rotated)
        for g in range(subspaces):
            part = np.ascontiguousarray(rotated[:, place == g])
            mine = _means(part, _nearest(part, words[:, place == g]), words[:, place == g], weight)
            words[:, place == g], found[:, place == g] = mine, mine[_nearest(part, mine)]
        left, _, right = np.linalg.svd(weighted.T @ found)
        turn = left @ right
    return turn.astype(np.float32)


def _sample(matrix: F32, weight: F32, order: NDArray[np.int64], size: int) -> tuple[F32, F32]:
    """The rows that ``size`` words are learned from, and their weights."""
    if len(matrix) <= SAMPLE * size:
        return matrix, weight
    chosen = np.sort(order[: SAMPLE * size])
    return matrix[chosen], weight[chosen]


def _nearest(matrix: F32, words: F32) -> NDArray[np.int64]:
    """int64[n], the nearest word of each row: the largest x·c - |c|²/2."""
    half = np.square(words).sum(axis=1) / 2
    nearest = np.empty(len(matrix), np.int64)
    for start in range(0, len(matrix), BLOCK):
        scores = matrix[start : start + BLOCK] @ words.T
        nearest[start : start + BLOCK] = (scores - half).argmax(axis=1)
    return nearest


def _means(matrix: F32, nearest: NDArray[np.int64], words: F32, weight: F32) -> F32:
    """The weighted mean of the rows assigned to each word; unused words do not change."""
    counts = np.bincount(nearest, weight, len(words))
    means = words.copy()
    for column in range(matrix.shape[1]):
        sums = np.bincount(nearest, weight * matrix[:, column], len(words))
        means[:, column] = np.where(counts > 0, sums / np.maximum(counts, 1e-12), words[:, column])
    return means


def _refit(matrix: F32, codes: NDArray[np.int64], words: F32, weight: F32) -> F32:
    """Refit all codewords at once by ridge regression around their values: float32[S, k, d]."""
    stages, size, d = words.shape
    subspaces = codes.shape[1] // stages
    place = columns(d, subspaces)
    rest = (matrix - lookup(codes, words)) * weight[:, None]
    refitted = words.copy()
    for g in range(subspaces):
        mine = codes[:, g::subspaces] + size * np.arange(stages)
        normal = np.zeros((stages * size, stages * size))
        for s in range(stages):
            for t in range(s, stages):
                pairs = (mine[:, s] - s * size) * size + mine[:, t] - t * size
                block = np.bincount(pairs, weight, size * size).reshape(size, size)
                normal[s * size : (s + 1) * size, t * size : (t + 1) * size] = block
                normal[t * size : (t + 1) * size, s * size : (s + 1) * size] = block.T
        normal[np.diag_indices_from(normal)] *= 1.001
        normal[np.diag_indices_from(normal)] += 0.01 * weight.mean()
        wanted = np.zeros((stages * size, int((place == g).sum())))
        for column, values in enumerate(rest[:, place == g].T):
            for s in range(stages):
                sums = np.bincount(mine[:, s] - s * size, values, size)
                wanted[s * size : (s + 1) * size, column] = sums
        change = np.linalg.solve(normal, wanted).reshape(stages, size, -1)
        refitted[:, :, place == g] += change.astype(np.float32)
    return refitted


def _balanced_axes(matrix: F32, subspaces: int) -> F32:
    """Principal axes, largest first, each assigned to the subspace with the least variance yet."""
    variances, axes = np.linalg.eigh(matrix.T.astype(np.float64) @ matrix)
    room = np.bincount(columns(matrix.shape[1], subspaces))
    dealt: list[list[int]] = [[] for _ in room]
    product = np.zeros(subspaces)
    # Logs are relative to the smallest variance, so that each axis increases a product.
    gains = np.log(np.maximum(variances / max(variances[0], 1e-9 * variances[-1], 1e-30), 1))
    for axis in np.argsort(-variances, kind="stable"):
        full = [len(d) == r for d, r in zip(dealt, room, strict=True)]
        m = int(np.where(full, np.inf, product).argmin())
        dealt[m].append(int(axis))
        product[m] += gains[axis]
    return np.ascontiguousarray(axes[:, np.concatenate(dealt).astype(int)], np.float32)
