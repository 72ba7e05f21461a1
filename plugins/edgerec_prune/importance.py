r"""Importance: how much each number of a model matters.

With g the gradient of the ranking loss on a batch of training histories,

    gradient       Σ g           signed sum over batches
    abs_gradient   Σ |g|
    taylor         |w Σ g|       Molchanov et al., ICLR 2017
    fisher         Σ g²          Theis et al., 2018
    magnitude      |w|           no gradients, no data; Han et al., NeurIPS 2015
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgerec.plugin import F32, Context, DeviceModel

__all__ = ["Scores", "importance_of", "keep_largest"]

#: The number of users whose gradients are computed at a time.
_USERS = 256


@dataclass(frozen=True)
class Scores:
    """The importance of every number of the wide tables and of the constants, by name."""

    tables: dict[str, F32]
    constants: dict[str, F32]

    def columns(self) -> F32:
        """The importance of each dimension, summed over its columns in all tables."""
        total: F32 = np.sum([s.sum(axis=0) for s in self.tables.values()], axis=0)
        return total

    def rows(self) -> F32:
        """The importance of each item, summed over its rows in all tables."""
        total: F32 = np.sum([s.sum(axis=1) for s in self.tables.values()], axis=0)
        return total


def importance_of(model: DeviceModel, method: str, context: Context) -> Scores:
    """Compute the importance of every number.

    Raises:
        CompressError: the method needs gradients, and the context has no dataset.
    """
    wide = {n: t.decode() for n, t in model.tables.items() if t.shape[1] > 1}
    values = Scores(wide, dict(model.constants))
    if method == "magnitude":
        return _map(np.abs, values)
    sums = _accumulate(values, model, method, context)
    return _map(lambda w, g: np.abs(w * g), values, sums) if method == "taylor" else sums


def _map(rule: Callable[..., F32], *parts: Scores) -> Scores:
    """Apply a rule to every array of the same name."""
    return Scores(
        {name: rule(*(p.tables[name] for p in parts)) for name in parts[0].tables},
        {name: rule(*(p.constants[name] for p in parts)) for name in parts[0].constants},
    )


def _accumulate(values: Scores, model: DeviceModel, method: str, context: Context) -> Scores:
    """Sum gradients, their absolute values or their squares over one pass of training histories."""
    from edgerec.learn import TorchModel, batches, on_accelerator, ranking_loss, scale_of

    dataset = context.require_dataset("prune")
    with on_accelerator():
        torch_model, scale = TorchModel(model), scale_of(model)
        sums = _map(np.zeros_like, values)
        pairs = [(sums.tables[name], torch_model.tables[name]) for name in sums.tables]
        pairs += [(sums.constants[name], torch_model.constants[name]) for name in sums.constants]
        # There may be fewer batches: users of whom the model knows one item are skipped.
        total = -(-int((np.diff(dataset.train.indptr) > 1).sum()) // _USERS)
        for done, batch in enumerate(batches(model, dataset, size=_USERS, seed=context.seed)):
            context.progress(done, total, "gradients")
            torch_model.zero_grad()
            ranking_loss(torch_model, batch, scale).backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            for accumulated, parameter in pairs:
                if parameter.grad is not None:
                    gradient = parameter.grad.numpy(force=True)
                    if method == "abs_gradient":
                        gradient = np.abs(gradient)
                    elif method == "fisher":
                        gradient = np.square(gradient)
                    accumulated += gradient
        context.progress(total, total, "gradients")
    return sums


def keep_largest(scores: F32, share: float) -> NDArray[np.bool_]:
    """A mask of all but the lowest ``share`` of scores; among equal ones, the first are dropped."""
    flat = scores.reshape(-1)
    drop = np.argsort(flat, kind="stable")[: round(share * flat.size)]
    keep = np.ones(flat.size, bool)
    keep[drop] = False
    return keep.reshape(scores.shape)
