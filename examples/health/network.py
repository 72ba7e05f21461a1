"""A network over symptoms and herbs, in the manner of SMGCN (Jin et al., ICDE 2020).

Vectors travel between symptoms and herbs that were prescribed together, among symptoms that occur
together, and among herbs that are given together. A dense layer makes one picture out of a set of
symptoms, as a physician does.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch_geometric.nn import LGConv

from examples.health.prescriptions import Prescriptions

__all__ = ["Network", "Picture", "graph_of"]


def graph_of(known: Prescriptions, symptom_pairs: Tensor, herb_pairs: Tensor) -> Tensor:
    """Edges in both directions, symptoms first and herbs after them, int64[2, edges]."""
    together = torch.from_numpy(known.symptoms.T @ known.herbs)
    count = len(together)
    joined = torch.nonzero(together > 0).T + torch.tensor([[0], [count]])
    edges = torch.cat([joined, symptom_pairs, herb_pairs + count], 1)
    return torch.cat([edges, edges.flip(0)], 1)


class Picture(nn.Module):
    """The part that a device runs: the rows of a set of symptoms in, a vector out."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(width, width), nn.Linear(width, width)

    def dense(self, mean: Tensor) -> Tensor:
        """Two dense layers, and a 1 for what is prescribed to anyone."""
        found = self.last(self.first(mean).relu()) + mean
        return torch.cat([found, torch.ones_like(found[:, :1])], 1)

    def forward(self, symptoms: Tensor, weights: Tensor) -> Tensor:
        """The mean of rows float[H, d], through the dense layers."""
        return self.dense((symptoms * weights).sum(0, keepdim=True))


class Network(nn.Module):
    """Scores of all herbs for sets of symptoms."""

    propagation: Tensor

    def __init__(
        self, edges: Tensor, n_symptoms: int, n_herbs: int, width: int, dropout: float
    ) -> None:
        super().__init__()
        self.n_symptoms = n_symptoms
        self.vectors = nn.Parameter(torch.randn(n_symptoms + n_herbs, width) * 0.1)
        self.common = nn.Parameter(torch.zeros(n_herbs, 1))
        self.dropout = nn.Dropout(dropout)
        # LightGCN's propagation of a unit matrix is its own matrix, which a thousand nodes allow.
        propagation = LGConv()(torch.eye(len(self.vectors)), edges)
        self.register_buffer("propagation", propagation, persistent=False)
        self.picture = Picture(width)

    def tables(self) -> tuple[Tensor, Tensor]:
        """Rows of symptoms float[s, d], and of herbs float[h, d + 1]."""
        near = self.propagation @ self.vectors
        states = self.vectors + near + self.propagation @ near
        herbs = torch.cat([states[self.n_symptoms :], self.common], 1)
        return states[: self.n_symptoms], herbs

    def forward(self, sets: Tensor) -> Tensor:
        """Scores float[n, h] for sets of symptoms, float[n, s]."""
        symptoms, herbs = self.tables()
        mean = sets @ symptoms / sets.sum(1, keepdim=True)
        return self.picture.dense(self.dropout(mean)) @ herbs.T
