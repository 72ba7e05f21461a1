"""Baselines: scores of all items for users whose histories are known.

Each function takes a dataset and one setting, and returns a ``Ranker``. Nearest neighbors and ALS
are those of the library implicit; the others have a closed form.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.sparse
import scipy.sparse.linalg
import torch
from implicit.als import AlternatingLeastSquares
from implicit.nearest_neighbours import ItemItemRecommender
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from edgerec import Dataset

__all__ = ["Ranker", "als", "ease", "graph_filter", "markov", "neighbors", "popularity", "seen"]

#: From users, int64[B], to scores of all items, float[B, n].
Ranker = Callable[[NDArray[np.int64]], NDArray[Any]]


def seen(data: Dataset) -> Any:
    """Histories as a sparse matrix of ones, float32[users, n]."""
    known = data.histories
    # implicit does not take read-only arrays.
    parts = np.ones(len(known), np.float32), known.items.copy(), known.indptr.copy()
    return scipy.sparse.csr_matrix(parts, shape=(len(data.users), len(data.items)))


def popularity(data: Dataset, setting: None = None) -> Ranker:
    """How many users an item has."""
    counts = data.histories.counts(len(data.items))
    return lambda users: np.tile(counts, (len(users), 1)).astype(np.float32)


def neighbors(data: Dataset, k: int) -> Ranker:
    """Item-kNN: the cosine likeness of an item to those of the history, of k neighbors each."""
    matrix = seen(data)
    lengths = np.sqrt(np.maximum(data.histories.counts(len(data.items)), 1))
    model = ItemItemRecommender(K=min(k, len(data.items)))
    model.fit((matrix @ scipy.sparse.diags(1 / lengths)).tocsr(), show_progress=False)
    return lambda users: (matrix[users] @ model.similarity).toarray()


def als(data: Dataset, setting: tuple[int, float, float]) -> Ranker:
    """Implicit ALS (Hu, Koren & Volinsky, ICDM 2008): factors, α (a 1 weighs 1 + α), and λ."""
    factors, alpha, regularization = setting
    with threadpool_limits(1, "blas"):  # which implicit asks for
        model = AlternatingLeastSquares(
            factors, regularization, alpha, iterations=15, random_state=0
        )
        model.fit(seen(data), show_progress=False)
    rows = model.item_factors.T
    return lambda users: model.user_factors[users] @ rows


def ease(data: Dataset, strength: float) -> Ranker:
    """EASE (Steck, WWW 2019): B = I - P / diag(P), with P = (XᵀX + λI)^-1."""
    matrix = seen(data)
    gram = torch.from_numpy((matrix.T @ matrix).toarray())
    gram.diagonal().add_(strength)
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(gram)).numpy()
    weights = -inverse / np.diag(inverse)
    np.fill_diagonal(weights, 0)
    return lambda users: matrix[users] @ weights


def markov(data: Dataset, older: float) -> Ranker:
    """A Markov chain: how often an item came right after one of the history.

    The j-th most recent item of the history counts ``older`` to the power of j - 1, and popularity
    decides where nothing is known.
    """
    known, n = data.histories, len(data.items)
    follows = np.diff(known.users) == 0
    pairs = known.items[:-1][follows], known.items[1:][follows]
    chain = scipy.sparse.csr_matrix((np.ones(len(pairs[0]), np.float32), pairs), shape=(n, n))
    counts = known.counts(n)
    chain = scipy.sparse.diags(1 / np.maximum(counts, 1).astype(np.float32)) @ chain
    age = known.indptr[1:][known.users] - np.arange(len(known)) - 1
    weights = np.float32(older) ** age.astype(np.float32)
    recent = scipy.sparse.csr_matrix(
        (weights, known.items, known.indptr), shape=(len(data.users), n)
    )
    common = (counts / counts.sum() * 1e-3).astype(np.float32)
    return lambda users: (recent[users] @ chain).toarray() + common


def graph_filter(data: Dataset, share: float) -> Ranker:
    """GF-CF (Shen et al., CIKM 2021): R̃ᵀR̃ + α D^-½ V Vᵀ D^½, with 256 singular vectors V of R̃.

    R̃ is the matrix of interactions normalized by the square roots of both degrees, and D has the
    degrees of items.
    """
    matrix = seen(data)
    by_user, by_item = (
        np.maximum(np.asarray(matrix.sum(axis)).ravel(), 1) ** -0.5 for axis in (1, 0)
    )
    normal = scipy.sparse.diags(by_user) @ matrix @ scipy.sparse.diags(by_item)
    count = min(256, min(normal.shape) - 1)
    start = np.random.default_rng(0).random(min(normal.shape))
    vectors = scipy.sparse.linalg.svds(normal, count, v0=start)[2].astype(np.float32)
    left, right = vectors * by_item, vectors / by_item
    likeness = (normal.T @ normal).tocsr()

    def scores(users: NDArray[np.int64]) -> NDArray[Any]:
        rows = matrix[users]
        return (rows @ likeness).toarray() + share * (rows @ left.T) @ right

    return scores
