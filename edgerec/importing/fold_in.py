r"""Fold users in: import a model with a row per user as one without these rows.

A device knows a history but no user row. For a model of user rows u and item rows y, the row is
predicted from the history by ridge regression on the pooled item rows,

    u ≈ z W,  z = n^{-1/2} Σ_{i in history} y_i,
    W = argmin Σ_u |z_u W - u|² + λ |W|²,

(Hoerl & Kennard, "Ridge Regression", Technometrics 1970). As z W is linear, y W becomes the table
of past items, and the encoder remains a sum. W is fitted on some users, and λ and the quality are
judged by the lists of others.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edgerec.data.dataset import Dataset
from edgerec.errors import DataError
from edgerec.importing.embeddings import from_embeddings, matrix
from edgerec.importing.ranking import best, overlap, parted, ridges
from edgerec.model.device_model import DeviceModel
from edgerec.model.integers import F32

__all__ = ["FoldIn", "fold_in"]


@dataclass(frozen=True)
class FoldIn:
    """A model without user rows, and how close it comes to the one with them.

    Args:
        model: reads histories alone.
        overlap: the share of the original's top 20 unseen items that it lists as well, over users
            that were not fitted on.
        before: the same if past items were pooled as they are.
        users: the number of users judged by.
    """

    model: DeviceModel
    overlap: float
    before: float
    users: int


def fold_in(
    dataset: Dataset,
    user_vectors: Any,
    items: Any,
    *,
    ids: Iterable[object] | None = None,
    users: Iterable[object] | None = None,
    head: Literal["dot", "cosine", "sigmoid"] = "dot",
    seed: int = 0,
    **settings: Any,
) -> FoldIn:
    """Predict user rows from histories, and return a model that reads histories alone.

    Args:
        dataset: the interactions that the original was trained on.
        user_vectors: float[U, d], the original's user rows.
        items: float[n, d], the original's item rows, which score users by their product.
        ids: an id per row of ``items``; in the order of the data set's by default.
        users: an id per row of ``user_vectors``; in the order of the data set's by default.
        head: how a user vector scores a row.
        seed: of the choice of users to judge by.
        settings: further arguments of ``from_embeddings``.

    Raises:
        DataError: a user of the rows is not in the data set, or too few users have a history.
        ModelError: the parts do not fit together.
    """
    names = list(dataset.items.ids if ids is None else map(str, ids))
    people = list(dataset.users if users is None else map(str, users))
    rows = matrix(items, "items", len(names))
    own = matrix(user_vectors, "user_vectors", len(people))
    histories = _histories(dataset, names, people)
    try:
        fitted, judged = parted(histories, seed)
    except DataError as error:
        raise DataError(f"{dataset.name}: {error}") from None
    fit, judge = (_pooled(rows, histories, part) for part in (fitted, judged))
    past = [histories[row] for row in judged]
    wanted = best(own[judged] @ rows.T, past)
    found = [
        (overlap(best(judge @ weight @ rows.T, past), wanted), weight)
        for weight in ridges(fit, own[fitted])
    ]
    share, weight = max(found, key=lambda one: one[0])
    known = set(names)
    popular = [i for i in (dataset.items.ids[int(row)] for row in dataset.popular) if i in known]
    model = from_embeddings(
        names,
        rows,
        rows @ weight,
        pooling="sqrt",
        head=head,
        **({"popular": popular, "metadata": {"imported": "fold-in"}} | settings),
    )
    before = overlap(best(judge @ rows.T, past), wanted)
    return FoldIn(model, share, before, len(judged))


def _histories(dataset: Dataset, names: list[str], people: list[str]) -> list[NDArray[np.int64]]:
    """The item rows of each user's training interactions, by user row.

    Raises:
        DataError: a user is not in the data set.
    """
    row_of = {name: row for row, name in enumerate(names)}
    place_of = {user: place for place, user in enumerate(dataset.users)}
    if missing := [user for user in people if user not in place_of]:
        raise DataError(f"{dataset.name}: has no user {missing[0]!r} of the user vectors")
    to_row = np.array([row_of.get(name, -1) for name in dataset.items.ids], np.int64)
    found = []
    for user in people:
        rows = to_row[dataset.train.of(place_of[user])]
        found.append(rows[rows >= 0])
    return found


def _pooled(rows: F32, histories: list[NDArray[np.int64]], users: NDArray[Any]) -> F32:
    """n^-1/2 times the sum of each user's rows, float32[users, d]."""
    return np.stack([rows[histories[u]].sum(0) / np.sqrt(len(histories[u])) for u in users])
