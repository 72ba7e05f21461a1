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
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from edgerec.data.columns import USUAL, find_column, ids, numbers, times
from edgerec.data.dataset import Dataset
from edgerec.data.formats import FORMATS, Layout, open_sheet, read_lists
from edgerec.data.interactions import Interactions
from edgerec.data.titles import read_titles
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
    titles: str | Path | None = None,
) -> Dataset:
    """Read interactions.

    Pairs that occur twice count once, as their latest; so ratings are filtered after that. What a
    test file repeats of the first file is dropped, because nothing that was seen is recommended.
    ``Dataset.notes`` says how many were.

    Args:
        path: the file; its content and its suffix determine the format unless ``format`` does.
        test: a second file of the same form, which is held out (a given split).
        format: csv, tsv, parquet, inter or train.txt.
        separator: what is between two fields of csv and tsv, such as ``::``.
        header: whether the first line has the names of the columns. Without a header, columns are
            named 1, 2 and so on. By default, a first line of numbers is refused.
        columns: names of the user, item, rating and timestamp columns that do not have one of
            the usual names.
        min_rating: the minimum rating of interactions to keep.
        titles: a csv, tsv or RecBole ``.item`` file with item ids and titles.

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
    kept = _read(Path(path), layout, columns, min_rating)
    held = None if test is None else _read(Path(test), layout, columns, min_rating)
    notes = dict(kept.notes)
    frames = [kept.frame]
    if held is not None:
        frame, repeated = _unseen(Path(test or ""), held.frame, kept.frame)
        frames.append(frame)
        for what, count in {**held.notes, "held-out pairs dropped as seen": repeated}.items():
            notes[what] = notes.get(what, 0) + count
    both = pl.concat([frame.select("user", "item") for frame in frames])
    users = both["user"].unique().sort().to_list()
    known = both["item"].unique().sort().to_list()
    items = Items.of(known)
    if titles is not None:
        named = read_titles(titles, columns.get("item"))
        if not (found := sum(item in named for item in known)):
            raise DataError(f"{titles}: none of its items occurs in {path}")
        notes["items without a title"] = len(known) - found
        items = Items.of(known, [named.get(item, item) for item in known])
    user_row = {user: row for row, user in enumerate(users)}

    def interactions(part: pl.DataFrame) -> Interactions:
        return Interactions.of_pairs(
            part["user"].replace_strict(user_row, return_dtype=pl.Int32).to_numpy(),
            part["item"].replace_strict(items.rows, return_dtype=pl.Int32).to_numpy(),
            len(users),
            part["rating"].to_numpy() if "rating" in part.columns else None,
            part["timestamp"].to_numpy() if "timestamp" in part.columns else None,
        )

    notes = {what: count for what, count in notes.items() if count}
    dataset = Dataset(Path(path).stem, users, items, interactions(frames[0]), notes=notes)
    return dataset if held is None else dataclasses.replace(dataset, test=interactions(frames[1]))


@dataclass(frozen=True)
class _Part:
    """The interactions of one file, in order of time, each pair once."""

    frame: pl.DataFrame
    notes: Mapping[str, int]


def _read(
    path: Path, layout: Layout, columns: Mapping[str, str], min_rating: float | None
) -> _Part:
    """Read one file into text columns user and item, and number columns rating and timestamp."""
    sheet = open_sheet(path, layout)
    if sheet is None:
        if columns or min_rating is not None:
            raise DataError(f"{path}: train.txt has neither named columns nor ratings")
        frame = read_lists(path)
    else:
        roles = {role: find_column(sheet, role, columns) for role in USUAL}
        found = {role: name for role, name in roles.items() if name is not None}
        if len({*found.values()}) < len(found):
            raise DataError(f"{path}: two roles have the same column; name them: {found}")
        raw = sheet.read(list(found.values()))
        if raw.is_empty():
            raise DataError(f"{path}: the file has no interactions")
        frame = pl.DataFrame(
            {role: ids(sheet, raw, found[role], role) for role in ("user", "item")}
        )
        if "rating" in found:
            frame = frame.with_columns(numbers(sheet, raw, found["rating"]).alias("rating"))
        if "timestamp" in found:
            frame = frame.with_columns(times(sheet, raw, found["timestamp"]).alias("timestamp"))
    if "timestamp" in frame.columns:
        # Sorted here, where times are exact; as float64, ties then keep their order.
        frame = frame.sort("timestamp", maintain_order=True)
    merged = frame.unique(["user", "item"], keep="last", maintain_order=True)
    notes = {"repeated pairs merged": frame.height - merged.height}
    if min_rating is None:
        return _Part(merged, notes)
    if "rating" not in merged.columns:
        raise DataError(f"{path}: min_rating is set, but there is no rating column")
    liked = merged.filter(pl.col("rating") >= min_rating)
    if liked.is_empty():
        raise DataError(f"{path}: no interaction is rated {min_rating:g} or more")
    return _Part(liked, notes | {"pairs dropped for their rating": merged.height - liked.height})


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
