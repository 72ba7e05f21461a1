"""Fidelity: judging compressed models without interactions, by the lists of the uncompressed model.

Histories are drawn from the model's own items, and what is held out for each are the top 20 of the
uncompressed model. Recall@20 is then the share of these lists that is kept. It says nothing about
quality: how well the model knows people's tastes was not measured, only how little changes.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgerec.contracts.device import Device
from edgerec.data.contexts import inputs_of, lacking_inputs, random_users
from edgerec.data.dataset import Dataset
from edgerec.data.interactions import Interactions
from edgerec.data.interval import of_mean
from edgerec.data.quality import Quality
from edgerec.data.ranking import rank
from edgerec.device.figures import Figures
from edgerec.errors import OptionError
from edgerec.model.device_model import DeviceModel
from edgerec.model.history import merge_repeats
from edgerec.model.items import Items

__all__ = [
    "ENOUGH",
    "Kept",
    "Synthetic",
    "apart",
    "check_inputs",
    "judged_by",
    "kept_of",
    "learnable",
    "synthetic",
]

#: The overlap from which a smaller bundle is worth more than a closer one: 19 of 20 items.
ENOUGH = 0.95

#: The most histories that are drawn, and the most past items in one.
_HISTORIES, _LONGEST = 1000, 50

#: The length of the lists.
_TOP = 20


class Synthetic(Dataset):
    """Random histories of a model's items, for which the model's own lists are held out."""

    def on_valid(self) -> Dataset:
        """The same: nothing is learned from it, so nothing has to be kept for later."""
        return self


@dataclasses.dataclass(frozen=True)
class Kept:
    """What a compressed model keeps.

    Args:
        quality: NDCG@20 as a share of the uncompressed model's, or the overlap with its lists.
        overlap: the top-20 overlap with the uncompressed model.
        half: half of the 95 % interval of ``quality``.
        values: float64[B], what ``quality`` is a mean of.
    """

    quality: float
    overlap: float
    half: float
    values: NDArray[np.float64]


def kept_of(quality: Quality, before: Quality, dataset: Dataset) -> Kept:
    """What is kept, by what a data set can tell."""
    if isinstance(dataset, Synthetic):
        found = of_mean(quality.recalls)
        return Kept(found.value, found.value, found.half, quality.recalls)
    kept, shared = quality.kept(before)
    return Kept(kept, shared, quality.kept_interval(before).half, quality.ndcgs)


def learnable(dataset: Dataset) -> Dataset | None:
    """What compressors may learn from: what is not held out; nothing of random histories."""
    if isinstance(dataset, Synthetic):
        return None
    return dataset.without_held_out()


def apart(figures: Figures, dataset: Dataset) -> tuple[Figures, float | None]:
    """Figures without what was not measured, and the overlap, if random histories gave them."""
    if not isinstance(dataset, Synthetic) or figures.retention is None:
        return figures, None
    return figures.replace(retention=None), figures.retention.overlap


def check_inputs(model: DeviceModel, dataset: Dataset | None) -> None:
    """Refuse a model whose files cannot be judged by what is known of users.

    Raises:
        OptionError: it reads what the data set, or random histories, do not have.
        DataError: the data set knows too little of its users.
    """
    if lacking := lacking_inputs(model.inputs, model.context, dataset):
        hint = ""
        if lacking == ["user_vector"] and dataset is not None:
            hint = "pass the users' rows (--user-vectors, Dataset.with_user_vectors), or "
        who = "random histories do" if dataset is None else f"{dataset.name} does"
        raise OptionError(
            f"the model reads {' and '.join(lacking)}, which {who} not have, so its files cannot "
            f"be judged; {hint}use `edgerec.compress` and `edgerec.export`, which do not judge"
        )
    if dataset is not None:
        inputs_of(model, dataset, np.arange(1))  # fails now if it knows too little of its users


def judged_by(
    model: DeviceModel, dataset: Dataset | None, device: Device | None, users: int | None, seed: int
) -> Dataset:
    """The data set to judge by; without one, random histories.

    Args:
        model: the uncompressed model.
        dataset: with held-out interactions, or none.
        device: the device whose budget to keep, or none.
        users: the number of histories to draw if there is no data set, at most 1,000.
        seed: of those histories.

    Raises:
        OptionError: the model reads what no data set has, or there is no data set, and the budget
            limits quality.
    """
    check_inputs(model, dataset)
    if dataset is not None:
        return dataset
    if device is not None and device.budget.min_quality is not None:
        raise OptionError(
            f"{device.name}: budget.min_quality is {device.budget.min_quality:g}, but without a "
            "data set quality is not measured; drop that limit, or pass the data instead of "
            "--no-quality"
        )
    return synthetic(model, min(users or _HISTORIES, _HISTORIES), seed)


def synthetic(model: DeviceModel, count: int = _HISTORIES, seed: int = 0) -> Synthetic:
    """Draw histories of a model's items, and hold out the model's own lists for them.

    Of a model with popular items, the item of rank r is drawn with a chance in proportion to 1 / r
    (Zipf's law), and all others share the rest of the series alike; otherwise all items are alike.
    """
    rng, past = np.random.default_rng(seed), model.history_items
    chances = np.cumsum(_chances(model))
    longest = min(_LONGEST, model.history_length, len(past))
    drawn = []
    for length in rng.integers(1, longest + 1, count):
        rows = np.searchsorted(chances, rng.random(length) * chances[-1])
        drawn.append(rows[merge_repeats(rows)])
    # A data set has one catalogue: the items to recommend, and then past items that are none.
    items = past if model.past is None else Items.of(dict.fromkeys([*model.items.ids, *past.ids]))
    row_of = np.array([items.rows[item] for item in past.ids], np.int32)
    users = [f"history {number}" for number in range(count)]
    histories = _interactions([row_of[rows] for rows in drawn])
    features = None if model.context is None else random_users(model.context, users, rng)
    data = Synthetic("random histories", users, items, histories, user_features=features)
    # Their moments are random as well: one of each history, within a week.
    times = 1.7e9 + rng.uniform(0, 7 * 86400, count)
    moments = _interactions([np.zeros(1, np.int32)] * count, times)
    lists = rank(model, dataclasses.replace(data, test=moments), np.arange(count), _TOP)
    return dataclasses.replace(data, test=_interactions([own[own >= 0] for own in lists], times))


def _chances(model: DeviceModel) -> NDArray[np.float64]:
    """How likely each past item is drawn, up to a factor."""
    n, popular = len(model.history_items), model.popular
    if model.past is not None:
        return np.ones(n)
    series = 1 / np.arange(1, n + 1)
    chances = np.full(n, series[len(popular) :].sum() / max(n - len(popular), 1))
    chances[popular] = series[: len(popular)]
    return chances


def _interactions(
    lists: list[NDArray[Any]], times: NDArray[np.float64] | None = None
) -> Interactions:
    """Interactions of each user, with one time per user, if there is any."""
    users = np.repeat(np.arange(len(lists)), [len(one) for one in lists])
    each = None if times is None else times[users]
    return Interactions.of_pairs(users, np.concatenate(lists), len(lists), timestamps=each)
