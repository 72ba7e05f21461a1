"""Side edges: facts about items, and friendships among users, from files of their own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgerec.data.content import open_content
from edgerec.errors import DataError

__all__ = ["read_friends", "read_triples"]


def read_triples(
    path: str | Path, rows: Mapping[str, int]
) -> tuple[NDArray[np.int32], dict[str, int]]:
    """Read facts, one per line: an item, a relation and an entity.

    Fields are separated by tabs, commas or spaces, as in the first line. A first line with the
    types of RecBole's ``.kg`` (``head_id:token``) is skipped.

    Args:
        path: the file.
        rows: the row of each item.

    Returns:
        Different facts, int32[m, 3], as item row, relation and entity in order of first occurrence;
        and how many lines were dropped, by the reason.

    Raises:
        DataError: a line has other than three fields, or no fact is about one of the items.
    """
    relations: dict[str, int] = {}
    entities: dict[str, int] = {}
    found, lines = [], 0
    for item, relation, entity in _lines(Path(path), ("an item", "a relation", "an entity")):
        lines += 1
        if item in rows:
            place = relations.setdefault(relation, len(relations))
            found.append((rows[item], place, entities.setdefault(entity, len(entities))))
    if not found:
        raise DataError(f"{path}: none of its {lines:,} facts is about an item of the data set")
    return _distinct(found), {"facts about other items dropped": lines - len(found)}


def read_friends(
    path: str | Path, rows: Mapping[str, int]
) -> tuple[NDArray[np.int32], dict[str, int]]:
    """Read friendships, one per line: two users, in either order.

    The format is that of ``read_triples``, with two fields.

    Args:
        path: the file.
        rows: the row of each user.

    Returns:
        int32[m, 2], the rows of both users, once in each direction; and how many lines were
        dropped, by the reason.

    Raises:
        DataError: a line has other than two fields, or no two friends are in the data set.
    """
    found, lines = [], 0
    for user, friend in _lines(Path(path), ("a user", "a friend")):
        lines += 1
        if user in rows and friend in rows and user != friend:
            found += [(rows[user], rows[friend]), (rows[friend], rows[user])]
    if not found:
        raise DataError(
            f"{path}: none of its {lines:,} friendships is of two users of the data set"
        )
    return _distinct(found), {"friendships of other users dropped": lines - len(found) // 2}


def _distinct(rows: Sequence[tuple[int, ...]]) -> NDArray[np.int32]:
    """Rows in ascending order, each once."""
    return np.unique(np.array(rows, np.int32), axis=0)


def _lines(path: Path, fields: tuple[str, ...]) -> Iterator[list[str]]:
    """The fields of each line that is not empty.

    Raises:
        DataError: a line has another number of fields.
    """
    lines = open_content(path).text().splitlines()
    first = next(iter(lines), "")
    separator = next((mark for mark in ("\t", ",") if mark in first), None)
    for number, line in enumerate(lines, 1):
        if not line.strip() or (number == 1 and ":token" in line):
            continue
        values = [value.strip() for value in line.split(separator)]
        if len(values) != len(fields) or not all(values):
            raise DataError(
                f"{path}: line {number}: expected {', '.join(fields)}, separated by tabs, commas "
                f"or spaces; got {line!r:.60}"
            )
        yield values
