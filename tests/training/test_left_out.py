"""Scores of left-out items, next to torch's own gradients."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from edgerec.training.examples import Lists
from edgerec.training.left_out import left_out_scores


def expected(
    past: torch.Tensor, candidates: torch.Tensor, users: Lists
) -> tuple[torch.Tensor, torch.Tensor]:
    """The same in torch, one user after the other."""
    vectors, scores = [], []
    for user, (begin, end) in enumerate(zip(users.ends[:-1], users.ends[1:], strict=True)):
        rows = past[users.items[begin:end]] * users.weights[begin:end, None]
        vector = rows.sum(0) + (0 if users.own is None else users.own[user])
        left = F.normalize(vector - rows, dim=1)
        scores.append((left * candidates[users.items[begin:end]]).sum(1))
        vectors.append(vector)
    return torch.stack(vectors), torch.cat(scores)


@pytest.mark.parametrize("with_own", [False, True])
@pytest.mark.parametrize("given", [None, torch.tensor([1.0, 2.0, 0.5, 1.0, 3.0, 1.0, 1.0])])
def test_values_and_gradients_are_those_of_torch(
    with_own: bool, given: torch.Tensor | None
) -> None:
    items, counts = torch.tensor([3, 1, 4, 1, 5, 3, 0]), torch.tensor([3, 2, 2])
    found = []
    for function in (expected, left_out_scores):
        generator = torch.Generator().manual_seed(0)
        past, candidates, own = (
            torch.randn(size, 4, generator=generator).requires_grad_() for size in (7, 7, 3)
        )
        users = Lists(items, counts, 0.7, own if with_own else None, given)
        vectors, scores = function(past, candidates, users)
        weights = torch.randn(3, 4, generator=generator), torch.randn(7, generator=generator)
        total = (vectors * weights[0]).sum() + (scores * weights[1]).sum()
        total.backward()  # type: ignore[no-untyped-call]
        gradients = (past.grad, candidates.grad, own.grad if with_own else torch.zeros(1))
        found.append([vectors.detach(), scores.detach(), *gradients])
    for ours, theirs in zip(*found, strict=True):
        assert ours is not None
        assert theirs is not None
        assert torch.allclose(ours, theirs, atol=1e-5)
