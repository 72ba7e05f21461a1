"""Item vectors to start training from: the leading singular vectors of the interactions."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from edgerec.training.accelerator import seeded
from edgerec.training.graph import Graph

__all__ = ["spectral_start"]

#: The number of rows that are multiplied at a time in float64.
_BLOCK = 2**14


def spectral_start(graph: Graph, dim: int, seed: int, rounds: int = 8) -> Tensor:
    """The leading right singular vectors of D_u^-½ R D_i^-0.4 as item vectors, float[n, dim].

    They are computed by randomized subspace iteration (Halko, Martinsson & Tropp, SIAM Review
    2011). Columns are scaled by the square root of their singular values, and rows to a mean length
    of 1. Starting from them saves most of the epochs. The exponent was chosen on a validation
    split.
    """
    width = min(dim + 16, graph.n_items)
    basis = torch.randn(graph.n_items, width, generator=seeded(seed))
    for _ in range(rounds):
        basis = graph.back_and_forth(basis @ _whitening(basis)[0], 0.5, 0.4)
    turn, squares = _whitening(basis)
    vectors = F.pad((basis @ (turn * squares**0.25))[:, :dim], (0, max(0, dim - width)))
    return vectors.div_(vectors.norm(dim=1).mean().clamp(min=1e-12))


def _whitening(basis: Tensor) -> tuple[Tensor, Tensor]:
    """W and s, with B W the left singular vectors of B and s its singular values, largest first.

    B is float[n, w] with n much larger than w, so the eigenvectors of Bᵀ B need less time and
    memory than a decomposition of B. In float64, what they lose does not matter.
    """
    # On the CPU, as not every accelerator has float64.
    width = basis.shape[1]
    gram = torch.zeros(width, width, dtype=torch.float64, device="cpu")
    for block in torch.split(basis, _BLOCK):
        wide = block.cpu().double()
        gram += wide.T @ wide
    squares, vectors = torch.linalg.eigh(gram)
    values = squares.flip(0).clamp(min=0).sqrt()
    found = vectors.flip(1) / values.clamp(min=max(1e-30, 1e-6 * float(values[0])))
    return found.float().to(basis.device), values.float().to(basis.device)
