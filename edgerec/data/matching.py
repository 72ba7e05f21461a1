"""Match the rows of a model to the rows of a dataset, by item id."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgerec.data.dataset import Dataset
from edgerec.data.interactions import Interactions
from edgerec.errors import DataError, ModelError
from edgerec.model.codecs import F32
from edgerec.model.device_model import DeviceModel
from edgerec.model.items import Items

__all__ = [
    "check_one_vocabulary",
    "check_unseen",
    "known_histories",
    "known_history",
    "match_past",
    "match_rows",
    "rows_in",
]


def check_unseen(model: DeviceModel, dataset: Dataset) -> None:
    """Check that a model was trained on a dataset's training interactions, if the model knows it.

    Otherwise it may have been trained on what it is about to be judged by.

    Raises:
        DataError: it was trained on others.
    """
    trained = model.metadata.get("trained_on")
    if trained not in (None, dataset.train.digest):
        raise DataError(
            f"{dataset.name}: the model was trained on other interactions than those to train on "
            "here, and so perhaps on those to choose by; train it on this data set"
        )


def match_rows(model: DeviceModel, dataset: Dataset) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Rows of the dataset's items in the model (-1 if absent), and rows of the model's in it.

    Raises:
        DataError: the model has items that the dataset lacks.
    """
    if model.items is dataset.items:
        same = np.arange(len(dataset.items), dtype=np.int32)
        return same, same
    to_model = rows_in(model.items, dataset)
    to_dataset = np.full(len(model.items), -1, np.int32)
    kept = np.flatnonzero(to_model >= 0)
    to_dataset[to_model[kept]] = kept
    if len(kept) < len(model.items):
        lacking = np.flatnonzero(to_dataset < 0)
        raise DataError(
            f"{dataset.name}: lacks {len(lacking):,} of the model's {len(model.items):,} items, "
            f"such as {model.items.ids[int(lacking[0])]!r}; use the data that it was trained on"
        )
    return to_model, to_dataset


def check_one_vocabulary(model: DeviceModel) -> None:
    """Check that a model can be trained on histories, leaving out items as those to recommend.

    Raises:
        ModelError: past items are others than candidates.
    """
    if model.past is not None:
        raise ModelError(
            "past items are others than those to recommend, so the model cannot be trained on "
            "histories; use what needs no training, such as epochs=0"
        )


def match_past(model: DeviceModel, dataset: Dataset) -> NDArray[np.int32]:
    """Rows of the dataset's items among the model's past items, -1 if absent."""
    return rows_in(model.history_items, dataset)


def rows_in(items: Items, dataset: Dataset) -> NDArray[np.int32]:
    """Rows of the dataset's items among others, -1 if absent."""
    if items is dataset.items:
        return np.arange(len(items), dtype=np.int32)
    rows = items.rows
    return np.array([rows.get(item, -1) for item in dataset.items.ids], np.int32)


def known_histories(
    model: DeviceModel, dataset: Dataset
) -> list[tuple[NDArray[np.int32], F32 | None]]:
    """Each user's training items as rows of the model, without items that it does not have.

    Each comes with the weights of its items; none if all count alike.

    Raises:
        ModelError: past items are others than candidates.
    """
    check_one_vocabulary(model)
    to_model, _ = match_rows(model, dataset)
    return [known_history(to_model, dataset.train, user) for user in range(len(dataset.users))]


def known_history(
    to_model: NDArray[np.int32], interactions: Interactions, user: int
) -> tuple[NDArray[np.int32], F32 | None]:
    """One user's items as rows of the model, and their weights.

    Args:
        to_model: int32[n], the row in the model of each item of the dataset, -1 for none.
        interactions: the histories.
        user: the row of the user.
    """
    rows, weights = to_model[interactions.of(user)], interactions.weights_of(user)
    return rows[rows >= 0], None if weights is None else weights[rows >= 0]
