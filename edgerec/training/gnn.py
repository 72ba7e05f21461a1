"""GNN: the interface of a family, which provides item tables and a user encoder.

The graph is compiled away by splitting off the last round of message passing. Everything that is
the same for all users, the items' states after each layer, is computed on the full graph
(``tables``). What remains for a user is one round over their own history (pooling the rows of
``past``) and the dense layers after it (``user``). That is what a device runs. ``forward`` is the
same model as PyG computes it on the whole graph, and a test checks that both are equal.
"""

from __future__ import annotations

import abc
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edgerec.data.dataset import Dataset
from edgerec.model.codecs import F32
from edgerec.model.ops import Op
from edgerec.training.graph import Graph

__all__ = ["GNN", "Lowered", "Tables", "array", "degree_of"]


@dataclass
class Tables:
    """The item states that a user encoder needs.

    Args:
        past: float[n, e] per layer, what each past item contributes.
        candidates: float[n, d], the candidate rows before the readout.
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
    """A graph neural network over users and items.

    Training changes its parameters alone. What ``start`` sets has to be in parameters, buffers or
    ``popularity``, because these are what files keep.
    """

    #: p; each of n past items weighs n^-p.
    normalization: ClassVar[float]

    #: Whether the user vector is a sum over the history, with no dense layers after it.
    linear: ClassVar[bool] = True

    #: float[n, d], item vectors before any message passing.
    items: nn.Parameter

    #: float[U, d], the users' own vectors; none in a model of histories alone.
    users: Tensor | None

    #: γ; candidate rows have the length degree^γ. None keeps their own length.
    popularity: float | None = None

    def vectors(self) -> Tensor:
        """Item vectors before any message passing, float[n, d].

        A submodule ``item_features`` adds what is known about the items.
        """
        features = self._modules.get("item_features")
        vectors: Tensor = self.items if features is None else features(self.items)
        return vectors

    def situated(self, users: Tensor, edges: Tensor | None = None) -> Tensor | None:
        """What the context of users, int64[B], adds to their vectors, float[B, d]; none without.

        It is the submodule ``user_context``. ``edges`` are the interactions to predict, int64[B].
        """
        context = self._modules.get("user_context")
        added: Tensor | None = None if context is None else context(users, edges)
        return added

    def attach(self, dataset: Dataset) -> None:
        """Take from the dataset what the sizes and the graph do not tell, such as side edges.

        It is called once, after ``make`` and before anything else, in training as in loading. What
        follows from the dataset alone may be in buffers that files do not keep.

        Raises:
            OptionError: the dataset lacks what the network needs.
        """

    def start(self, vectors: Tensor, graph: Graph, popularity: float) -> None:
        """Start from given item vectors, float[n, d]; ``popularity`` is γ."""
        with torch.no_grad():
            self.items.copy_(vectors)
        self.popularity = popularity

    def tilt(self, graph: Graph, exponent: float) -> None:
        """Scale candidate rows by degree^exponent, after training."""
        self.popularity = (self.popularity or 0.0) + exponent

    def readout(self, candidates: Tensor, degree: Tensor) -> Tensor:
        """Give candidate rows the length degree^γ.

        Cosine scores ignore popularity. This restores it at no cost on the device.
        """
        if self.popularity is None:
            return candidates
        return F.normalize(candidates, dim=-1) * degree[:, None] ** self.popularity

    @abc.abstractmethod
    def tables(self, graph: Graph) -> Tables:
        """Run message passing on the full graph and return what users need."""

    def rows(self, graph: Graph, items: Tensor) -> Tables:
        """The rows of some items, int64[m], with candidates after the readout, to train on.

        A family may override it to compute less of what is not needed.
        """
        tables = self.tables(graph)
        return Tables(
            [F.embedding(items, past) for past in tables.past],
            self.readout(F.embedding(items, tables.candidates), graph.item_degree[items]),
        )

    @abc.abstractmethod
    def user(self, pooled: list[Tensor], own: Tensor | None = None) -> Tensor:
        """User vectors float[B, d] of pooled histories, float[B, e] per layer.

        ``own`` is float[B, d], the users' own vectors, if the model has them.
        """

    @abc.abstractmethod
    def forward(self, edge_index: Tensor | Graph) -> tuple[Tensor, Tensor]:
        """User vectors float[U, d] and item vectors float[n, d] of the full graph."""

    @abc.abstractmethod
    def lower(self, graph: Graph) -> Lowered:
        """Return the tables, constants and ops that a device needs."""


def degree_of(edge_index: Tensor | Graph, n_users: int, n_items: int) -> Tensor:
    """float[n], the number of users of each item, at least 1."""
    if isinstance(edge_index, Graph):
        return edge_index.item_degree
    counts = torch.bincount(edge_index[1], minlength=n_users + n_items)
    return counts[n_users:].clamp(min=1).float()


def array(tensor: Tensor) -> F32:
    """Copy a tensor to float32 numpy."""
    result: F32 = tensor.detach().float().cpu().numpy().copy()
    return result
