"""Columns: which column has which role, and ids, numbers and times out of them."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np
import polars as pl

from edgerec.data.sheets import Sheet
from edgerec.errors import DataError

__all__ = ["USUAL", "find_column", "ids", "numbers", "refuse", "times"]

#: The usual names of the column of each role, in lower case, best first.
USUAL: Mapping[str, tuple[str, ...]] = {
    "user": ("user", "user_id", "userid", "uid", "reviewerid", "visitorid"),
    "item": ("item", "item_id", "itemid", "iid", "movie_id", "movieid", "asin", "product_id"),
    "rating": ("rating", "ratings", "score", "stars", "overall"),
    "timestamp": ("timestamp", "time", "ts", "unixreviewtime", "date"),
    "event": ("event", "event_type", "behavior", "behaviour", "action"),
}

#: Roles that every file has to have.
_REQUIRED = ("user", "item")

#: The largest float32; ratings are stored as such.
_MOST = float(np.finfo(np.float32).max)

#: Integers beyond it are not exact as float64.
_EXACT = 2**53

#: A cell that is several numbers, or anything in brackets; and one that is several words.
_NUMBERS = r"^-?\d+(\s*[,;| ]\s*-?\d+)+$"
_BRACKETS = r"^(\[.*\]|\{.*\}|\(.*[,;].*\))$"
_WORDS = r"^[^\s,;|]+([,;|][^\s,;|]+)+$"

#: How tools write a missing value.
_MISSING = ("nan", "null", "none", "na", "n/a", "<na>", "\\n")

#: The time of ISO 8601, of which seconds, fraction and zone may be left out.
_ISO = (
    r"^(?P<day>\d{4}-\d\d-\d\d)(?:[T ](?P<hour>\d\d):(?P<minute>\d\d)"
    r"(?::(?P<second>\d\d)(?:[.,](?P<fraction>\d{1,9}))?)?"
    r"\s?(?P<zone>Z|UTC|[+-]\d\d:?\d\d)?)?$"
)

#: Forms of dates that are refused, because a day may be a month, with their names.
_REFUSED_DATES = {
    r"^\d{1,2}/\d{1,2}/\d{2,4}": "D/M/Y or M/D/Y",
    r"^\d{1,2}\.\d{1,2}\.\d{2,4}": "D.M.Y",
    r"^\d{4}/\d{1,2}/\d{1,2}": "Y/M/D",
    r"^\d{1,2}-\d{1,2}-\d{4}": "D-M-Y or M-D-Y",
    r"^\d{2}-\d{1,2}-\d{1,2}": "YY-MM-DD or DD-MM-YY",
    r"^\d{4}-\d{1,2}-\d{1,2}": "Y-M-D without leading zeros, or no day of the calendar",
    r"[A-Za-z]{3,}": "a date with the name of a month or of a day",
}


def find_column(
    sheet: Sheet, role: str, given: Mapping[str, str], required: bool | None = None
) -> str | None:
    """The column of a role: the one that was named, or the first with a usual name.

    Raises:
        DataError: it is missing, or there are several that it could be.
    """
    columns = sheet.columns
    if role in given:
        name = given[role]
        if columns.count(name) > 1:
            raise DataError(f"{sheet.path}: {columns.count(name)} columns are named {name!r}")
        if name in columns:
            return name
        raise DataError(f"{sheet.path}: no column {name!r}; columns: {', '.join(columns)}")
    others = {name for other, name in given.items() if other != role}
    found = [
        [name for name in columns if name.lower() == usual and name not in others]
        for usual in USUAL[role]
    ]
    found = [names for names in found if names]
    required = role in _REQUIRED if required is None else required
    if found and (len(found[0]) > 1 or (required and len(found) > 1)):
        names = ", ".join(repr(name) for names in found for name in names)
        raise DataError(
            f"{sheet.path}: the {role} could be in several columns: {names}. Name one with "
            f"--{role}-column (columns={{{role!r}: ...}})"
        )
    if found:
        return found[0][0]
    if required:
        raise DataError(
            f"{sheet.path}: no {role} column; columns: {', '.join(columns)}. Name it with "
            f"--{role}-column (columns={{{role!r}: ...}}); if the first line is data, pass "
            "--no-header, too"
        )
    return None


def ids(sheet: Sheet, frame: pl.DataFrame, name: str, role: str) -> pl.Series:
    """Ids as text, without spaces around them; integers that were stored as floats lose ``.0``.

    Raises:
        DataError: a cell is empty, or holds a list, or numbers are not integers.
    """
    column = frame[name]
    if column.dtype.is_float():
        column = _whole(sheet, frame, column, role)
    elif not (column.dtype.is_integer() or column.dtype in (pl.String, pl.Categorical, pl.Enum)):
        raise DataError(
            f"{sheet.path}: column {name!r} of the {role} has type {column.dtype}; expected text "
            "or integers"
        )
    text = column.cast(pl.String).str.strip_chars()
    empty = text.is_null() | (text == "")
    if missing := int(empty.sum()):
        raise DataError(
            f"{sheet.path}: {missing:,} of {len(text):,} rows have no {role}; the first is "
            f"{_where(sheet, frame, empty)}"
        )
    number = text.str.contains(r"^-?\d+(\.0+)?$")
    if not number.all():
        absent = text.str.to_lowercase().is_in(_MISSING)
        if absent.any() and (number | absent).all():
            refuse(sheet, frame, text, absent, name, _expected_id(role))
    elif text.str.contains(".", literal=True).all():
        # What pandas makes of integers if one of them is missing.
        text = text.str.replace(r"\.0+$", "")
    listed = text.str.contains(_NUMBERS) | text.str.contains(_BRACKETS)
    words = text.str.contains(_WORDS)
    if 2 * int(words.sum()) > len(words):
        listed |= words
    if listed.any():
        refuse(sheet, frame, text, listed, name, f"expected one {role} per row")
    for pattern, what in (("\n", "a line break; is a quote not closed?"), ("\0", "a null byte")):
        if (broken := text.str.contains(pattern, literal=True)).any():
            refuse(sheet, frame, text, broken, name, f"an id contains {what}")
    quoted = text.str.contains('^".*"$')
    if isinstance(column.dtype, pl.String) and quoted.any():
        refuse(sheet, frame, text, quoted, name, "fields in quotes need --format csv --separator")
    return text


def _expected_id(role: str) -> str:
    return f"expected the id of {'an' if role == 'item' else 'a'} {role}"


def _whole(sheet: Sheet, frame: pl.DataFrame, column: pl.Series, role: str) -> pl.Series:
    """Integers out of floats.

    Raises:
        DataError: one is no integer, or too large to be exact.
    """
    wrong = column.is_not_null() & ~column.is_nan() & ((column % 1 != 0) | (column.abs() > _EXACT))
    if wrong.any():
        refuse(sheet, frame, column, wrong, column.name, _expected_id(role))
    return column.fill_nan(None).cast(pl.Int64)


def numbers(sheet: Sheet, frame: pl.DataFrame, name: str) -> pl.Series:
    """Numbers as float64, each of which fits into a float32.

    Raises:
        DataError: one is missing, or is no such number.
    """
    column = frame[name]
    if column.dtype == pl.String:
        column = column.str.strip_chars()
    elif not (column.dtype.is_numeric() or column.dtype == pl.Boolean):
        raise DataError(f"{sheet.path}: column {name!r} has type {column.dtype}, not numbers")
    values = column.cast(pl.Float64, strict=False)
    wrong = values.is_null() | ~values.is_finite() | (values.abs() > _MOST)
    if (wrong := wrong.fill_null(True)).any():
        comma = column.dtype == pl.String and column.filter(wrong).str.contains(r"^-?\d+,\d+$")[0]
        hint = "; write a decimal point" if comma else "; fix or remove the row"
        refuse(sheet, frame, column, wrong, name, "expected a number", hint)
    return values


def times(sheet: Sheet, frame: pl.DataFrame, name: str) -> pl.Series:
    """Times that sort as they passed: numbers as they are, and ISO 8601 as microseconds since 1970.

    Returns:
        int64 where times are exact integers, otherwise float64.

    Raises:
        DataError: one is missing, or is neither a number nor ISO 8601.
    """
    column = frame[name]
    if isinstance(column.dtype, pl.Datetime | pl.Date):
        column = column.dt.epoch("ns" if getattr(column.dtype, "time_unit", "") == "ns" else "us")
    if column.dtype.is_integer() and not column.null_count():
        return column.cast(pl.Int64)
    if column.dtype != pl.String:
        return numbers(sheet, frame.with_columns(column.alias(name)), name)
    column = column.str.strip_chars()
    whole = column.cast(pl.Int64, strict=False)
    if not whole.null_count():
        return whole
    values = column.cast(pl.Float64, strict=False)
    if values[0] is not None:  # the first one is a number, so all should be
        return numbers(sheet, frame, name)
    stamps = _iso(column)
    if (wrong := stamps.is_null()).any():
        text = column.filter(wrong)[0] or ""
        form = next((what for form, what in _REFUSED_DATES.items() if re.search(form, text)), None)
        hint = f", which seems to be {form}" if form else ""
        refuse(
            sheet, frame, column, wrong, name, "expected a number, or a date as 2026-03-01", hint
        )
    return stamps


def _iso(column: pl.Series) -> pl.Series:
    """Microseconds since 1970, int64, of times in ISO 8601; null for other text."""
    parts = column.str.extract_groups(_ISO).struct.unnest()
    day = parts["day"].str.to_date("%Y-%m-%d", strict=False).cast(pl.Int64)
    hour, minute, second = (
        parts[part].fill_null("0").cast(pl.Int64) for part in ("hour", "minute", "second")
    )
    fraction = parts["fraction"].fill_null("0").str.pad_end(9, "0").cast(pl.Int64) // 1000
    zone = parts["zone"].fill_null("Z").replace({"Z": "+0000", "UTC": "+0000"})
    zone = zone.str.replace(":", "", literal=True)
    offset = zone.str.slice(1, 2).cast(pl.Int64) * 60 + zone.str.slice(3, 2).cast(pl.Int64)
    sign = 1 - 2 * zone.str.starts_with("-").cast(pl.Int64)
    seconds = ((day * 24 + hour) * 60 + minute - sign * offset) * 60 + second
    valid = (hour < 24) & (minute < 60) & (second < 61) & day.is_not_null()
    return pl.select(pl.when(valid).then(seconds * 1_000_000 + fraction)).to_series()


def _where(sheet: Sheet, frame: pl.DataFrame, wrong: pl.Series) -> str:
    """The place of the first wrong row."""
    return sheet.place(int(frame["row"].filter(wrong)[0]))


def refuse(
    sheet: Sheet,
    frame: pl.DataFrame,
    column: pl.Series,
    wrong: pl.Series,
    name: str,
    expected: str,
    hint: str = "",
) -> None:
    """Raise an error about the first wrong row of a column.

    Raises:
        DataError: always.
    """
    value = column.filter(wrong)[0]
    raise DataError(
        f"{sheet.path}: column {name!r}, {_where(sheet, frame, wrong)}: {expected}, got "
        f"{value!r:.60}{hint}"
    )
