r"""Compute the user row of ALS on the device, as implicit computes it for a new user.

With item rows y, α and λ, it is u = (YᵀY + λI + (α - 1) Σ y yᵀ)⁻¹ α Σ y, where Σ runs over the
history (Hu, Koren & Volinsky, "Collaborative Filtering for Implicit Feedback Datasets", ICDM 2008).
With L Lᵀ = YᵀY + λI, x = L⁻¹ y and v = Lᵀu, the scores u·y = v·x are the same, and

    (I + (α - 1) Σ x xᵀ) v = α Σ x,

which reads the past items alone. For α = 1, v is a sum of rows. Otherwise, conjugate gradients find
v, as they do in implicit. All eigenvalues are between 1 and α, because Σ x xᵀ is part of
L⁻¹ YᵀY L⁻ᵀ, so few steps suffice.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from edgerec.learn import from_embeddings, from_torch
from edgerec.plugin import F32, DeviceModel
from edgerec_implicit.saved import Saved

__all__ = ["solved"]

#: The steps of conjugate gradients, and the least number that they divide by.
_STEPS, _LEAST = 8, 1e-12


class ALS(nn.Module):
    """The user row of ALS, by conjugate gradients."""

    def __init__(self, alpha: float) -> None:
        super().__init__()
        self.alpha = alpha

    def forward(self, items: Tensor, present: Tensor) -> Tensor:
        """v, float[1, d], of the whitened rows x of past items."""
        rows = items * present
        rest = self.alpha * rows.sum(0, keepdim=True)
        found, way = torch.zeros_like(rest), rest
        size = (rest * rest).sum(1, keepdim=True)
        for _ in range(_STEPS):
            said = (rows * way).sum(1, keepdim=True)
            turned = way + (self.alpha - 1) * (said * rows).sum(0, keepdim=True)
            step = size / (way * turned).sum(1, keepdim=True).clamp(min=_LEAST)
            found, rest = found + step * way, rest - step * turned
            left = (rest * rest).sum(1, keepdim=True)
            way, size = rest + left / size.clamp(min=_LEAST) * way, left
        return found


def solved(saved: Saved, ids: list[str], **settings: Any) -> DeviceModel:
    """A model that solves for the user row.

    Raises:
        numpy.linalg.LinAlgError: the item rows depend on one another, and λ is 0.
    """
    rows = _whitened(saved)
    if saved.alpha == 1:
        return from_embeddings(ids, rows, pooling="sum", **settings)
    return from_torch(ALS(saved.alpha), {"items": rows}, ids, **settings)


def _whitened(saved: Saved) -> F32:
    """The rows x = L⁻¹ y, float32[n, d]."""
    rows = saved.items.astype(np.float64)
    root = np.linalg.cholesky(rows.T @ rows + saved.regularization * np.eye(rows.shape[1]))
    return np.linalg.solve(root, rows.T).T.astype(np.float32)
