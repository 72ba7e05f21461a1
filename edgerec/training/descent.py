"""Descent: the loop that training and fine-tuning share, an epoch at a time."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edgerec.training.allocation import kept_allocations
from edgerec.training.checkpoint import load_state, save_state

__all__ = ["Descent"]

#: The share of the learning rate that is left at the end.
_LEAST = 0.02


class Descent:
    """Minimizes a loss for some epochs, resuming from a checkpoint if there is one.

    The learning rate rises linearly during ``warm_up`` and decays along a cosine.

    Args:
        module: the model, whose parameters checkpoints keep.
        optimizer: changes the parameters; the learning rates of its groups are the largest ones.
        epochs: the number of epochs.
        warm_up: the share of all steps in which the learning rate rises.
        checkpoint: a file for the state after each epoch, or none.
        settings: what has to be the same for a training to resume.

    Raises:
        OptionError: the checkpoint is that of a training with other settings.
        BundleError: the checkpoint is damaged.
    """

    def __init__(
        self,
        module: nn.Module,
        optimizer: torch.optim.Optimizer,
        epochs: int,
        *,
        warm_up: float = 0.0,
        checkpoint: str | Path | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        self.module, self.optimizer, self.epochs = module, optimizer, epochs
        self.warm_up, self.checkpoint, self.settings = warm_up, checkpoint, settings or {}
        self._rates = [group["lr"] for group in optimizer.param_groups]
        #: The number of epochs done, and the mean loss of the last one.
        self.done, self.loss = 0, 0.0
        if checkpoint is not None:
            self.done, self.loss = load_state(checkpoint, module, optimizer, self.settings)

    def epoch(
        self,
        losses: Iterable[tuple[Tensor, int]],
        after_step: Callable[[float], object] = lambda done: None,
    ) -> int:
        """Minimize the losses of one epoch, one step each; return the number of steps.

        Args:
            losses: the loss of each step, with the number of steps of the epoch.
            after_step: called with the share of all steps done, from 0 to 1.
        """
        found: list[Tensor] = []
        with kept_allocations():
            for loss, steps in losses:
                done = min(1.0, (self.done + len(found) / steps) / self.epochs)
                for group, rate in zip(self.optimizer.param_groups, self._rates, strict=True):
                    group["lr"] = rate * _learning_curve(done, self.warm_up)
                loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
                self.optimizer.step()
                self.optimizer.zero_grad()  # before the next loss needs the memory
                found.append(loss.detach())
                after_step(min(1.0, (self.done + len(found) / steps) / self.epochs))
        self.done += 1
        self.loss = float(torch.stack(found).mean()) if found else 0.0
        return len(found)

    def save(self, kept: Mapping[str, NDArray[np.generic]] | None = None) -> None:
        """Write the checkpoint, if there is one, with further arrays by name."""
        if self.checkpoint is not None:
            save_state(
                self.checkpoint,
                self.module,
                self.optimizer,
                self.settings,
                self.done,
                self.loss,
                kept,
            )


def _learning_curve(done: float, warm_up: float) -> float:
    """The share of the learning rate at a point of training, from 0 to 1."""
    rise = min(1.0, done / warm_up + _LEAST) if warm_up else 1.0
    return (_LEAST + (1 - _LEAST) * 0.5 * (1 + math.cos(math.pi * done))) * rise
