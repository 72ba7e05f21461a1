"""What a GNN family must provide: item tables by message passing, and a user encoder.

The graph is compiled away by splitting the last round of message passing off. Everything
that is the same for all users, the items' states after each layer, is computed on the
full graph (``tables``). What is left for a user is one round over their own history
(pool the rows of ``past``) and the dense layers after it (``user``), and that is what a
device runs. ``forward`` is the same model as PyG computes it, on the whole graph; a test
holds the two equal.
"""

from __future__ import annotations

import abc
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edgerec.codecs import F32
from edgerec.graph import Graph
from edgerec.ops import Op

__all__ = ["GNN", "Lowered", "Tables", "array", "degree_of"]


@dataclass
class Tables:
    """Item states that users need.

    Args:
        past: float[n, e] each, what a past item contributes, one a layer.
        candidates: float[n, d], what a candidate is scored against, before the readout.
    """

    past: list[Tensor]
    candidates: Tensor


@dataclass
class Lowered:
    """A trained model as device tables (float32[n, width]), constants and ops."""

    tables: dict[str, F32]
    constants: dict[str, F32]
    encoder: tuple[Op, ...]
    candidates: str = "items"


class GNN(nn.Module, abc.ABC):
    """A family of graph neural networks over users and items."""

    #: What a user calls the family.
    family: ClassVar[str]

    #: A past item weighs n ** -normalization among n.
    normalization: ClassVar[float]

    #: Whether the user vector is a sum over the history, without dense layers after it.
    linear: ClassVar[bool] = True

    #: float[n, d], item vectors before any message passing.
    items: nn.Parameter

    #: float[U, d], vectors of the users' own; none in a model of histories alone.
    users: nn.Parameter | None

    #: γ: candidate rows are of length degree^γ. None leaves their own length.
    popularity: float | None = None

    def vectors(self) -> Tensor:
        """Item vectors before any message passing, float[n, d].

        A submodule ``text`` adds what the items' texts say (``edgerec.features``).
        """
        text = self._modules.get("text")
        vectors: Tensor = self.items if text is None else text(self.items)
        return vectors

    def start(self, vectors: Tensor, graph: Graph, popularity: float) -> None:
        """Start from given item vectors, float[n, d]; ``popularity`` is γ."""
        with torch.no_grad():
            self.items.copy_(vectors)
        self.popularity = popularity

    def tilt(self, graph: Graph, exponent: float) -> None:
        """Make candidate rows longer by degree^exponent, once training is done."""
        self.popularity = (self.popularity or 0.0) + exponent

    def readout(self, candidates: Tensor, degree: Tensor) -> Tensor:
        """Give candidate rows the length degree^γ.

        Cosine scores forget popularity; this puts it back, and costs a device nothing.
        """
        if self.popularity is None:
            return candidates
        return F.normalize(candidates, dim=-1) * degree[:, None] ** self.popularity

    @abc.abstractmethod
    def tables(self, graph: Graph) -> Tables:
        """Run message passing on the full graph and return what users need."""

    @abc.abstractmethod
    def user(self, pooled: list[Tensor], own: Tensor | None = None) -> Tensor:
        """User vectors float[B, d] of pooled histories, float[B, e] a layer.

        ``own`` is float[B, d], the users' own vectors, where the model has them.
        """

    @abc.abstractmethod
    def forward(self, edge_index: Tensor | Graph) -> tuple[Tensor, Tensor]:
        """User vectors float[U, d] and item vectors float[n, d] of the full graph."""

    @abc.abstractmethod
    def lower(self, graph: Graph) -> Lowered:
        """Return the tables, constants and ops that a device needs."""

    @abc.abstractmethod
    def options(self) -> dict[str, Any]:
        """Constructor arguments, as JSON values."""


def degree_of(edge_index: Tensor | Graph, n_users: int, n_items: int) -> Tensor:
    """float[n], number of users of each item, at least 1."""
    if isinstance(edge_index, Graph):
        return edge_index.item_degree
    counts = torch.bincount(edge_index[1], minlength=n_users + n_items)
    return counts[n_users:].clamp(min=1).float()


def array(tensor: Tensor) -> F32:
    """Copy a tensor to float32 numpy."""
    result: F32 = tensor.detach().float().cpu().numpy().copy()
    return result
