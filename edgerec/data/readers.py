"""Readers: interactions from files of several formats into a Dataset.

===========  ===================================================================
format       what it is
===========  ===================================================================
csv, tsv     a header, then one line per interaction
parquet      the same in columns
inter        RecBole's atomic file: tab-separated, with a header ``name:type``
train.txt    LightGCN's: each line has a user and that user's items; no header
===========  ===================================================================

Columns are found by their usual names (``_USUAL``) unless they are given.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from edgerec.data.dataset import Dataset, Interactions
from edgerec.errors import DataError
from edgerec.model.items import Items

__all__ = ["read_dataset", "read_titles"]

_USUAL: Mapping[str, tuple[str, ...]] = {
    "user": ("user", "user_id", "userid", "uid", "reviewerid", "visitorid"),
    "item": ("item", "item_id", "itemid", "iid", "movie_id", "movieid", "asin", "product_id"),
    "rating": ("rating", "ratings", "score", "stars", "overall"),
    "timestamp": ("timestamp", "time", "ts", "unixreviewtime", "date"),
}

_FORMATS = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".parquet": "parquet",
    ".inter": "inter",
    ".txt": "train.txt",
}


def read_dataset(
    path: str | Path,
    *,
    test: str | Path | None = None,
    format: str | None = None,
    columns: Mapping[str, str] | None = None,
    min_rating: float | None = None,
    titles: str | Path | None = None,
) -> Dataset:
    """Read interactions.

    Args:
        path: the file; its suffix determines the format unless ``format`` does.
        test: a second file of the same form, which is held out (a given split).
        format: csv, tsv, parquet, inter or train.txt.
        columns: names of the user, item, rating and timestamp columns that do not have one of
            the usual names.
        min_rating: the minimum rating of interactions to keep.
        titles: a csv, tsv or RecBole ``.item`` file with item ids and titles.

    Raises:
        DataError: a file is missing, empty or not of its format, or a column is missing or has a
            wrong value; the message names file, column and line.
    """
    frame = _read(Path(path), format, columns or {}, min_rating)
    held = None if test is None else _read(Path(test), format, columns or {}, min_rating)
    if held is not None and (other := {*frame.columns} ^ {*held.columns}):
        raise DataError(
            f"{test}: {', '.join(sorted(other))} is in only one of the two files; both need the "
            "same columns"
        )
    both = frame if held is None else pl.concat([frame, held.select(frame.columns)])
    users = both["user"].unique().sort().to_list()
    ids = both["item"].unique().sort().to_list()
    items = Items.of(ids)
    if titles is not None:
        known = read_titles(titles, (columns or {}).get("item"))
        if known.keys().isdisjoint(ids):
            raise DataError(f"{titles}: none of its items occurs in {path}")
        items = Items.of(ids, [known.get(i, i) for i in ids])
    user_row = {user: row for row, user in enumerate(users)}

    def interactions(part: pl.DataFrame) -> Interactions:
        return Interactions.of_pairs(
            part["user"].replace_strict(user_row, return_dtype=pl.Int32).to_numpy(),
            part["item"].replace_strict(items.rows, return_dtype=pl.Int32).to_numpy(),
            len(users),
            part["rating"].to_numpy() if "rating" in part.columns else None,
            part["timestamp"].to_numpy() if "timestamp" in part.columns else None,
        )

    merged, train = _merge(frame)
    dataset = Dataset(Path(path).stem, users, items, interactions(train), merged=merged)
    if held is None:
        return dataset
    merged_test, test_frame = _merge(held)
    return dataclasses.replace(dataset, test=interactions(test_frame), merged=merged + merged_test)


def read_titles(path: str | Path, item: str | None = None) -> dict[str, str]:
    """Read item titles.

    Args:
        path: a csv, tsv or RecBole ``.item`` file. Titles are in the column ``title`` or ``name``,
            or otherwise in the first column whose name contains one of these words.
        item: the id column, if the file has it; by default, the one with a usual name.

    Raises:
        DataError: the file cannot be read or lacks one of the columns.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    frame = _frame(path, "inter" if suffix == ".item" else _FORMATS.get(suffix, "tsv"))
    item = item if item in frame.columns else _find(path, frame.columns, "item", {})
    lower = {column.lower(): column for column in reversed(frame.columns)}
    title = lower.get("title") or lower.get("name")
    title = title or next((c for c in frame.columns if "title" in c.lower()), None)
    title = title or next((c for c in frame.columns if "name" in c.lower()), None)
    if title is None:
        raise DataError(
            f"{path}: no column named like 'title'; columns: {', '.join(frame.columns)}"
        )
    year = "release_year" if "release_year" in frame.columns else None
    rows = frame.select([c for c in (item, title, year) if c]).iter_rows()
    return {
        row[0]: f"{row[1]} ({row[2]})" if year and row[2] else str(row[1]) for row in rows if row[1]
    }


