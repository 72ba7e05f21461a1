"""The user-item graph, and message passing over it as a sparse product.

On CPU, ``F.embedding_bag`` with ``per_sample_weights`` over a CSR matrix is several times faster
than a sparse-tensor product or a scatter. One autograd function built on it does all message
passing.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from edgerec.data.interactions import Interactions

__all__ = ["Graph", "bag"]


class Graph:
    """A bipartite graph with users as nodes 0..U-1 and items as nodes U..U+n-1.

    Every edge exists in both directions, as in PyG's homogeneous form.

    Args:
        interactions: the edges.
        n_items: n, the size of the catalogue.
    """

    def __init__(self, interactions: Interactions, n_items: int) -> None:
        self.n_users, self.n_items = interactions.n_users, n_items
        user = torch.from_numpy(interactions.users.astype(np.int64))
        item = torch.from_numpy(interactions.items.astype(np.int64)) + self.n_users
        self.edge_index = torch.stack([torch.cat([item, user]), torch.cat([user, item])])
        source, target = self.edge_index
        order = torch.argsort(target, stable=True)
        self.degree = torch.bincount(target, minlength=self.n_nodes).float()
        self.indices = source[order]
        self.offsets = F.pad(self.degree.long().cumsum(0), (1, 0))
        # Histories and targets are weighed; message passing between items counts all edges alike.
        weights = interactions.weights
        self.weights = None if weights is None else torch.from_numpy(weights.copy())
        self._target = target[order]

    @property
    def n_nodes(self) -> int:
        """The number of users and items together."""
        return self.n_users + self.n_items

    @property
    def item_degree(self) -> Tensor:
        """float[n], the number of users of each item, at least 1."""
        return self.degree[self.n_users :].clamp(min=1)

    def symmetric(self, x: Tensor) -> Tensor:
        """D^-½ A D^-½ x: LightGCN's propagation (and GCN's, without self-loops)."""
        scale = self.degree.clamp(min=1) ** -0.5
        weights = scale[self.indices] * scale[self._target]
        adjacency = _CSR(self.indices, self.offsets, weights)
        return _product(x, adjacency, adjacency)

    def mean(self, x: Tensor) -> Tensor:
        """D^-1 A x: the mean over neighbors, or zero for a node without any."""
        inverse = 1 / self.degree.clamp(min=1)
        forward = _CSR(self.indices, self.offsets, inverse[self._target])
        return _product(x, forward, _CSR(self.indices, self.offsets, inverse[self.indices]))

    def pool(self, x: Tensor, normalization: float) -> Tensor:
        """Pool item rows float[n, e] over each user's history: float[U, e].

        Each of a user's n items weighs ``n ** -normalization``.
        """
        to_users, to_items = self._bipartite(normalization)
        return _product(x, to_users, to_items)

    def back_and_forth(self, x: Tensor, normalization: float) -> Tensor:
        """Pool item rows over users and spread the result over their items: float[n, e].

        R^T D^-2p R x, with p the normalization and D the users' degrees.
        """
        to_users, to_items = self._bipartite(normalization)
        return _product(_product(x, to_users, to_items), to_items, to_users)

    @functools.lru_cache(maxsize=4)  # noqa: B019  # a graph lives as long as its training
    def _bipartite(self, normalization: float) -> tuple[_CSR, _CSR]:
        """The user side of the adjacency, with equal weights per user, and its transpose."""
        edges, users = len(self.indices) // 2, self.n_users
        scale = self.degree.clamp(min=1) ** -normalization
        to_users = _CSR(
            self.indices[:edges] - users,
            self.offsets[: users + 1],
            scale[self._target[:edges]],
        )
        to_items = _CSR(
            self.indices[edges:], self.offsets[users:] - edges, scale[self.indices[edges:]]
        )
        return to_users, to_items

    def histories(self, users: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        """Return the edges of some users.

        Returns:
            Item rows, the position of each one's user, where each user's begin, and the weight of
            each edge; none if all count alike.
        """
        starts, lengths = self.offsets[users], self.degree[users].long()
        offsets = F.pad(lengths.cumsum(0), (1, 0))
        place = torch.repeat_interleave(torch.arange(len(users)), lengths)
        within = torch.arange(len(place)) - offsets[place]
        edges = starts[place] + within
        weights = None if self.weights is None else self.weights[edges]
        return self.indices[edges] - self.n_users, place, offsets, weights


@dataclass(frozen=True)
class _CSR:
    """A sparse matrix: row b has ``weights[j]`` at column ``indices[j]``, j in its bag."""

    indices: Tensor
    offsets: Tensor
    weights: Tensor


class _Product(torch.autograd.Function):
    """y = W x; Wᵀ is passed as well, so that the backward pass is as fast as the forward pass."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, matrix: _CSR, transposed: _CSR) -> Tensor:
        ctx.transposed = transposed
        return bag(x, matrix.indices, matrix.offsets, matrix.weights)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        t: _CSR = ctx.transposed
        return bag(gradients[0], t.indices, t.offsets, t.weights), None, None


def _product(x: Tensor, matrix: _CSR, transposed: _CSR) -> Tensor:
    """Multiply sparse by dense, differentiable in the dense factor."""
    result: Tensor = _Product.apply(x, matrix, transposed)  # type: ignore[no-untyped-call]  # torch leaves apply untyped
    return result


def bag(x: Tensor, indices: Tensor, offsets: Tensor, weights: Tensor) -> Tensor:
    """Weighted sums of rows: out[b] = Σ_{j in bag b} weights[j] · x[indices[j]].

    Args:
        x: float[n, d].
        indices: int64[edges].
        offsets: int64[bags + 1].
        weights: float[edges].
    """
    return F.embedding_bag(
        indices,
        x.contiguous(),
        offsets,
        mode="sum",
        per_sample_weights=weights.to(x.dtype),
        include_last_offset=True,
    )
