r"""Coding: columns of features as numbers, learned from the items of a data set.

A bag of labels or words becomes a sparse row of unit length, Σ_t w_it² = 1, with w_it ∝
log(n / n_t), where n_t is the number of items that have them (inverse document frequency: Spärck
Jones, 1972). Words are hashed to a fixed number of places (feature hashing: Weinberger et al., ICML
2009). A vector is centered and divided by its standard deviation and √e. A number becomes its
rank among the items' numbers first, so that neither its unit nor an outlier matters.

New items are coded by what was learned: tokens that no item of the data set has say nothing.
"""

from __future__ import annotations

import zlib
from abc import ABC, abstractmethod
from collections import Counter
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edgerec.data.feature_columns import Column, Text, Tokens, Vectors
from edgerec.errors import DataError

__all__ = ["Bags", "Coder", "coder_of", "weigh_by_rarity"]

#: The number of places of words, a few times the words in a large catalogue, so that few collide.
_PLACES = 1 << 15


@dataclass(frozen=True)
class Bags:
    """Sparse rows: row i has ``weights[j]`` at ``indices[j]``, offsets[i] ≤ j < offsets[i + 1].

    Args:
        indices: int64[...], below ``width``.
        offsets: int64[n + 1].
        weights: float32[...].
        width: the length of the rows.
    """

    indices: Tensor
    offsets: Tensor
    weights: Tensor
    width: int


class Coder(ABC):
    """Codes one column."""

    @abstractmethod
    def __call__(self, column: Column) -> Bags | Tensor:
        """Sparse rows of tokens, or float32[n, e] of vectors.

        Raises:
            DataError: the column is of another kind or width than the one that was learned from.
        """


class _TokenCoder(Coder):
    """Codes tokens."""

    def __init__(self, column: Tokens) -> None:
        self.hashed = isinstance(column, Text)
        listed = column.tokens()
        labels = sorted({label for row in listed for label in row}) if not self.hashed else ()
        self.place = {label: number for number, label in enumerate(labels)}
        self.width = _PLACES if self.hashed else max(1, len(labels))
        self.items = len(listed)
        self.count = Counter(place for row in listed for place in {*map(self._place, row)})

    def __call__(self, column: Column) -> Bags:
        if not isinstance(column, Tokens) or isinstance(column, Text) != self.hashed:
            expected = "text" if self.hashed else "categories"
            raise DataError(f"expected {expected}, as in the data set, got {column.kind}")
        rows = [self._places(row) for row in column.tokens()]
        counts = torch.tensor([len(row) for row in rows], dtype=torch.int64)
        flat = [place for row in rows for place in row]
        weights = torch.tensor([self.items / self.count[place] for place in flat]).log()
        owner = torch.repeat_interleave(counts)
        return Bags(
            torch.tensor(flat, dtype=torch.int64),
            torch.nn.functional.pad(counts.cumsum(0), (1, 0)),
            _to_unit_length(owner, weights, len(rows)),
            self.width,
        )

    def _places(self, tokens: list[str]) -> list[int]:
        """The places of known tokens, each once."""
        return sorted({*map(self._place, tokens)} & self.count.keys())

    def _place(self, token: str) -> int:
        """The place of a token; -1, which is no place, for an unknown label."""
        return zlib.crc32(token.encode()) % _PLACES if self.hashed else self.place.get(token, -1)


class _VectorCoder(Coder):
    """Codes vectors."""

    def __init__(self, column: Vectors) -> None:
        self.sorted = np.sort(column.values[:, 0]) if column.values.shape[1] == 1 else None
        values = self._ranked(column)
        self.mean = values.mean(0)
        # One scale for all columns, which keeps the angles of an embedding.
        self.scale = float((values - self.mean).std()) * values.shape[1] ** 0.5 or 1.0

    def __call__(self, column: Column) -> Tensor:
        if not isinstance(column, Vectors) or column.values.shape[1] != len(self.mean):
            width = f" of width {column.values.shape[1]}" if isinstance(column, Vectors) else ""
            raise DataError(
                f"expected vectors of width {len(self.mean)}, as in the data set, got "
                f"{column.kind}{width}"
            )
        coded = (self._ranked(column) - self.mean) / self.scale
        return torch.as_tensor(coded.astype(np.float32))

    def _ranked(self, column: Vectors) -> NDArray[np.float64]:
        """Vectors, or the share of the known numbers below each number; equal ones count half."""
        if self.sorted is None:
            return column.values.astype(np.float64)
        below = np.searchsorted(self.sorted, column.values, "left")
        up_to = np.searchsorted(self.sorted, column.values, "right")
        return (below + up_to) / (2.0 * len(self.sorted))


def weigh_by_rarity(owner: Tensor, token: Tensor, n: int) -> Tensor:
    """Weights of n owners' tokens, int64[m] each: float[m], proportional to log(n / n_t).

    n_t is how often a token occurs; the squares of an owner's weights add up to 1.
    """
    return _to_unit_length(owner, (n / torch.bincount(token)[token]).log(), n)


def _to_unit_length(owner: Tensor, weights: Tensor, n: int) -> Tensor:
    length = torch.zeros(n).index_add_(0, owner, weights.square()).sqrt()
    return weights / length.clamp(min=1e-12)[owner]


def coder_of(column: Column) -> Coder:
    """Learn how to code a column from the items of a data set."""
    if isinstance(column, Tokens):
        return _TokenCoder(column)
    if isinstance(column, Vectors):
        return _VectorCoder(column)
    raise DataError(f"expected tokens or vectors, got {type(column).__name__}")
