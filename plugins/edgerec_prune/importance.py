r"""How much each number of a table matters.

With g the gradient of the ranking loss on a batch of training histories,

    gradient       Σ g           signed sum over batches
    abs_gradient   Σ |g|
    taylor         |w Σ g|       Molchanov et al., ICLR 2017
    fisher         Σ g²          Theis et al., 2018
    magnitude      |w|           no gradients, no data; Han et al., NeurIPS 2015
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from edgerec.plugin import F32, Context, DeviceModel

__all__ = ["above_threshold", "importance_of", "keep_largest", "sum_columns", "sum_rows"]


def importance_of(model: DeviceModel, method: str, context: Context) -> dict[str, F32]:
    """Importance of every number of the wide tables, float32[n, d] each.

    Raises:
        CompressError: a gradient method, and the context has no dataset.
    """
    wide = {n: t.decode() for n, t in model.tables.items() if t.shape[1] > 1}
    if method == "magnitude":
        return {name: np.abs(values) for name, values in wide.items()}
    sums = _accumulate(model, method, context)
    if method == "taylor":
        return {name: np.abs(values * sums[name]) for name, values in wide.items()}
    return {name: sums[name] for name in wide}


def _accumulate(model: DeviceModel, method: str, context: Context) -> dict[str, F32]:
    """Sum gradients (or their size, or square) over one pass of training histories."""
    from edgerec.learn import Twin, batches, ranking_loss, scale_of

    dataset = context.require_dataset("prune")
    twin, scale = Twin(model), scale_of(model)
    sums = {name: np.zeros(p.shape, np.float32) for name, p in twin.tables.items()}
    for number, batch in enumerate(batches(model, dataset, seed=context.seed), 1):
        twin.zero_grad()
        ranking_loss(twin, batch, scale).backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        for name, parameter in twin.tables.items():
            if parameter.grad is not None:
                gradient = parameter.grad.numpy()
                if method == "abs_gradient":
                    gradient = np.abs(gradient)
                elif method == "fisher":
                    gradient = np.square(gradient)
                sums[name] += gradient
        context.progress(number, number, "gradients")
    return sums


def keep_largest(scores: F32, share: float) -> NDArray[np.bool_]:
    """Mask of all but the lowest ``share`` of scores; of equal ones the first are dropped."""
    flat = scores.reshape(-1)
    drop = np.argsort(flat, kind="stable")[: round(share * flat.size)]
    keep = np.ones(flat.size, bool)
    keep[drop] = False
    return keep.reshape(scores.shape)


def above_threshold(scores: F32, threshold: float) -> NDArray[np.bool_]:
    """Mask of the scores that reach a threshold; signed, so a negative sum never does."""
    return np.asarray(scores >= threshold)


def sum_columns(scores: Mapping[str, F32]) -> F32:
    """Importance of each dimension: summed over its columns in all tables."""
    total: F32 = np.sum([s.sum(axis=0) for s in scores.values()], axis=0)
    return total


def sum_rows(scores: Mapping[str, F32]) -> F32:
    """Importance of each item: summed over its rows in all tables."""
    total: F32 = np.sum([s.sum(axis=1) for s in scores.values()], axis=0)
    return total