def _read(
    path: Path, kind: str | None, columns: Mapping[str, str], min_rating: float | None
) -> pl.DataFrame:
    """Read one file into text columns user and item, float columns rating and timestamp."""
    kind = kind or _FORMATS.get(path.suffix.lower())
    if kind is None or kind not in _FORMATS.values():
        raise DataError(f"{path}: unknown format; specify one of {', '.join(_FORMATS.values())}")
    if unknown := set(columns) - set(_USUAL):
        raise DataError(
            f"columns: unknown {', '.join(sorted(unknown))}; known: {', '.join(_USUAL)}"
        )
    if twice := sorted(name for name in columns.values() if [*columns.values()].count(name) > 1):
        raise DataError(f"columns: {twice[0]!r} is named for two roles")
    if kind == "train.txt":
        if columns or min_rating is not None:
            raise DataError(f"{path}: train.txt has neither named columns nor ratings")
        return _read_lists(path)
    raw = _frame(path, kind)
    if raw.is_empty():
        raise DataError(f"{path}: the file has no interactions")
    frame = raw.select(
        pl.col(_find(path, raw.columns, role, columns)).alias(role) for role in ("user", "item")
    )
    for role in ("rating", "timestamp"):
        found = _find(path, raw.columns, role, columns, required=role in columns)
        if found is not None:
            frame = frame.with_columns(_numbers(path, raw[found], role).alias(role))
    for role in ("user", "item"):
        if missing := frame[role].null_count() + frame.filter(pl.col(role) == "").height:
            row = int(np.flatnonzero((frame[role].fill_null("") == "").to_numpy())[0])
            raise DataError(
                f"{path}: {missing} rows have no {role}; the first one is row {row + 1}"
            )
    if min_rating is not None:
        if "rating" not in frame.columns:
            raise DataError(f"{path}: min_rating is set, but there is no rating column")
        frame = frame.filter(pl.col("rating") >= min_rating)
        if frame.is_empty():
            raise DataError(f"{path}: no interaction is rated {min_rating:g} or more")
    return frame


def _frame(path: Path, kind: str) -> pl.DataFrame:
    try:
        if kind == "parquet":
            frame = pl.read_parquet(path)
            return frame.with_columns(pl.all().cast(pl.String))
        separator = "," if kind == "csv" else "\t"
        # Everything is read as text, so that ids keep leading zeros and errors are our own.
        frame = pl.read_csv(
            path, separator=separator, infer_schema=False, quote_char='"' if kind == "csv" else None
        )
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except pl.exceptions.NoDataError:
        raise DataError(f"{path}: the file is empty") from None
    except (pl.exceptions.PolarsError, OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as {kind}: {error}") from None
    if kind == "inter":
        frame = frame.rename({c: c.partition(":")[0] for c in frame.columns})
    return frame


def _find(
    path: Path,
    present: list[str],
    role: str,
    columns: Mapping[str, str],
    required: bool | None = None,
) -> Any:
    """Find the column of a role: the one that was named, or the first with a usual name."""
    if role in columns:
        if columns[role] in present:
            return columns[role]
        raise DataError(f"{path}: no column {columns[role]!r}; columns: {', '.join(present)}")
    lower = {name.lower(): name for name in present}
    for usual in _USUAL[role]:
        if usual in lower:
            return lower[usual]
    if required or (required is None and role in ("user", "item")):
        raise DataError(
            f"{path}: no {role} column; columns: {', '.join(present)}. Name it with "
            f"--{role}-column (columns={{{role!r}: ...}})"
        )
    return None


def _numbers(path: Path, column: pl.Series, role: str) -> pl.Series:
    values = column.cast(pl.Float64, strict=False)
    if role == "timestamp" and values.null_count() > column.null_count():
        values = _dates(column, values)
    bad = values.is_null() | ~values.is_finite()
    if bad.any():
        row = int(np.flatnonzero(bad.fill_null(True).to_numpy())[0])
        raise DataError(
            f"{path}: column {column.name!r}, row {row + 1}: expected a number, got "
            f"{column[row]!r}; fix or remove the row"
        )
    return values


def _dates(column: pl.Series, numbers: pl.Series) -> pl.Series:
    """Seconds since 1970 if the column contains ISO dates; otherwise ``numbers``."""
    for parse in (pl.Datetime, pl.Date):
        try:
            return column.str.strptime(parse, strict=True).dt.epoch("us").cast(pl.Float64) / 1e6
        except pl.exceptions.PolarsError:
            continue
    return numbers


def _read_lists(path: Path) -> pl.DataFrame:
    try:
        text = path.read_text("utf-8-sig")  # without a byte order mark
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as train.txt: {error}") from None
    users: list[str] = []
    items: list[str] = []
    for line in text.splitlines():
        user, *rest = line.split() or [""]
        users += [user] * len(rest)
        items += rest
    if not items:
        raise DataError(f"{path}: the file is empty")
    return pl.DataFrame({"user": users, "item": items})


def _merge(frame: pl.DataFrame) -> tuple[int, pl.DataFrame]:
    """Merge repeated pairs into their latest one; return how many were dropped, and the rest."""
    if "timestamp" in frame.columns:
        frame = frame.sort("timestamp", maintain_order=True)
    merged = frame.unique(["user", "item"], keep="last", maintain_order=True)
    return frame.height - merged.height, merged
