"""Formats: detect which one a file has, by its content first and then by its suffix."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from edgerec.data.columns import USUAL
from edgerec.data.content import Content, open_content
from edgerec.data.sheets import ParquetSheet, Sheet, TextSheet
from edgerec.errors import DataError

__all__ = ["FORMATS", "Layout", "open_sheet", "read_lists"]

#: The format of each suffix. A ``.txt`` is looked into, because anything is called that.
FORMATS: Mapping[str, str] = {
    "csv": ".csv",
    "tsv": ".tsv",
    "parquet": ".parquet",
    "inter": ".inter",
    "train.txt": ".txt",
}

#: Separators that people use, with their names.
_SEPARATORS = {"::": "'::'", "\t": "tabs", ";": "';'", "|": "'|'", ",": "commas"}


@dataclass(frozen=True)
class Layout:
    """What a user said about a file. What is none is detected.

    Args:
        format: one of ``FORMATS``.
        separator: what is between two fields.
        header: whether the first line has the names of the columns.
    """

    format: str | None = None
    separator: str | None = None
    header: bool | None = None


def open_sheet(path: Path, layout: Layout) -> Sheet | None:
    """Open a file of columns; none if it is a train.txt, which has none.

    Raises:
        DataError: the format is unknown, or is not that of the content.
    """
    content = open_content(path)
    kind = _format(content, layout)
    if kind not in ("csv", "tsv") and layout.separator is not None:
        raise DataError(f"{path}: separator: {kind} has its own; it applies to csv and tsv")
    if kind in ("parquet", "train.txt") and layout.header is not None:
        raise DataError(f"{path}: header: applies to csv, tsv and inter, and this is {kind}")
    if kind == "parquet":
        return ParquetSheet(content)
    if kind == "train.txt":
        return None
    if layout.separator == "":
        raise DataError("separator: expected at least one character")
    separator = layout.separator or ("," if kind == "csv" else "\t")
    if separator in ("\n", "\r", '"', "\x1f"):
        raise DataError(f"separator: {separator!r} cannot separate fields")
    if separator not in content.first_line:
        other = next((s for s in _SEPARATORS if s in content.first_line), None)
        if other is not None:
            raise DataError(
                f"{path}: its first line has no {_name(separator)}; it seems to be separated by "
                f"{_name(other)}: pass --format csv --separator '{_typed(other)}'"
            )
    sheet = TextSheet(content, separator, kind == "csv", layout.header)
    if kind == "inter":
        sheet.columns = _untyped(path, sheet.columns)
    return sheet


def _format(content: Content, layout: Layout) -> str:
    """The format of a file.

    Raises:
        DataError: it is unknown, or is not the given one.
    """
    path, given = content.path, layout.format
    if content.parquet:
        if given not in (None, "parquet"):
            raise DataError(f"{path}: is Parquet, not {given}")
        return "parquet"
    if given == "parquet" or (given is None and content.suffix == ".parquet"):
        raise DataError(f"{path}: cannot be read as Parquet: its content is text")
    if given is not None:
        return given
    if content.suffix in (".csv", ".tsv", ".inter"):
        return content.suffix[1:]
    if content.suffix == ".item":
        return "inter"
    if layout.separator is not None:
        return "csv"
    line = content.first_line
    separator = next((s for s in _SEPARATORS if s in line), None)
    names = {name.strip().lower() for name in line.split(separator)}
    has_header = all(names & {*USUAL[role]} for role in ("user", "item"))
    if content.suffix == ".txt" and separator is None and not has_header:
        return "train.txt"
    if separator in (",", "\t") and has_header:
        return "csv" if separator == "," else "tsv"
    advice = f" --separator '{_typed(separator or ' ')}'"
    raise DataError(
        f"{path}: unknown format; its first line is {line!r:.60}. Pass --format (format=...): "
        f"{', '.join(FORMATS)}. It may be --format csv{advice}"
        + ("" if has_header else " --no-header --user-column 1 --item-column 2")
    )


def read_lists(path: Path) -> pl.DataFrame:
    """Read a train.txt, whose lines have a user and that user's items, separated by spaces.

    Raises:
        DataError: it is something else.
    """
    content = open_content(path)
    users: list[str] = []
    items: list[str] = []
    for number, line in enumerate(content.text().split("\n"), 1):
        if wrong := next((s for s in ("\t", "::", ",", ";") if s in line), None):
            raise DataError(
                f"{path}: line {number} has {_name(wrong)}; a train.txt has a user and that "
                "user's items, separated by spaces. Pass --format csv or tsv for columns"
            )
        user, *rest = [word for word in line.split(" ") if word] or [""]
        users += [user] * len(rest)
        items += rest
    if not items:
        raise DataError(f"{path}: no line has a user and an item, separated by a space")
    return pl.DataFrame({"user": users, "item": items})


def _untyped(path: Path, columns: list[str]) -> list[str]:
    """The names of RecBole's ``name:type``.

    Raises:
        DataError: a column has whole histories.
    """
    listed = [name for name in columns if name.endswith(":token_seq") and "item" in name.lower()]
    if listed:
        raise DataError(
            f"{path}: column {listed[0]!r} has whole histories; edgerec reads one interaction per "
            "line, as in the .inter file before sequences were made of it"
        )
    return [name.partition(":")[0] for name in columns]


def _name(separator: str) -> str:
    return _SEPARATORS.get(separator, repr(separator))


def _typed(separator: str) -> str:
    """A separator as it is typed in a shell."""
    return "\\t" if separator == "\t" else separator
