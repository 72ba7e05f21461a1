r"""Scores of items that are left out of the history that they are scored for.

For an encoder that adds up rows, with w_i the weight of past item i, and p_i and q_i its past and
candidate rows,

    u = Σ_i w_i p_i + o,    v_i = u - w_i p_i,    s_i = v_i · q_i / |v_i|

where o is the user's own vector, if there is one. With g the gradient at s and G that at u,

    ∂v_i = g_i (q_i - s_i v̂_i) / |v_i|,    ∂u = G + Σ_i ∂v_i,
    ∂q_i = g_i v̂_i,                        ∂p_i = w_i (∂u - ∂v_i)

One function computes all of it, because the rows of a step would otherwise be read and written
dozens of times.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from edgerec.training.examples import Lists
from edgerec.training.graph import bag

__all__ = ["left_out_scores"]


def left_out_scores(past: Tensor, candidates: Tensor, users: Lists) -> tuple[Tensor, Tensor]:
    """User vectors u, float[B, d], and scores s, float[edges], of each item left out.

    Args:
        past: float[m, d], past rows p.
        candidates: float[m, d], candidate rows q.
        users: histories of these rows.
    """
    own = past.new_zeros(len(users.counts), past.shape[1]) if users.own is None else users.own
    found: tuple[Tensor, Tensor] = _LeftOut.apply(past, candidates, own, users)  # type: ignore[no-untyped-call]  # torch leaves apply untyped
    return found


class _LeftOut(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, past: Tensor, candidates: Tensor, own: Tensor, users: Lists
    ) -> tuple[Tensor, Tensor]:
        weights = users.weights[:, None]
        rows = F.embedding(users.items, past).mul_(weights)
        user = _sums(rows, users).add_(own)
        unit = F.embedding(users.owner, user).sub_(rows)
        length = unit.norm(dim=1, keepdim=True).clamp_(min=1e-12)
        unit.div_(length)
        targets = F.embedding(users.items, candidates)
        scores = torch.linalg.vecdot(unit, targets)
        ctx.users, ctx.size = users, len(past)
        ctx.save_for_backward(unit, length, targets, scores)
        return user, scores

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        unit, length, targets, scores = ctx.saved_tensors
        users, of_scores = ctx.users, gradients[1][:, None]
        of_left = torch.addcmul(targets, unit, scores[:, None], value=-1)
        of_left.mul_(of_scores / length)
        of_user = _sums(of_left, users).add_(gradients[0])
        of_rows = F.embedding(users.owner, of_user).sub_(of_left).mul_(users.weights[:, None])
        of_past = torch.zeros(ctx.size, unit.shape[1], dtype=unit.dtype, device=unit.device)
        of_candidates = torch.zeros_like(of_past).index_add_(0, users.items, unit * of_scores)
        return of_past.index_add_(0, users.items, of_rows), of_candidates, of_user, None


def _sums(rows: Tensor, users: Lists) -> Tensor:
    """Sums of each user's rows, float[B, d] of float[edges, d]."""
    every = torch.arange(len(rows), device=rows.device)
    return bag(rows, every, users.ends, torch.ones_like(rows[:, 0]))
