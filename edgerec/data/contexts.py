"""Contexts: what a data set knows about its users, coded as a model reads it.

Categories become labels, and a number its rank among the users' numbers (``model/context.py``). The
``hour`` and the ``weekday`` of an interaction are context as well (``data/moments.py``). When users
are ranked for, they are those of the first interaction that is held out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgerec.data.dataset import Dataset
from edgerec.data.feature_columns import Categories, Column, Vectors
from edgerec.data.features import Features
from edgerec.data.moments import MOMENTS, is_moment, moments_held_out, moments_of
from edgerec.errors import DataError, OptionError
from edgerec.model.codecs import F32
from edgerec.model.context import Context, Labels, Number
from edgerec.model.device_model import DeviceModel

__all__ = ["context_of", "contexts_of", "inputs_of", "known_of", "random_users", "user_columns"]

#: The most numbers between which ranks are interpolated.
_KNOTS = 33


def context_of(dataset: Dataset, names: Sequence[str]) -> Context:
    """Learn how to code features of users, and moments.

    Raises:
        OptionError: the data set has no such feature, it is neither categories nor numbers, no user
            has a label, or the time of interactions is not known.
    """
    features = dataset.user_features
    own = {} if features is None else features.columns
    moments = [name for name in names if name in MOMENTS and name not in own]
    given = user_columns(dataset, [name for name in names if name not in moments])
    parts: list[Number | Labels] = []
    for name in names:
        if name in moments:
            moments_of(dataset, dataset.train, name)  # fails now if the time is not known
            parts.append(Labels(name, MOMENTS[name]))
            continue
        column = given[name]
        if isinstance(column, Categories):
            if not len(column.labels):
                raise OptionError(f"context: {name}: no user of {dataset.name} has a label")
            parts.append(Labels(name, tuple(column.labels)))
        elif isinstance(column, Vectors) and _is_number(column):
            parts.append(_number(name, column.values[:, 0]))
        else:
            raise OptionError(
                f"context: {name}: expected categories or numbers, got {column.kind}; a device "
                "codes it by hand"
            )
    return Context(tuple(parts))


def contexts_of(
    context: Context, dataset: Dataset, users: NDArray[Any], *, lasting: bool = False
) -> F32:
    """The contexts of some users of a data set, float32[len(users), c].

    Args:
        context: what they consist of.
        dataset: the data set.
        users: rows of users.
        lasting: whether to leave out what changes from one interaction to the next.

    Raises:
        DataError: the data set lacks a feature, or knows a label that the context does not.
    """
    known = known_of(context, dataset, users, lasting=lasting)
    try:
        return np.stack([context.code(one) for one in known])
    except OptionError as error:
        raise DataError(f"{dataset.name}: {error}") from None


def known_of(
    context: Context, dataset: Dataset, users: NDArray[Any], *, lasting: bool = False
) -> list[dict[str, Any]]:
    """What a data set knows about some users, by name, as a device is told it.

    The arguments are those of ``contexts_of``.

    Raises:
        DataError: the data set lacks a feature, or has one of another kind.
    """
    try:
        columns = _columns(context, dataset, lasting)
    except OptionError as error:
        raise DataError(f"{dataset.name}: {error}") from None
    return [
        {name: _entry(column, user) for name, column in columns.items()} for user in users.tolist()
    ]


def inputs_of(
    model: DeviceModel, dataset: Dataset, users: NDArray[Any], user_vectors: F32 | None = None
) -> dict[str, F32]:
    """The inputs of a model besides the history, float32[len(users), …] by name.

    Args:
        model: the model.
        dataset: the users, with their features if the model has names for its context, and their
            own vectors if it reads these.
        users: rows of users.
        user_vectors: float32[U, d], other vectors of all users.

    Raises:
        DataError: the data set lacks a feature, or its vectors have another width.
    """
    found = {}
    vectors = dataset.user_vectors if user_vectors is None else user_vectors
    if vectors is not None and model.needs_user_vector:
        if vectors.shape[1] != model.width:
            raise DataError(
                f"{dataset.name}: user_vectors: the model reads vectors of width {model.width}, "
                f"got width {vectors.shape[1]}"
            )
        found["user_vector"] = vectors[users]
    if model.context is not None:
        found["context"] = contexts_of(model.context, dataset, users)
    return found


def random_users(context: Context, users: Sequence[str], rng: np.random.Generator) -> Features:
    """Users of whom everything that lasts is known, at random."""
    labels, numbers = {}, {}
    for part in context.parts:
        if isinstance(part, Number):
            numbers[part.name] = rng.choice(part.values, len(users))
        elif not is_moment(part):
            labels[part.name] = rng.choice(part.labels, len(users)).tolist()
    return Features.of(users, categories=labels, numbers=numbers, titles=users)


def user_columns(dataset: Dataset, names: Sequence[str]) -> dict[str, Column]:
    """The features of users of some names.

    Raises:
        OptionError: there is no such feature.
    """
    known: Mapping[str, Column] = (
        {} if dataset.user_features is None else dataset.user_features.columns
    )
    if unknown := [name for name in names if name not in known]:
        has = ", ".join(known) or "none; add them (--user-features, Dataset.with_user_features)"
        raise OptionError(
            f"context: the data set knows no {', '.join(unknown)} of its users; it has: {has}"
        )
    return {name: known[name] for name in names}


def _columns(context: Context, dataset: Dataset, lasting: bool) -> dict[str, Column]:
    """What a context consists of, by name.

    Raises:
        OptionError: the data set lacks it, or has it in another kind.
    """
    moments = [part.name for part in context.parts if is_moment(part)]
    columns = user_columns(dataset, [name for name in context.names if name not in moments])
    for part in context.parts:
        column = columns.get(part.name)
        if column is None:
            continue
        if isinstance(part, Number) != _is_number(column) or (
            isinstance(part, Labels) and not isinstance(column, Categories)
        ):
            expected = "numbers" if isinstance(part, Number) else "categories"
            raise OptionError(
                f"context: {part.name}: the model reads {expected}, and the data set has "
                f"{column.kind}"
            )
    if not lasting:
        columns |= {name: moments_held_out(dataset, name) for name in moments}
    return columns


def _is_number(column: Column) -> bool:
    return isinstance(column, Vectors) and column.values.shape[1] == 1


def _entry(column: Column, user: int) -> Any:
    """What a device would be told of a user."""
    if isinstance(column, Categories):
        places = column.places[column.offsets[user] : column.offsets[user + 1]]
        return [column.labels[int(place)] for place in places]
    assert isinstance(column, Vectors)  # noqa: S101  # for mypy
    return float(column.values[user, 0])


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
