r"""Item features in training: item vectors that also learn from what is known of items.

    x_i = e_i + Σ_f z_if W_f

e_i is the item's own vector, z_if its row of feature f (``feature_coding.py``) and W_f a matrix
that starts at zero. Items that share words or labels, or whose pictures are alike, learn together,
in any family. Message passing runs on x, and the lowered model contains its result, so a device
sees no features.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from edgerec.data.dataset import Dataset
from edgerec.data.feature_columns import Column
from edgerec.data.features import choose_columns, read_feature_names
from edgerec.training.feature_coding import Bags, coder_of
from edgerec.training.gnn import GNN
from edgerec.training.graph import bag

__all__ = ["ItemFeatures", "add_features"]


def add_features(gnn: GNN, dataset: Dataset, names: str) -> None:
    """Add features to a family's item vectors, in place.

    The vectors do not change until the features are trained.

    Args:
        gnn: the network.
        dataset: the data set.
        names: the names of features, such as ``titles,genres``.

    Raises:
        OptionError: the data set has no such feature.
    """
    chosen = choose_columns(dataset.items, dataset.item_features, read_feature_names(names))
    gnn.add_module("item_features", ItemFeatures(chosen.values(), gnn.items.shape[1]))


class ItemFeatures(nn.Module):
    """Adds the products of features and their matrices to item vectors, float[n, d].

    Args:
        columns: the features of n items.
        width: d.
    """

    def __init__(self, columns: Iterable[Column], width: int) -> None:
        super().__init__()
        coded = [coder_of(column)(column) for column in columns]
        self.parts = nn.ModuleList(
            _Bags(one, width) if isinstance(one, Bags) else _Vectors(one, width) for one in coded
        )

    def forward(self, own: Tensor) -> Tensor:
        """Add what features say to item vectors."""
        for part in self.parts:
            own = own + part()
        return own


class _Bags(nn.Module):
    """Weighted sums of the vectors of tokens."""

    indices: Tensor
    offsets: Tensor
    weights: Tensor

    def __init__(self, bags: Bags, width: int) -> None:
        super().__init__()
        # They follow from the features, so that files need not keep them.
        for name in ("indices", "offsets", "weights"):
            self.register_buffer(name, getattr(bags, name), persistent=False)
        self.matrix = nn.Parameter(torch.zeros(bags.width, width))

    def forward(self) -> Tensor:
        return bag(self.matrix, self.indices, self.offsets, self.weights)


class _Vectors(nn.Module):
    """Products of dense rows and a matrix."""

    rows: Tensor

    def __init__(self, rows: Tensor, width: int) -> None:
        super().__init__()
        self.register_buffer("rows", rows, persistent=False)
        self.matrix = nn.Parameter(torch.zeros(rows.shape[1], width))

    def forward(self) -> Tensor:
        return self.rows @ self.matrix
