"""Data sets from memory: pairs of a user and an item, in arrays, frames, graphs or matrices."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from edgerec.data.interactions import Interactions
from edgerec.errors import DataError
from edgerec.model.history import merge_repeats
from edgerec.model.items import Items

__all__ = ["InMemory"]


class InMemory:
    """The ways to make a ``Dataset`` of what is in memory already."""

    def __init__(
        self,
        name: str,
        users: Sequence[str],
        items: Items,
        train: Interactions,
        *,
        notes: Mapping[str, int],
    ) -> None:
        raise NotImplementedError

    @classmethod
    def from_pairs(
        cls,
        users: Iterable[Any],
        items: Iterable[Any],
        timestamps: Iterable[Any] | None = None,
        ratings: Iterable[Any] | None = None,
        *,
        name: str = "pairs",
    ) -> Self:
        """Make a data set of pairs of a user id and an item id, in order of time.

        Args:
            users: a user id per interaction.
            items: an item id per interaction.
            timestamps: a number or a date per interaction, if they are in another order.
            ratings: a number per interaction.
            name: the name in reports.

        Raises:
            DataError: they differ in number, or a value is missing or not finite.
        """
        ids, catalogue, train, notes = _paired(users, items, timestamps, ratings)
        return cls(name, ids, catalogue, train, notes=notes)

    @classmethod
    def from_frame(
        cls,
        frame: Any,
        *,
        user: str = "user",
        item: str = "item",
        timestamp: str | None = None,
        rating: str | None = None,
        name: str = "frame",
    ) -> Self:
        """Make a data set of columns of a data frame (pandas, polars, or a mapping of arrays).

        Raises:
            DataError: as for ``from_pairs``, or a column is missing.
        """
        wanted = {"user": user, "item": item, "timestamp": timestamp, "rating": rating}
        columns: list[Any] = []
        for role, column in wanted.items():
            try:
                columns.append(None if column is None else np.asarray(frame[column]))
            except Exception as error:  # each library raises its own
                raise DataError(f"{role}: the frame has no column {column!r}") from error
        return cls.from_pairs(*columns, name=name)

    @classmethod
    def from_edge_index(
        cls,
        edge_index: Any,
        *,
        users: Sequence[Any] | None = None,
        items: Sequence[Any] | None = None,
        first_item: int = 0,
        timestamps: Iterable[Any] | None = None,
        name: str = "graph",
    ) -> Self:
        """Make a data set of the edges of a bipartite graph, as torch-geometric has them.

        Args:
            edge_index: int[2, E], users and items.
            users: an id per user node; its number by default.
            items: an id per item node; its number by default.
            first_item: the number of the first item node, if items are numbered after users.
            timestamps: a number per edge.
            name: the name in reports.

        Raises:
            DataError: it has another shape, or a node has no id.
        """
        pairs = np.asarray(edge_index)
        if pairs.ndim != 2 or len(pairs) != 2 or pairs.dtype.kind not in "iu":
            raise DataError(f"edge_index: expected int[2, E], got {pairs.dtype}{list(pairs.shape)}")
        columns: list[Any] = []
        for what, ids, nodes in (
            ("users", users, pairs[0]),
            ("items", items, pairs[1] - first_item),
        ):
            count = len(nodes) if ids is None else len(ids)
            if len(nodes) and (nodes.min() < 0 or (ids is not None and nodes.max() >= count)):
                raise DataError(f"edge_index: a node of {what} is outside 0 to {count - 1}")
            columns.append(nodes if ids is None else np.asarray(ids)[nodes])
        return cls.from_pairs(columns[0], columns[1], timestamps, name=name)

    @classmethod
    def from_csr(
        cls,
        matrix: Any,
        *,
        users: Sequence[Any] | None = None,
        items: Sequence[Any] | None = None,
        name: str = "matrix",
    ) -> Self:
        """Make a data set of a sparse matrix of users and items (scipy); its values are ratings.

        Args:
            matrix: a sparse matrix, as implicit and scikit-learn take it.
            users: an id per row; its number by default.
            items: an id per column; its number by default.
            name: the name in reports.

        Raises:
            DataError: as for ``from_pairs``.
        """
        found = matrix.tocoo()
        who, what = (
            places if ids is None else np.asarray(ids)[places]
            for ids, places in ((users, found.row), (items, found.col))
        )
        return cls.from_pairs(who, what, ratings=found.data, name=name)


def _paired(
    users: Iterable[Any],
    items: Iterable[Any],
    timestamps: Iterable[Any] | None = None,
    ratings: Iterable[Any] | None = None,
) -> tuple[list[str], Items, Interactions, dict[str, int]]:
    """User ids, the catalogue, the interactions, and how many repeated pairs were merged.

    Args:
        users: a user id per interaction, text or a number.
        items: an item id per interaction.
        timestamps: a number per interaction; without it, they are in order of time.
        ratings: a number per interaction.

    Raises:
        DataError: they differ in number, an id is missing, or a number is not finite.
    """
    who, what = _ids(users, "users"), _ids(items, "items")
    numbers = {
        name: _numbers(values, name)
        for name, values in (("timestamps", timestamps), ("ratings", ratings))
        if values is not None
    }
    for name, values in (("items", what), *numbers.items()):
        if len(values) != len(who):
            raise DataError(f"{name}: expected {len(who):,}, one per user, got {len(values):,}")
    if not len(who):
        raise DataError("users: expected at least one interaction, got none")
    if "timestamps" in numbers:
        order = np.argsort(numbers["timestamps"], kind="stable")
        who, what = who[order], what[order]
        numbers = {name: values[order] for name, values in numbers.items()}
    user_ids, user = np.unique(who, return_inverse=True)
    item_ids, item = np.unique(what, return_inverse=True)
    # Of equal pairs, the latest counts.
    keys = user.astype(np.int64) * len(item_ids) + item
    kept = merge_repeats(keys)
    details = {name: values[kept] for name, values in numbers.items()}
    interactions = Interactions.of_pairs(user[kept], item[kept], len(user_ids), **details)
    merged = len(keys) - len(kept)
    notes = {"repeated pairs merged": merged} if merged else {}
    return user_ids.tolist(), Items.of(item_ids.tolist()), interactions, notes


def _ids(values: Iterable[Any], name: str) -> NDArray[np.str_]:
    """Ids as text; numbers without a fraction lose it."""
    found = np.asarray(values if isinstance(values, np.ndarray) else list(values))
    if found.ndim != 1:
        raise DataError(f"{name}: expected one id per interaction, got the shape {[*found.shape]}")
    if found.dtype.kind == "f":
        if not np.isfinite(found).all() or np.any(found != np.floor(found)):
            raise DataError(f"{name}: expected ids, got a number that is NaN or has a fraction")
        found = found.astype(np.int64)
    if found.dtype.kind == "O":
        place = next((n for n, one in enumerate(found) if one is None or one != one), None)
        if place is not None:
            raise DataError(f"{name}[{place}]: expected an id, got {found[place]!r}")
    return found.astype(np.str_)


def _numbers(values: Iterable[Any], name: str) -> NDArray[np.float64]:
    try:
        given = np.asarray(values if isinstance(values, np.ndarray) else list(values))
        if given.dtype.kind == "M":
            given = given.astype("datetime64[us]").astype(np.int64) / 1e6
        found = given.astype(np.float64)
    except (TypeError, ValueError):
        raise DataError(f"{name}: expected numbers") from None
    if found.ndim != 1 or not np.isfinite(found).all():
        raise DataError(f"{name}: expected one finite number per interaction")
    return found
