r"""The normalizer of a sampled softmax, over the sampled items that a user has not seen.

    Z_b = log Σ_{j ∈ S \ N(b)} exp(û_b · q_j / τ)

Its gradient is a product of matrices with the probabilities π_bj = exp(û_b · q_j / τ − Z_b):

    ∂Z_b / ∂û_b = Σ_j π_bj q_j / τ,    ∂Z_b / ∂q_j = π_bj û_b / τ

Scores are computed for a few users at a time, so that they stay in the cache, and again in the
backward pass instead of being kept (as in FlashAttention: Dao et al., NeurIPS 2022). The memory
needed does not depend on |S| times the number of users.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

__all__ = ["NEVER", "log_normalizer"]

#: Stands for minus infinity where a softmax must stay differentiable.
NEVER = -1e4

#: The number of scores computed at a time.
_SCORES = 1 << 20


def log_normalizer(
    user: Tensor, rows: Tensor, seen: tuple[Tensor, Tensor], temperature: float
) -> Tensor:
    """Z, float[B].

    Args:
        user: float[B, d], unit user vectors.
        rows: float[|S|, d], the sampled candidate rows.
        seen: pairs of a user's position in the batch and an item's position in the sample,
            int64[m] each, with the users in ascending order.
        temperature: τ.
    """
    found: Tensor = _LogNormalizer.apply(user / temperature, rows, *seen, NEVER / temperature)  # type: ignore[no-untyped-call]  # torch leaves apply untyped
    return found


class _LogNormalizer(torch.autograd.Function):
    """Z of user vectors that are divided by τ already; ``never`` is a seen item's score."""

    @staticmethod
    def forward(
        ctx: Any, user: Tensor, rows: Tensor, owner: Tensor, place: Tensor, never: float
    ) -> Tensor:
        found = user.new_empty(len(user))
        for at, seen in _blocks(len(user), len(rows), owner, place):
            scores = (user[at] @ rows.T).view(-1).index_fill_(0, seen, never).view(-1, len(rows))
            most = scores.amax(1)
            found[at] = scores.sub_(most[:, None]).exp_().sum(1).log_().add_(most)
        ctx.save_for_backward(user, rows, owner, place, found)
        return found

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        user, rows, owner, place, found = ctx.saved_tensors
        gradient = gradients[0][:, None]
        of_user, of_rows = torch.empty_like(user), torch.zeros_like(rows)
        for at, seen in _blocks(len(user), len(rows), owner, place):
            share = (user[at] @ rows.T).sub_(found[at, None]).exp_()
            share.view(-1).index_fill_(0, seen, 0.0)
            torch.mm(share, rows, out=of_user[at])
            of_rows.addmm_(share.T, user[at] * gradient[at])
        return of_user.mul_(gradient), of_rows, None, None, None


def _blocks(
    users: int, sampled: int, owner: Tensor, place: Tensor
) -> Iterator[tuple[slice, Tensor]]:
    """Blocks of users, each with the positions of its seen items in its flattened scores."""
    step = max(1, _SCORES // sampled)
    starts = torch.arange(0, users, step, device=owner.device)
    ends = torch.searchsorted(owner, torch.cat([starts, starts.new_tensor([users])])).tolist()
    for number, start in enumerate(range(0, users, step)):
        within = slice(ends[number], ends[number + 1])
        yield slice(start, start + step), (owner[within] - start) * sampled + place[within]
