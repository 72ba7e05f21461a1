"""Contexts: what a data set knows about its users, coded as a model reads it.

Categories become labels, and a number its rank among the users' numbers (``model/context.py``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgerec.data.dataset import Dataset
from edgerec.data.feature_columns import Categories, Column, Vectors
from edgerec.data.features import Features
from edgerec.errors import DataError, OptionError
from edgerec.model.codecs import F32
from edgerec.model.context import Context, Labels, Number
from edgerec.model.device_model import DeviceModel

__all__ = ["context_of", "contexts_of", "inputs_of", "known_of", "random_users", "user_columns"]

#: The most numbers between which ranks are interpolated.
_KNOTS = 33


def context_of(dataset: Dataset, names: Sequence[str]) -> Context:
    """Learn how to code features of users.

    Raises:
        OptionError: the data set has no such feature, or it is neither categories nor numbers.
    """
    parts: list[Number | Labels] = []
    for name, column in user_columns(dataset, names).items():
        if isinstance(column, Categories):
            parts.append(Labels(name, tuple(column.labels)))
        elif isinstance(column, Vectors) and column.values.shape[1] == 1:
            parts.append(_number(name, column.values[:, 0]))
        else:
            raise OptionError(
                f"context: {name}: expected categories or numbers, got {column.kind}; a device "
                "codes it by hand"
            )
    return Context(tuple(parts))


def contexts_of(context: Context, dataset: Dataset, users: NDArray[Any]) -> F32:
    """The contexts of some users of a data set, float32[len(users), c].

    Raises:
        DataError: the data set lacks a feature, or knows a label that the context does not.
    """
    try:
        columns = user_columns(dataset, context.names)
        return np.stack([context.code(_known(columns, int(user))) for user in users.tolist()])
    except OptionError as error:
        raise DataError(f"{dataset.name}: {error}") from None


def known_of(context: Context, dataset: Dataset, user: int) -> dict[str, Any]:
    """What a data set knows about a user, by name, as a device is told it.

    Raises:
        DataError: the data set lacks a feature.
    """
    try:
        return _known(user_columns(dataset, context.names), user)
    except OptionError as error:
        raise DataError(f"{dataset.name}: {error}") from None


def inputs_of(
    model: DeviceModel, dataset: Dataset, users: NDArray[Any], user_vectors: F32 | None = None
) -> dict[str, F32]:
    """The inputs of a model besides the history, float32[len(users), …] by name.

    Args:
        model: the model.
        dataset: the users, with their features if the model has names for its context.
        users: rows of users.
        user_vectors: float32[U, d], the vectors of all users, for a model that reads them.

    Raises:
        DataError: the data set lacks a feature.
    """
    found = {} if user_vectors is None else {"user_vector": user_vectors[users]}
    if model.context is not None:
        found["context"] = contexts_of(model.context, dataset, users)
    return found


def random_users(context: Context, users: Sequence[str], rng: np.random.Generator) -> Features:
    """Users of whom everything is known, at random."""
    labels, numbers = {}, {}
    for part in context.parts:
        if isinstance(part, Labels):
            labels[part.name] = rng.choice(part.labels, len(users)).tolist()
        else:
            numbers[part.name] = rng.choice(part.values, len(users))
    return Features.of(users, categories=labels, numbers=numbers)


def user_columns(dataset: Dataset, names: Sequence[str]) -> dict[str, Column]:
    """The features of users of some names.

    Raises:
        OptionError: there is no such feature.
    """
    known: Mapping[str, Column] = (
        {} if dataset.user_features is None else dataset.user_features.columns
    )
    if unknown := [name for name in names if name not in known]:
        has = ", ".join(known) or "none; add them with Dataset.with_user_features"
        raise OptionError(
            f"context: the data set knows no {', '.join(unknown)} of its users; it has: {has}"
        )
    return {name: known[name] for name in names}


def _known(columns: Mapping[str, Column], user: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, column in columns.items():
        if isinstance(column, Categories):
            places = column.places[column.offsets[user] : column.offsets[user + 1]]
            found[name] = [column.labels[int(place)] for place in places]
        elif isinstance(column, Vectors):
            found[name] = float(column.values[user, 0])
    return found


def _number(name: str, values: NDArray[Any]) -> Number:
    """Ranks from -1 to 1 of at most so many numbers; equal ones share the middle of their ranks."""
    ordered = np.sort(values.astype(np.float64))
    distinct, first = np.unique(ordered, return_index=True)
    past = np.append(first[1:], len(ordered))
    ranks = (first + past) / len(ordered) - 1
    if len(distinct) > _KNOTS:
        # The least and the greatest are always among them.
        at = np.unique(np.searchsorted(ranks, np.linspace(ranks[0], ranks[-1], _KNOTS)))
        distinct, ranks = distinct[at], ranks[at]
    return Number(name, tuple(distinct.tolist()), tuple(ranks.tolist()))
