"""Read a history in a torch artefact, and leave its items out of the list.

Both find equal rows by sorting: among sorted rows, equal ones are neighbors. Only ``topk`` sorts in
every runtime, and not stably, so keys are made different.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from edgerec.model.device_model import DeviceModel
from edgerec.model.history import history_weights

__all__ = ["Past", "list_unseen", "read_history"]

#: The score of rows that are not in the list, less than any real score.
_LOWEST = -3.4e38


@dataclass(frozen=True)
class Past:
    """Past items as the encoder reads them: oldest first, then padding.

    Args:
        given: int64[H], the history as it was given, by which seen rows are known.
        history: int64[H], -1 for padding.
        weights: float[H], the weight of each past item, 0 for padding.
    """

    given: Tensor
    history: Tensor
    weights: Tensor


def read_history(model: DeviceModel, history: Tensor, weights: Tensor | None) -> Past:
    """Merge repeats if the model does so, move padding to the end, and weigh past items.

    Args:
        model: the model.
        history: int32[H], most recent last, negative where there is no item.
        weights: float[H], where the model declares them.
    """
    length, given = model.history_length, history.long()
    place = torch.arange(length)
    if model.repeats == "merge":
        # Of equal rows, the most recent comes first.
        order = torch.topk(given * length + place, length)[1]
        rows = given.index_select(0, order)
        before = torch.cat([torch.full((1,), -1), rows[:-1]])
        kept = torch.logical_and(rows >= 0, rows != before)
    else:
        order, rows, kept = place, given, given >= 0
    if not model.reads_order:
        read = torch.where(kept, rows, torch.full_like(rows, -1))
        return _weighed(model, given, read, kept, weights, order)
    # The oldest comes first. What is dropped follows, in any order.
    key = torch.where(kept, 2 * length - order, length - 1 - place)
    order = torch.where(kept, order, torch.zeros_like(order))
    sorted_key, moved = torch.topk(key, length)
    is_present = sorted_key > length
    rows = rows.index_select(0, moved)
    read = torch.where(is_present, rows, torch.full_like(rows, -1))
    return _weighed(model, given, read, is_present, weights, order.index_select(0, moved))


def _weighed(
    model: DeviceModel,
    given: Tensor,
    read: Tensor,
    is_present: Tensor,
    weights: Tensor | None,
    places: Tensor,
) -> Past:
    """Compute the weights of rows that were read from some places of the history."""
    present = is_present.float()
    count = present.sum(0, keepdim=True).clamp(min=1)
    computed = present
    if model.normalization or model.recency:
        age = (count - torch.arange(model.history_length).float()).clamp(min=1)
        computed = present * history_weights(age, count, model.normalization, model.recency)
    if weights is not None:
        computed = computed * weights.index_select(0, places)
    return Past(given, read, computed)


def list_unseen(rows: Tensor, scores: Tensor, given: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Leave seen rows out of a list.

    Args:
        rows: int64[k], different rows.
        scores: float[k].
        given: int64[H], rows of past items.

    Returns:
        The rows int64[k] that are not among past items, with the highest scores first; their scores
        float[k]; and bool[k], true for the places that are left over.
    """
    length, k = given.shape[0], rows.shape[0]
    both = torch.cat([given, rows])
    # A row comes right after the past items that it is equal to.
    place = torch.arange(length + k)
    order = torch.topk(both * (length + k) + place, length + k, largest=False)[1]
    both = both.index_select(0, order)
    low = torch.full((length,), _LOWEST)
    every = torch.cat([low, scores]).index_select(0, order)
    before = torch.cat([torch.full((1,), -1), both[:-1]])
    fresh = torch.where(both == before, torch.full_like(every, _LOWEST), every)
    best, places = torch.topk(fresh, k)
    return both.index_select(0, places), best, best <= _LOWEST
