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
        items = torch.as_tensor(interactions.items.copy())
        lengths = torch.as_tensor(np.diff(interactions.indptr))
        counts = torch.bincount(items, minlength=n_items)
        self.degree = torch.cat([lengths, counts]).float()
        # Half the bytes of int64, which is what limits message passing.
        users = torch.repeat_interleave(lengths).int()
        self._of_users = _Neighbors(items, _ends(lengths))
        self._of_items = _Neighbors(users[torch.argsort(items, stable=True)], _ends(counts))
        # Histories and targets are weighed; message passing between items counts all edges alike.
        weights = interactions.weights
        self.weights = None if weights is None else torch.as_tensor(weights.copy())

    @property
    def n_nodes(self) -> int:
        """The number of users and items together."""
        return self.n_users + self.n_items

    @property
    def item_degree(self) -> Tensor:
        """float[n], the number of users of each item, at least 1."""
        return self.degree[self.n_users :].clamp(min=1)

    @property
    def edge_index(self) -> Tensor:
        """int64[2, 2 E], the edges as PyG has them: items to users, then users to items."""
        item = self._of_users.indices.long() + self.n_users
        user = torch.repeat_interleave(self._of_users.lengths)
        return torch.stack([torch.cat([item, user]), torch.cat([user, item])])

    def symmetric(self, x: Tensor) -> Tensor:
        """D^-½ A D^-½ x: LightGCN's propagation (and GCN's, without self-loops)."""
        adjacency = self._weighed("symmetric")
        return _product(x, adjacency, adjacency)

    def mean(self, x: Tensor) -> Tensor:
        """D^-1 A x: the mean over neighbors, or zero for a node without any."""
        return _product(x, self._weighed("mean"), self._weighed("transposed mean"))

    def pool(self, x: Tensor, normalization: float, item_normalization: float = 0.0) -> Tensor:
        """Pool item rows float[n, e] over each user's history: float[U, e].

        D_u^-p R D_i^-q x, with p the normalization of users and q that of items, and D their
        degrees: each of a user's n items weighs n^-p.
        """
        to_users, to_items = self._bipartite(normalization, item_normalization)
        return _product(x, to_users, to_items)

    def spread(self, x: Tensor, normalization: float, item_normalization: float = 0.0) -> Tensor:
        """Spread user rows float[U, e] over their items, the transpose of ``pool``: float[n, e]."""
        to_users, to_items = self._bipartite(normalization, item_normalization)
        return _product(x, to_items, to_users)

    def back_and_forth(
        self, x: Tensor, normalization: float, item_normalization: float = 0.0
    ) -> Tensor:
        """Pool item rows over users and spread the result over their items: float[n, e].

        D_i^-q R^T D_u^-2p R D_i^-q x, with exponents as in ``pool``. The matrix is symmetric.
        """
        exponents = normalization, item_normalization
        return self.spread(self.pool(x, *exponents), *exponents)

    @functools.lru_cache(maxsize=4)  # noqa: B019  # a graph lives as long as its training
    def _bipartite(self, normalization: float, item_normalization: float) -> tuple[_CSR, _CSR]:
        """The user side of the adjacency, weighed by degrees, and its transpose."""
        by_user = self.degree[: self.n_users].clamp(min=1) ** -normalization
        by_item = self.item_degree**-item_normalization
        users, items = self._of_users, self._of_items
        return (
            _CSR(users, users.spread(by_user) * by_item[users.indices]),
            _CSR(items, items.spread(by_item) * by_user[items.indices]),
        )

    @functools.lru_cache(maxsize=4)  # noqa: B019  # as above
    def _weighed(self, kind: str) -> _CSR:
        """The adjacency of all nodes, with the weights of one way of passing messages."""
        users, items = self._of_users, self._of_items
        nodes = _Neighbors(
            torch.cat([users.indices + self.n_users, items.indices]),
            torch.cat([users.offsets, items.offsets[1:] + users.offsets[-1]]),
        )
        degree = self.degree.clamp(min=1)
        if kind == "symmetric":
            scale = degree**-0.5
            return _CSR(nodes, nodes.spread(scale) * scale[nodes.indices])
        scale = 1 / degree
        return _CSR(nodes, nodes.spread(scale) if kind == "mean" else scale[nodes.indices])

    def histories(self, users: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        """Return the edges of some users.

        Returns:
            Item rows, the position of each one's user, where each user's begin, and the weight of
            each edge; none if all count alike.
        """
        edges, place, offsets = self.edges(users)
        weights = None if self.weights is None else self.weights[edges]
        return self._of_users.indices[edges].long(), place, offsets, weights

    def edges(self, users: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The interactions of some users, by their places among all.

        Returns:
            Places, the position of each one's user, and where each user's begin.
        """
        starts, lengths = self._of_users.offsets[users].long(), self.degree[users].long()
        offsets = F.pad(lengths.cumsum(0), (1, 0))
        place = torch.repeat_interleave(lengths)
        within = torch.arange(len(place), device=place.device) - offsets[place]
        return starts[place] + within, place, offsets


@dataclass(frozen=True)
class _Neighbors:
    """Neighbors of each node: those of node b are ``indices[offsets[b]:offsets[b + 1]]``, int32."""

    indices: Tensor
    offsets: Tensor

    @property
    def lengths(self) -> Tensor:
        """int64[nodes], the number of neighbors of each."""
        return self.offsets.diff().long()

    def spread(self, values: Tensor) -> Tensor:
        """Repeat a value per node for each of its neighbors."""
        return torch.repeat_interleave(values, self.lengths)


@dataclass(frozen=True)
class _CSR:
    """A sparse matrix: row b has ``weights[j]`` at column ``indices[j]``, j in its bag."""

    neighbors: _Neighbors
    weights: Tensor

    def times(self, x: Tensor) -> Tensor:
        """Multiply by dense float[columns, e]."""
        return bag(x, self.neighbors.indices, self.neighbors.offsets, self.weights)


def _ends(lengths: Tensor) -> Tensor:
    return F.pad(lengths.cumsum(0), (1, 0)).int()


class _Product(torch.autograd.Function):
    """y = W x; Wᵀ is passed as well, so that the backward pass is as fast as the forward pass."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, matrix: _CSR, transposed: _CSR) -> Tensor:
        ctx.transposed = transposed
        return matrix.times(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        return ctx.transposed.times(gradients[0]), None, None


def _product(x: Tensor, matrix: _CSR, transposed: _CSR) -> Tensor:
    """Multiply sparse by dense, differentiable in the dense factor."""
    result: Tensor = _Product.apply(x, matrix, transposed)  # type: ignore[no-untyped-call]  # torch leaves apply untyped
    return result


def bag(x: Tensor, indices: Tensor, offsets: Tensor, weights: Tensor) -> Tensor:
    """Weighted sums of rows: out[b] = Σ_{j in bag b} weights[j] · x[indices[j]].

    Args:
        x: float[n, d].
        indices: int32 or int64[edges].
        offsets: [bags + 1], of the type of ``indices``.
        weights: float[edges].
    """
    if not torch.is_grad_enabled():
        x = x.detach()  # otherwise, torch prepares for a backward pass, at twice the time
    return F.embedding_bag(
        indices,
        x.contiguous(),
        offsets,
        mode="sum",
        per_sample_weights=weights.to(x.dtype),
        include_last_offset=True,
    )
