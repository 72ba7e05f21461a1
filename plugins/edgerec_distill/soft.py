r"""Soft labels.

    p_i = softmax(z / T)_i = exp(z_i / T) / Σ_j exp(z_j / T)
    loss = T² · H(p_teacher, p_student),   H(p, q) = -Σ_i p_i log q_i

Hinton, Vinyals, Dean, "Distilling the Knowledge in a Neural Network", 2015. A high T shows
how the teacher ranks what it does not choose; T² keeps the gradient's size, which falls
with 1 / T².
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["cross_entropy", "distillation_loss", "soften", "standardize"]


def soften(logits: Tensor, temperature: float) -> Tensor:
    """softmax(z / T) along the last axis."""
    return (logits / temperature).softmax(-1)


def cross_entropy(p: Tensor, q: Tensor) -> Tensor:
    """H(p, q) = -Σ p log q along the last axis; 0 log q is 0."""
    return -torch.special.xlogy(p, q).sum(-1)


def distillation_loss(teacher: Tensor, student: Tensor, temperature: float) -> Tensor:
    """Mean of T² · H(softmax(z_teacher / T), softmax(z_student / T)) over float[B, K] logits."""
    p = soften(teacher, temperature)
    # log_softmax, where H(p, q) would take the log of a q that may round to 0.
    log_q = (student / temperature).log_softmax(-1)
    return -(temperature**2) * (p * log_q).sum(-1).mean()


def standardize(logits: Tensor) -> Tensor:
    """(z - mean) / deviation along the last axis, so that a temperature fits every model."""
    centred = logits - logits.mean(-1, keepdim=True)
    return centred / centred.square().mean(-1, keepdim=True).sqrt().clamp(min=1e-12)
