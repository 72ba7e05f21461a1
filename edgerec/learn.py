"""The torch side of the door: what compressors that learn import besides edgerec.plugin.

A compressor imports this inside ``compress``, never at module level, so that listing
plugins does not load torch.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from edgerec.data import Dataset
from edgerec.device_model import DeviceModel
from edgerec.quality import match_rows, pad_batch
from edgerec.store import load_model
from edgerec.twin import Twin

__all__ = ["Batch", "Twin", "batches", "load_model", "ranking_loss", "scale_of"]


@dataclass(frozen=True)
class Batch:
    """Training examples: a history each, and the item that was left out of it.

    Args:
        history: int64[B, H'], -1 for padding.
        weights: float[B, H'].
        target: int64[B].
    """

    history: Tensor
    weights: Tensor
    target: Tensor


def batches(
    model: DeviceModel, dataset: Dataset, *, size: int = 256, seed: int = 0
) -> Iterator[Batch]:
    """Go once through the users in random order, one item of each left out as the target.

    Users with fewer than two items that the model knows are passed over: nothing of their
    history would be left.
    """
    rng = np.random.default_rng(seed)
    to_model, _ = match_rows(model, dataset)
    lists = [to_model[rows] for rows in dataset.train.lists()]
    lists = [rows[rows >= 0] for rows in lists]
    order = rng.permutation([u for u, rows in enumerate(lists) if len(rows) > 1])
    for start in range(0, len(order), size):
        histories, targets = [], []
        for user in order[start : start + size]:
            rows = lists[user]
            place = int(rng.integers(len(rows)))
            histories.append(np.delete(rows, place))
            targets.append(int(rows[place]))
        history, weights = pad_batch(histories, model)
        yield Batch(
            torch.from_numpy(history.astype(np.int64)),
            torch.from_numpy(weights),
            torch.tensor(targets),
        )


def scale_of(model: DeviceModel) -> float:
    """Median length of the candidate rows; scores are divided by it to have one scale."""
    norms = np.linalg.norm(model.tables[model.head.table].decode(), axis=1)
    return max(float(np.median(norms[norms > 0], axis=0)) if (norms > 0).any() else 1.0, 1e-12)


def ranking_loss(twin: Twin, batch: Batch, scale: float, temperature: float = 0.1) -> Tensor:
    """Full softmax cross-entropy of the left-out items, over the whole catalogue.

    User vectors are scaled to unit length and rows by ``scale``, so that a temperature
    means the same for every model.
    """
    user = torch.nn.functional.normalize(twin(batch.history, batch.weights), dim=-1)
    logits = twin.logits(user) / (scale * temperature)
    seen = torch.zeros_like(logits, dtype=torch.bool)
    seen.scatter_(1, batch.history.clamp(min=0), batch.weights > 0)
    # Padding reads row 0; only what weighs something was seen.
    padded = (batch.weights == 0) & (batch.history <= 0)
    row_zero = ((batch.history == 0) & ~padded).any(1)
    seen[:, 0] = row_zero
    seen.scatter_(1, batch.target[:, None], False)
    logits = logits.masked_fill(seen, float("-inf"))
    return torch.nn.functional.cross_entropy(logits, batch.target)
