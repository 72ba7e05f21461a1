"""Masks as torch's own attention and other libraries write them: true and false, and no numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import edgerec
from edgerec.device.scorer import Scorer
from edgerec.errors import ModelError

N, D, H = 60, 8, 10
ROWS = np.random.default_rng(0).normal(size=(N, D))


class Masked(nn.Module):
    """Causal attention with two heads, with its mask put together from conditions."""

    def forward(self, items: Tensor, present: Tensor, row_number: Tensor, count: Tensor) -> Tensor:
        """The sum of what all places have found, [8]."""
        heads = items.reshape(H, 2, 4).transpose(0, 1)[None]
        heads = heads * torch.ones_like(heads).sum(1, keepdim=True) / 2
        known = (present != 0)[:, 0]
        before = torch.ones(H, H, dtype=torch.bool).tril()
        same = row_number == row_number.T
        mask = torch.logical_and(torch.logical_or(before, same), known)[None, None]
        both = torch.where(mask & known, 0.0, -1e9)
        found = nn.functional.scaled_dot_product_attention(heads, heads, heads, both)
        return (found[0].transpose(0, 1).reshape(H, D) * present).sum(0) / count[0, 0]


class Nested(nn.Module):
    """A part that cannot be lowered inside another module."""

    def __init__(self) -> None:
        super().__init__()
        self.parts = nn.ModuleList([nn.Identity(), Sorted()])

    def forward(self, items: Tensor, present: Tensor) -> Tensor:
        """The sum of sorted columns, [8]."""
        return self.parts[1](items * present).sum(0)


class Sorted(nn.Module):
    """Sorted rows."""

    def forward(self, x: Tensor) -> Tensor:
        """Each column on its own."""
        return torch.sort(x, 0).values


def test_conditions_become_a_mask(tmp_path: Path) -> None:
    module = Masked()
    model = edgerec.from_torch(module, {"items": ROWS}, range(N), history_length=H, repeats="keep")
    scorer = Scorer(edgerec.export(model, "onnx", tmp_path / "x.edgerec"), trust=True)
    past = [3, 5, 3, 8]
    rows = np.zeros((H, D), np.float32)
    rows[:4] = ROWS[past]
    present = torch.zeros(H, 1)
    present[:4] = 1
    numbers = torch.zeros(H, 1)
    numbers[:4, 0] = torch.tensor(past) + 1
    wanted = module(torch.from_numpy(rows), present, numbers, torch.full((1, 1), 4.0))
    assert np.allclose(scorer.user([str(row) for row in past]), wanted, atol=1e-5)


def test_the_module_inside_is_named() -> None:
    message = r"sort cannot be lowered, in parts\.1 \(Sorted\), in File .*test_masked_attention"
    with pytest.raises(ModelError, match=message):
        edgerec.from_torch(Nested(), {"items": ROWS}, range(N), history_length=H)
