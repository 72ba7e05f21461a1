r"""The kernel of item features, and its low-rank form.

Items i and j are alike by the mean over their features f,

    k(i, j) = exp((s(i, j) - 1) / σ),    s(i, j) = mean over f of s_f(i, j)

where s_f is the cosine of two bags of tokens, and exp(-|a - b|² / 2) of two vectors. With m of the
items as landmarks, Φ Φᵀ approximates the kernel matrix (Nyström: Williams & Seeger, NIPS 2000):

    Φ = K_nm K_mm^-½

Where landmarks are few, they miss rare labels. So items are also described by the codes of their
features, side by side (``linear``).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from edgerec.data.feature_columns import Column
from edgerec.training.feature_coding import Bags, Coder, coder_of
from edgerec.training.graph import bag

__all__ = ["FeatureKernel", "low_rank"]

#: How many landmarks are compared at a time.
_STEP = 256

#: The most places of a column that features have one by one.
_WIDEST = 4096

#: Directions of the kernel below this share of the largest are left out.
_LEAST = 1e-6


class FeatureKernel:
    """Compares items by their features.

    Args:
        columns: the features of the n items that are learned from, by name.
        landmarks: int64[m], rows of the items that all others are compared with.

    Raises:
        DataError: a column is neither tokens nor vectors.
    """

    def __init__(self, columns: Mapping[str, Column], landmarks: Tensor) -> None:
        self.coders: dict[str, Coder] = {name: coder_of(c) for name, c in columns.items()}
        chosen = landmarks.numpy()
        self.landmarks = {name: self.coders[name](c.take(chosen)) for name, c in columns.items()}

    def likeness(self, columns: Mapping[str, Column]) -> Tensor:
        """float32[n, m], s(i, j) of items and landmarks.

        Raises:
            DataError: a column is of another kind or width than the one that was learned from.
        """
        parts = [
            _alike(coder(columns[name]), self.landmarks[name])
            for name, coder in self.coders.items()
        ]
        return torch.stack(parts).mean(0)

    def linear(self, columns: Mapping[str, Column]) -> Tensor:
        """float64[n, w], codes side by side, divided by the square root of the number of columns.

        Columns of more than 4,096 places are left out, such as those of words.
        """
        found = [torch.zeros(len(next(iter(columns.values()))), 0, dtype=torch.float64)]
        for name, coder in self.coders.items():
            coded = coder(columns[name])
            if isinstance(coded, Tensor):
                found.append(coded.double())
            elif coded.width <= _WIDEST:
                found.append(_dense(coded).double())
        return torch.cat(found, 1) * len(self.coders) ** -0.5

    def known(self, columns: Mapping[str, Column]) -> Tensor:
        """bool[n], whether anything is known of each item that is known of others, too."""
        found = torch.zeros(len(next(iter(columns.values()))), dtype=torch.bool)
        for name, coder in self.coders.items():
            coded = coder(columns[name])
            found |= coded.offsets.diff() > 0 if isinstance(coded, Bags) else True
        return found


def low_rank(likeness: Tensor, among: Tensor, sigma: float) -> Tensor:
    """Φ float64[n, r] of items, r ≤ m.

    Args:
        likeness: float32[n, m], of items and landmarks.
        among: float32[m, m], of landmarks and landmarks.
        sigma: σ.
    """
    values, vectors = torch.linalg.eigh(_kernel(among, sigma))
    kept = values > _LEAST * values[-1]
    return _kernel(likeness, sigma) @ (vectors[:, kept] * values[kept] ** -0.5)


def _kernel(likeness: Tensor, sigma: float) -> Tensor:
    return ((likeness.double() - 1) / sigma).exp()


def _dense(bags: Bags) -> Tensor:
    """float32[n, width]."""
    owner = torch.repeat_interleave(bags.offsets.diff())
    found = torch.zeros(len(bags.offsets) - 1, bags.width)
    found[owner, bags.indices] = bags.weights
    return found


def _alike(items: Bags | Tensor, landmarks: Bags | Tensor) -> Tensor:
    """float32[n, m], s_f of one feature."""
    if isinstance(items, Tensor) and isinstance(landmarks, Tensor):
        return (-0.5 * torch.cdist(items, landmarks).square()).exp()
    if not (isinstance(items, Bags) and isinstance(landmarks, Bags)):
        raise TypeError("bags and vectors cannot be compared")
    parts = []
    count = len(landmarks.offsets) - 1
    for start in range(0, count, _STEP):
        end = min(start + _STEP, count)
        first, last = int(landmarks.offsets[start]), int(landmarks.offsets[end])
        owner = torch.repeat_interleave(landmarks.offsets[start : end + 1].diff())
        dense = torch.zeros(landmarks.width, end - start)
        dense[landmarks.indices[first:last], owner] = landmarks.weights[first:last]
        parts.append(bag(dense, items.indices, items.offsets, items.weights))
    return torch.cat(parts, 1)
