"""Readers: interactions from files of several formats into a Dataset.

===========  ===================================================================
format       what it is
===========  ===================================================================
csv, tsv     a header, then one line per interaction
parquet      the same in columns
inter        RecBole's atomic file: tab-separated, with a header ``name:type``
train.txt    LightGCN's: each line has a user and that user's items; no header
===========  ===================================================================

Text may be compressed with gzip, or be the one file in a zip archive.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from edgerec.data.columns import USUAL, find_column, ids, numbers, times
from edgerec.data.dataset import Dataset
from edgerec.data.formats import FORMATS, Layout, open_sheet, read_lists
from edgerec.data.interactions import Interactions
from edgerec.data.side_edges import read_friends, read_triples
from edgerec.data.titles import read_titles
from edgerec.data.weighing import Weighing
from edgerec.errors import DataError
from edgerec.model.items import Items

__all__ = ["read_dataset"]


def read_dataset(
    path: str | Path,
    *,
    test: str | Path | None = None,
    format: str | None = None,
    separator: str | None = None,
    header: bool | None = None,
    columns: Mapping[str, str] | None = None,
    min_rating: float | None = None,
    event_weights: Mapping[str, float] | None = None,
    weigh_ratings: bool = False,
    titles: str | Path | None = None,
    triples: str | Path | None = None,
    friends: str | Path | None = None,
) -> Dataset:
    """Read interactions.

    Pairs that occur twice count once, as their latest; so ratings are filtered after that. Where
    events are weighed, a pair has the greatest of its weights, and that kind of event. What a test
    file repeats of the first file is dropped, because nothing that was seen is recommended.
    ``Dataset.notes`` says how many were.

    Args:
        path: the file; its content and its suffix determine the format unless ``format`` does.
        test: a second file of the same form, which is held out (a given split).
        format: csv, tsv, parquet, inter or train.txt.
        separator: what is between two fields of csv and tsv, such as ``::``.
        header: whether the first line has the names of the columns. Without a header, columns are
            named 1, 2 and so on. By default, a first line of numbers is refused.
        columns: names of the user, item, rating and timestamp columns that do not have one of
            the usual names; and of the event column, which is read only if it is named here or
            ``event_weights`` is set.
        min_rating: the minimum rating of interactions to keep.
        event_weights: how much an interaction of each kind of event counts, such as
            ``{"view": 1, "buy": 10}``, in training and on the device; 0 drops a kind.
        weigh_ratings: whether an interaction counts as much as its rating.
        titles: a csv, tsv or RecBole ``.item`` file with item ids and titles.
        triples: a file with facts about items, for families that read a knowledge graph
            (``side_edges.read_triples``).
        friends: a file with pairs of users, for families that read a social network
            (``side_edges.read_friends``).

    Raises:
        DataError: a file is missing, empty or not of its format, or a column is missing or has a
            wrong value; the message names file, column and line.
    """
    if format is not None and format not in FORMATS:
        raise DataError(f"format: expected one of {', '.join(FORMATS)}; got {format!r}")
    columns = columns or {}
    if unknown := set(columns) - set(USUAL):
        raise DataError(f"columns: unknown {', '.join(sorted(unknown))}; known: {', '.join(USUAL)}")
    if twice := sorted(name for name in columns.values() if [*columns.values()].count(name) > 1):
        raise DataError(f"columns: {twice[0]!r} is named for two roles")
    layout = Layout(format, separator, header)
    weighing = Weighing(event_weights or {}, weigh_ratings)
    kept = _read(Path(path), layout, columns, min_rating, weighing)
    held = None if test is None else _read(Path(test), layout, columns, min_rating, weighing)
    notes = dict(kept.notes)
    frames, names = [kept.frame], kept.names
    if held is not None:
        names = {role: _distinct(kept.names[role], held.names[role]) for role in names}
        frames = [kept.coded_by(names), held.coded_by(names)]
        frames[1], repeated = _unseen(Path(test or ""), frames[1], frames[0])
        for what, count in {**held.notes, "held-out pairs dropped as seen": repeated}.items():
            notes[what] = notes.get(what, 0) + count
    # Some names are left in dropped interactions alone.
    left = {
        role: np.unique(np.concatenate([frame[role].unique().to_numpy() for frame in frames]))
        for role in names
    }
    users, known = (names[role].gather(left[role]).to_list() for role in names)
    items = Items.of(known)
    if titles is not None:
        named = read_titles(titles, columns.get("item"))
        if not (found := sum(item in named for item in known)):
            raise DataError(f"{titles}: none of its items occurs in {path}")
        notes["items without a title"] = len(known) - found
        items = Items.of(known, [named.get(item, item) for item in known])
    side: dict[str, Any] = {}
    if triples is not None:
        side["triples"], dropped = read_triples(triples, items.rows)
        notes |= dropped
    if friends is not None:
        side["friends"], dropped = read_friends(
            friends, {user: row for row, user in enumerate(users)}
        )
        notes |= dropped
    with_events = [frame["event"] for frame in frames if "event" in frame.columns]
    kinds = pl.concat(with_events).unique().sort().to_list() if with_events else []
    kind_row = {kind: row for row, kind in enumerate(kinds)}

    def interactions(part: pl.DataFrame) -> Interactions:
        details = {
            f"{role}s": part[role].to_numpy()
            for role in ("rating", "timestamp", "weight")
            if role in part.columns
        }
        if "event" in part.columns:
            kind = part["event"].replace_strict(kind_row, return_dtype=pl.UInt8)
            details["events"] = kind.to_numpy()
        return Interactions.of_pairs(
            np.searchsorted(left["user"], part["user"].to_numpy()),
            np.searchsorted(left["item"], part["item"].to_numpy()),
            len(users),
            **details,
        )

    dataset = Dataset(
        Path(path).stem,
        users,
        items,
        interactions(frames[0]),
        notes={what: count for what, count in notes.items() if count},
        events=kinds,
        event_weights={kind: weight for kind, weight in weighing.events.items() if weight},
        **side,
    )
    return dataset if held is None else dataclasses.replace(dataset, test=interactions(frames[1]))


@dataclass(frozen=True)
class _Part:
    """The interactions of one file, in order of time, each pair once.

    Users and items are numbers of their ``names``, the distinct ids in ascending order: text would
    take most of the memory.
    """

    frame: pl.DataFrame
    names: Mapping[str, pl.Series]
    notes: Mapping[str, int]

    def coded_by(self, names: Mapping[str, pl.Series]) -> pl.DataFrame:
        """The frame with numbers of other names, which have all of its own."""
        return self.frame.with_columns(
            _codes(self.names[role], names[role]).gather(self.frame[role]).alias(role)
            for role in names
        )


def _read(
    path: Path,
    layout: Layout,
    columns: Mapping[str, str],
    min_rating: float | None,
    weighing: Weighing,
) -> _Part:
    """Read one file into a text column event, and number columns for the rest."""
    sheet = open_sheet(path, layout)
    if sheet is None:
        if columns or min_rating is not None or weighing != Weighing():
            raise DataError(f"{path}: train.txt has neither named columns, ratings nor events")
        lists, dropped = read_lists(path), 0
        frame, names = _coded(lambda role: lists[role])
    else:
        weighed = bool(weighing.events)
        roles = {
            role: find_column(sheet, role, columns, weighed if role == "event" else None)
            for role in USUAL
            if role != "event" or weighed or role in columns
        }
        found = {role: name for role, name in roles.items() if name is not None}
        if len({*found.values()}) < len(found):
            raise DataError(f"{path}: two roles have the same column; name them: {found}")
        raw = sheet.read(list(found.values()))
        if raw.is_empty():
            raise DataError(f"{path}: the file has no interactions")
        frame, names = _coded(lambda role: ids(sheet, raw, found[role], role))
        if "event" in found:
            frame = frame.with_columns(ids(sheet, raw, found["event"], "event").alias("event"))
        if "rating" in found:
            frame = frame.with_columns(numbers(sheet, raw, found["rating"]).alias("rating"))
        if "timestamp" in found:
            frame = frame.with_columns(times(sheet, raw, found["timestamp"]).alias("timestamp"))
        every = frame.height
        frame = weighing.apply(sheet, raw, found, frame)
        dropped = every - frame.height
    if "timestamp" in frame.columns:
        # Sorted here, where times are exact; as float64, ties then keep their order.
        frame = frame.sort("timestamp", maintain_order=True)
    # In one number, because ``unique`` of two columns needs several times the memory.
    pair = frame["user"].cast(pl.UInt64) * len(names["item"]) + frame["item"]
    merged = frame.filter(pair.is_last_distinct())
    if "event" in frame.columns and "weight" in frame.columns:
        # The latest position, with the kind of event that counts most.
        most = frame.sort("weight", maintain_order=True)
        most = most.unique(["user", "item"], keep="last").select("user", "item", "event", "weight")
        merged = merged.drop("event", "weight").join(
            most, on=["user", "item"], how="left", maintain_order="left"
        )
    notes = {
        "interactions dropped for their kind of event": dropped,
        "repeated pairs merged": frame.height - merged.height,
    }
    if min_rating is None:
        return _Part(merged, names, notes)
    if "rating" not in merged.columns:
        raise DataError(f"{path}: min_rating is set, but there is no rating column")
    liked = merged.filter(pl.col("rating") >= min_rating)
    if liked.is_empty():
        raise DataError(f"{path}: no interaction is rated {min_rating:g} or more")
    return _Part(
        liked, names, notes | {"pairs dropped for their rating": merged.height - liked.height}
    )


def _coded(read: Callable[[str], pl.Series]) -> tuple[pl.DataFrame, dict[str, pl.Series]]:
    """Columns user and item, read one by one, as numbers of their distinct ids, and these."""
    columns, names = {}, {}
    for role in ("user", "item"):
        text = read(role)
        names[role] = _distinct(text)
        columns[role] = _codes(text, names[role])
    return pl.DataFrame(columns), names


def _distinct(*ids: pl.Series) -> pl.Series:
    return pl.concat([part.unique() for part in ids]).unique().sort()


def _codes(ids: pl.Series, names: pl.Series) -> pl.Series:
    """The place of each id among names that have all of them, uint32."""
    places = pl.int_range(len(names), dtype=pl.UInt32, eager=True)
    return ids.replace_strict(names, places, return_dtype=pl.UInt32)


def _unseen(path: Path, held: pl.DataFrame, seen: pl.DataFrame) -> tuple[pl.DataFrame, int]:
    """Held-out pairs that do not occur in the other file, and how many do.

    Raises:
        DataError: the files have different columns, or none remains.
    """
    if other := {*seen.columns} ^ {*held.columns}:
        raise DataError(
            f"{path}: {', '.join(sorted(other))} is in only one of the two files; both need the "
            "same columns"
        )
    unseen = held.join(seen, on=["user", "item"], how="anti", maintain_order="left")
    if unseen.is_empty():
        raise DataError(f"{path}: every pair that it holds out is in the other file, too")
    return unseen, held.height - unseen.height
