"""The normalizer of a sampled softmax, next to torch's own logsumexp."""

from __future__ import annotations

import pytest
import torch

from edgerec.training import normalizer
from edgerec.training.normalizer import NEVER, log_normalizer

USERS, SAMPLED, WIDTH = 23, 40, 6


def seen_pairs() -> tuple[torch.Tensor, torch.Tensor]:
    """A few items that users have: user 4 has all of them, and user 7 none."""
    generator = torch.Generator().manual_seed(1)
    seen = torch.rand(USERS, SAMPLED, generator=generator) < 0.2
    seen[4], seen[7] = True, False
    owner, place = torch.nonzero(seen).T
    return owner, place


def expected(
    user: torch.Tensor, rows: torch.Tensor, seen: tuple[torch.Tensor, torch.Tensor], tau: float
) -> torch.Tensor:
    """The same in torch, by way of all scores."""
    never = torch.zeros(len(user), len(rows), dtype=torch.bool)
    never[seen] = True
    return torch.logsumexp((user @ rows.T).masked_fill(never, NEVER) / tau, 1)


@pytest.mark.parametrize("block", [1, SAMPLED, 5 * SAMPLED + 3, 1 << 20])
@pytest.mark.parametrize("length", [1.0, 60.0])
def test_values_and_gradients_are_those_of_logsumexp(
    monkeypatch: pytest.MonkeyPatch, block: int, length: float
) -> None:
    monkeypatch.setattr(normalizer, "_SCORES", block)
    generator = torch.Generator().manual_seed(0)
    weight, seen = torch.randn(USERS, generator=generator), seen_pairs()
    found = []
    for function in (expected, log_normalizer):
        user = torch.randn(USERS, WIDTH, generator=torch.Generator().manual_seed(2))
        rows = length * torch.randn(SAMPLED, WIDTH, generator=torch.Generator().manual_seed(3))
        user.requires_grad_()
        rows.requires_grad_()
        values = function(user, rows, seen, 0.3)
        (values * weight).sum().backward()  # type: ignore[no-untyped-call]
        found.append([values.detach(), user.grad, rows.grad])
    for ours, theirs in zip(*found, strict=True):
        assert ours is not None
        assert theirs is not None
        assert torch.isfinite(theirs).all()
        assert torch.allclose(ours, theirs, rtol=1e-4, atol=1e-4 * length)


def test_a_loud_seen_item_does_not_drown_the_others() -> None:
    user, rows = torch.tensor([[1.0, 0.0]]), torch.tensor([[900.0, 0.0], [0.5, 0.0]])
    seen = torch.tensor([0]), torch.tensor([0])
    assert log_normalizer(user, rows, seen, 1.0).item() == pytest.approx(0.5)
