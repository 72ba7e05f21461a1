"""Contexts: what a data set knows about its users, coded as a model reads it.

Categories become labels, and a number its rank among the users' numbers (``model/context.py``). The
``hour`` and the ``weekday`` of an interaction, in UTC, are context as well. When users are ranked
for, they are those of the first interaction that is held out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgerec.data.dataset import Dataset
from edgerec.data.feature_columns import Categories, Column, Vectors
from edgerec.data.features import Features
from edgerec.data.interactions import Interactions
from edgerec.errors import DataError, OptionError
from edgerec.model.codecs import F32
from edgerec.model.context import Context, Labels, Number
from edgerec.model.device_model import DeviceModel
from edgerec.model.items import Strings

__all__ = [
    "MOMENTS",
    "context_of",
    "contexts_of",
    "inputs_of",
    "is_moment",
    "known_of",
    "moments_of",
    "random_users",
    "user_columns",
]

#: What the time of an interaction says, with its labels.
MOMENTS: Mapping[str, tuple[str, ...]] = {
    "hour": tuple(map(str, range(24))),
    "weekday": ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"),
}

#: From so many on, timestamps are in so many parts of a second.
_UNITS = ((1e14, 1e6), (1e11, 1e3), (1e8, 1.0))

#: The most numbers between which ranks are interpolated.
_KNOTS = 33


def context_of(dataset: Dataset, names: Sequence[str]) -> Context:
    """Learn how to code features of users.

    Raises:
        OptionError: the data set has no such feature, it is neither categories nor numbers, or the
            time of interactions is not known.
    """
    parts: list[Number | Labels] = []
    given = user_columns(dataset, [name for name in names if not is_moment(name, dataset)])
    for name in names:
        if is_moment(name, dataset):
            moments_of(dataset, dataset.train, name)  # fails now if the time is not known
            parts.append(Labels(name, MOMENTS[name]))
            continue
        column = given[name]
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
    try:
        chosen = [one for one in context.names if not (lasting and is_moment(one, dataset))]
        columns = user_columns(dataset, chosen)
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
    known: dict[str, Column] = {}
    if dataset.user_features is not None:
        known |= dataset.user_features.columns
    for name in names:
        if is_moment(name, dataset):
            known[name] = _moments_held_out(dataset, name)
    if unknown := [name for name in names if name not in known]:
        has = ", ".join(known) or "none; add them with Dataset.with_user_features"
        raise OptionError(
            f"context: the data set knows no {', '.join(unknown)} of its users; it has: {has}"
        )
    return {name: known[name] for name in names}


def is_moment(name: str, dataset: Dataset) -> bool:
    """Whether a part of a context is that of an interaction, and not of a user."""
    features = dataset.user_features
    return name in MOMENTS and (features is None or name not in features.columns)


def moments_of(dataset: Dataset, part: Interactions, name: str) -> NDArray[np.int64]:
    """The place in ``MOMENTS[name]`` of each interaction, int64[len(part)].

    Raises:
        OptionError: the time of interactions is not known, or its unit is not.
    """
    times = part.timestamps
    if times is None or not len(times):
        raise OptionError(
            f"context: {name}: {dataset.name} does not say when interactions were; read their time "
            "(--timestamp-column)"
        )
    typical = float(np.median(times))
    divisor = next((parts for least, parts in _UNITS if typical >= least), None)
    if divisor is None:
        raise OptionError(
            f"context: {name}: the times of {dataset.name}, such as {typical:g}, are no seconds "
            "(or milliseconds, or microseconds) since 1970"
        )
    hours = np.floor(times / divisor / 3600).astype(np.int64)
    return hours % 24 if name == "hour" else (hours // 24 + 3) % 7  # 1970 began on a Thursday


def _moments_held_out(dataset: Dataset, name: str) -> Categories:
    """The moment of each user's first interaction that is held out.

    Raises:
        OptionError: nothing is held out, or the time of interactions is not known.
    """
    held = dataset.test
    if held is None:
        raise OptionError(
            f"context: {name}: is that of an interaction to predict, and none is held out; a step "
            "that trains cannot read it, so use steps that do not"
        )
    labels, places = MOMENTS[name], moments_of(dataset, held, name)
    some = np.diff(held.indptr) > 0
    first = places[held.indptr[:-1][some]]
    offsets = np.concatenate([[0], np.cumsum(some)]).astype(np.int64)
    return Categories(Strings.of(labels), offsets, first.astype(np.int32))


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
