"""Training examples of a DeviceModel: batches of histories, in two forms.

A ``Batch`` leaves one item out of each history, for encoders of any kind. ``Lists`` are whole
histories, for encoders that only add up rows: there, every item can be left out in turn at no
extra cost.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from edgerec.data.contexts import inputs_of
from edgerec.data.dataset import Dataset
from edgerec.data.matching import known_histories
from edgerec.model.codecs import F32
from edgerec.model.device_model import DeviceModel
from edgerec.model.history import history_weights, pad_histories

__all__ = ["Batch", "Lists", "batches", "lists", "predicts_next"]


@dataclass(frozen=True)
class Batch:
    """Training examples, each a history and the item that was left out of it.

    Args:
        history: int64[B, H'], -1 for padding.
        weights: float[B, H'].
        target: int64[B].
        given: float[B, H'], the part of ``weights`` that interactions have of their own; none if
            all count alike.
        own: what else the model reads, float[B, …] by name.
    """

    history: Tensor
    weights: Tensor
    target: Tensor
    given: Tensor | None = None
    own: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Lists:
    """Whole histories, one after the other, each with the oldest item first.

    Args:
        items: int64[edges], rows of the model.
        counts: int64[B], the number of items of each user.
        recency: ρ; the j-th most recent of a user's items weighs j^-ρ as a past item and
            j^(-ρ/3) as one to recommend.
        own: float[B, d], the users' own vectors; none in a model of histories alone.
        given: float[edges], how much each interaction counts; none if all count alike.
    """

    items: Tensor
    counts: Tensor
    recency: float = 0.0
    own: Tensor | None = None
    given: Tensor | None = None

    @functools.cached_property
    def owner(self) -> Tensor:
        """int64[edges], the position in the batch of each item's user."""
        return torch.repeat_interleave(self.counts)

    def within(self, sample: Tensor) -> tuple[Tensor, Lists, Tensor]:
        """What a step reads: the cost of it does not depend on the size of the catalogue.

        Returns:
            The different items of the histories and of a sample, int64[m], and both as positions
            in these.
        """
        every = torch.cat([self.items, sample])
        place = torch.zeros(1 + int(every.max()), dtype=torch.int64, device=every.device)
        place[every] = 1
        needed = torch.nonzero(place)[:, 0]
        place[needed] = torch.arange(len(needed), device=every.device)
        own, among = place[every].tensor_split([len(self.items)])
        return needed, dataclasses.replace(self, items=own), among

    @functools.cached_property
    def ends(self) -> Tensor:
        """int64[B + 1], where each user's items begin, and where the last one's end."""
        return F.pad(self.counts.cumsum(0), (1, 0))

    @functools.cached_property
    def age(self) -> Tensor:
        """float[edges], the age j of each item; a user's most recent one has age 1."""
        return (
            self.counts.cumsum(0)[self.owner]
            - torch.arange(len(self.items), device=self.items.device)
        ).float()

    @functools.cached_property
    def weights(self) -> Tensor:
        """float[edges], the weight of each item as a past item, not normalized by n.

        It is j^-ρ times the item's own weight.
        """
        weights = history_weights(self.age, 1.0, 0.0, self.recency)
        return weights if self.given is None else weights * self.given


def batches(
    model: DeviceModel,
    dataset: Dataset,
    *,
    size: int = 256,
    seed: int = 0,
    in_order: bool = False,
) -> Iterator[Batch]:
    """Go once through the users in random order, leaving one item of each out as the target.

    With ``in_order``, the items after it are left out as well. Users with fewer than two items that
    the model knows are skipped, because nothing would be left of their history.
    """
    rng = np.random.default_rng(seed)
    known = known_histories(model, dataset)
    order = rng.permutation([u for u, (rows, _) in enumerate(known) if len(rows) > 1])
    inputs = inputs_of(model, dataset, np.arange(len(known)))
    for start in range(0, len(order), size):
        left, own, targets = [], [], []
        users = order[start : start + size]
        for user in users:
            rows, given = known[user]
            first = int(in_order)  # nothing comes before the first item
            place = first + int(
                rng.integers(len(rows) - first)
                if given is None
                else rng.choice(
                    len(rows) - first, p=given[first:] / given[first:].sum(dtype=np.float64)
                )
            )
            rest = np.arange(place) if in_order else np.delete(np.arange(len(rows)), place)
            left.append(rows[rest])
            own.append(None if given is None else given[rest])
            targets.append(int(rows[place]))
        history, weights = pad_histories(left, model, own)
        yield Batch(
            torch.as_tensor(history.astype(np.int64)),
            torch.as_tensor(weights),
            torch.tensor(targets),
            _padded(own, history.shape[1]),
            {name: torch.as_tensor(rows[users]) for name, rows in inputs.items()},
        )


def lists(model: DeviceModel, dataset: Dataset, *, size: int = 400, seed: int = 0) -> list[Lists]:
    """Split the users of ``batches`` at random into near-equal batches of whole histories."""
    rng = np.random.default_rng(seed)
    known = [one for one in known_histories(model, dataset) if len(one[0]) > 1]
    if not known:
        return []
    parts = np.array_split(rng.permutation(len(known)), -(-len(known) // size))
    return [
        Lists(
            torch.as_tensor(np.concatenate([known[u][0] for u in part]).astype(np.int64)),
            torch.tensor([len(known[u][0]) for u in part]),
            model.recency,
            given=_given([known[u][1] for u in part]),
        )
        for part in parts
    ]


def predicts_next(model: DeviceModel) -> bool:
    """Whether the model was trained to predict items from those before them."""
    training = model.metadata.get("training")
    return isinstance(training, Mapping) and training.get("predict") == "next"


def _padded(weights: Sequence[F32 | None], length: int) -> Tensor | None:
    """Weights of the most recent items as float[B, length], 0 for padding."""
    found = torch.zeros(len(weights), length)
    for row, one in enumerate(weights):
        if one is None:
            return None
        found[row, : len(one)] = torch.as_tensor(one[-length:])
    return found


def _given(weights: Sequence[F32 | None]) -> Tensor | None:
    """The weights of several users, one after the other; none if all count alike."""
    each = [one for one in weights if one is not None]
    return torch.as_tensor(np.concatenate(each)) if each else None
