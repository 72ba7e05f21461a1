"""Contexts: what a data set knows about its users, coded as a model reads it.

Categories become labels, and a number its rank among the users' numbers (``model/context.py``). The
``hour`` and the ``weekday`` of an interaction are context as well (``data/moments.py``). For
ranking, they are those of each user's first held-out interaction.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeGuard

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

__all__ = [
    "context_of",
    "contexts_of",
    "inputs_of",
    "known_of",
    "lacking_inputs",
    "lasting_of",
    "random_users",
    "user_columns",
    "user_vectors_of",
]

#: The most numbers between which ranks are interpolated.
_KNOTS = 33


def context_of(dataset: Dataset, names: Sequence[str]) -> Context:
    """Learn how to code features of users, and moments.

    Raises:
        OptionError: the data set has no such feature, it is neither categories nor numbers, no user
            has a label, or the time of interactions is not known.
    """
    given = user_columns(dataset, lasting_of(dataset, names))
    parts: list[Number | Labels] = []
    for name in names:
        column = given.get(name)
        if column is None:
            moments_of(dataset, dataset.train, name)  # fails now if the time is not known
            parts.append(Labels(name, MOMENTS[name]))
        elif isinstance(column, Categories):
            if not len(column.labels):
                raise OptionError(f"context: {name}: no user of {dataset.name} has a label")
            parts.append(Labels(name, tuple(column.labels)))
        elif _is_number(column):
            parts.append(_number(name, column.values[:, 0]))
        else:
            raise OptionError(
                f"context: {name}: expected categories or numbers, got {column.kind}; a device "
                "can code nothing else"
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
    width = model.inputs.get("user_vector", 0)
    vectors = user_vectors_of(dataset, width, "the model", user_vectors)
    if vectors is not None:
        found["user_vector"] = vectors[users]
    if model.context is not None:
        found["context"] = contexts_of(model.context, dataset, users)
    return found


def user_vectors_of(dataset: Dataset, width: int, who: str, given: F32 | None = None) -> F32 | None:
    """The vectors of all users for a model that reads some of a width; none if it reads none.

    Args:
        dataset: the users, who may have no vectors.
        width: the width that is read, 0 for none.
        who: what reads them, for messages.
        given: float32[U, d], other vectors than those of the data set.

    Raises:
        DataError: they have another width.
    """
    if not width:
        return None
    vectors = dataset.user_vectors if given is None else given
    if vectors is not None and vectors.shape[1] != width:
        raise DataError(
            f"{dataset.name}: user_vectors: {who} reads vectors of width {width}, got width "
            f"{vectors.shape[1]}"
        )
    return vectors


def lacking_inputs(
    inputs: Iterable[str], context: Context | None, dataset: Dataset | None
) -> list[str]:
    """The inputs that a model reads and a data set, or none, has nothing for.

    Histories have ``weights``. A ``context`` needs names, by which users are known.
    """
    known = {"weights"} if context is None else {"weights", "context"}
    if dataset is not None and dataset.user_vectors is not None:
        known.add("user_vector")
    return [name for name in inputs if name not in known]


def random_users(context: Context, users: Sequence[str], rng: np.random.Generator) -> Features:
    """Random users, with an entry for everything but moments."""
    labels, numbers = {}, {}
    for part in context.parts:
        if isinstance(part, Number):
            numbers[part.name] = rng.choice(part.values, len(users))
        elif not is_moment(part):
            labels[part.name] = rng.choice(part.labels, len(users)).tolist()
    # There are titles, because there may be moments alone, and no column.
    return Features.of(users, categories=labels, numbers=numbers, titles=users)


def lasting_of(dataset: Dataset, names: Sequence[str]) -> list[str]:
    """The names that are those of users and not of moments; a feature of users comes first."""
    features = dataset.user_features
    own = {} if features is None else features.columns
    return [name for name in names if name not in MOMENTS or name in own]


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
        is_number = isinstance(part, Number)
        if not (_is_number(column) if is_number else isinstance(column, Categories)):
            expected = "numbers" if is_number else "categories"
            raise OptionError(
                f"context: {part.name}: the model reads {expected}, and the data set has "
                f"{column.kind}"
            )
    if not lasting:
        columns |= {name: moments_held_out(dataset, name) for name in moments}
    return columns


def _is_number(column: Column) -> TypeGuard[Vectors]:
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
