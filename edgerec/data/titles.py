"""Titles of items, from a file of their own."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from edgerec.data.columns import find_column, ids
from edgerec.data.formats import Layout, open_sheet
from edgerec.errors import DataError

__all__ = ["read_titles"]


def read_titles(path: str | Path, item: str | None = None) -> dict[str, str]:
    """Read item titles.

    Args:
        path: a csv, tsv, Parquet or RecBole ``.item`` file. Titles are in the column ``title`` or
            ``name``, or otherwise in the first column whose name contains one of these words.
        item: the id column, if the file has it; by default, the one with a usual name.

    Raises:
        DataError: the file cannot be read or lacks one of the columns, or an item has two titles.
    """
    path = Path(path)
    known = (".csv", ".tsv", ".item", ".gz", ".zip", ".parquet")
    sheet = open_sheet(path, Layout(None if path.suffix.lower() in known else "tsv"))
    if sheet is None:
        raise DataError(f"{path}: no title column")
    given = {"item": item} if item in sheet.columns else {}
    column = find_column(sheet, "item", given, required=True)
    title = _title_column(sheet.columns)
    if title is None or column is None:
        raise DataError(
            f"{path}: no column named like 'title'; columns: {', '.join(sheet.columns)}"
        )
    year = "release_year" if "release_year" in sheet.columns else None
    frame = sheet.read([name for name in (column, title, year) if name])
    frame = frame.with_columns(ids(sheet, frame, column, "item").alias(column))
    titled = frame.filter(pl.col(title).is_not_null()).select(c for c in (column, title, year) if c)
    titles: dict[str, str] = {}
    for key, name, *released in titled.iter_rows():
        text = f"{name} ({released[0]})" if released and released[0] else str(name)
        if not text.strip():
            continue
        if titles.setdefault(key, text) != text:
            raise DataError(f"{path}: item {key!r} has two titles, {titles[key]!r} and {text!r}")
    return titles


def _title_column(columns: list[str]) -> str | None:
    lower = {column.lower(): column for column in reversed(columns)}
    title = lower.get("title") or lower.get("name")
    for word in ("title", "name"):
        title = title or next((column for column in columns if word in column.lower()), None)
    return title
