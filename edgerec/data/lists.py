"""Lists: what a recommender lists for each user, read from a file of columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import polars as pl

from edgerec.data.agreement import Listed
from edgerec.data.columns import USUAL, ids, numbers, refuse
from edgerec.data.formats import Layout, open_sheet
from edgerec.data.sheets import Sheet
from edgerec.errors import DataError

__all__ = ["LIST_SUFFIXES", "is_list_file", "read_list_file"]

#: The endings of files of lists.
LIST_SUFFIXES = (".parquet", ".csv", ".tsv", ".jsonl")


def is_list_file(path: Path) -> bool:
    """Whether a file is one of lists, by its ending."""
    return path.name.lower().removesuffix(".gz").endswith(LIST_SUFFIXES)


def read_list_file(path: Path) -> Mapping[str, Listed]:
    """Read the list of each user, by the user's id.

    The file has a row per item, with the columns user and item. A column ``rank`` gives the order,
    the best item having the lowest rank; without it, a column ``score`` does, the best item having
    the highest score; without both, the rows of a user are in order.

    Raises:
        DataError: it cannot be read, a column is missing, or a user's list has an item twice.
    """
    sheet = _open(path)
    user, item = (_column(sheet, role, USUAL[role]) for role in ("user", "item"))
    if user is None or item is None:
        lacking = "user" if user is None else "item"
        raise DataError(
            f"{path}: no {lacking} column; columns: {', '.join(sheet.columns)}. Lists have the "
            "columns user and item, and rank or score unless a user's rows are in order"
        )
    rank, score = (_column(sheet, role, (role,)) for role in ("rank", "score"))
    chosen = [name for name in (user, item, rank, score) if name is not None]
    raw = sheet.read(chosen)
    if raw.is_empty():
        raise DataError(f"{path}: the file has no lists")
    frame = raw.select("row").with_columns(
        ids(sheet, raw, user, "user").alias("user"), ids(sheet, raw, item, "item").alias("item")
    )
    for name, column in (("rank", rank), ("score", score)):
        if column is not None:
            frame = frame.with_columns(numbers(sheet, raw, column).alias(name))
    twice = frame.select(pl.struct("user", "item").is_duplicated()).to_series()
    if twice.any():
        who = frame["user"].filter(twice)[0]
        refuse(sheet, raw, frame["item"], twice, item, f"user {who!r} has an item twice")
    if rank is not None:
        frame = frame.sort("rank", maintain_order=True)
    elif score is not None:
        frame = frame.sort("score", descending=True, maintain_order=True)
    whole = frame.group_by("user", maintain_order=True).agg(pl.exclude("row"))
    return {
        row["user"]: Listed(row["item"], row.get("score")) for row in whole.iter_rows(named=True)
    }


def _open(path: Path) -> Sheet:
    if path.suffix.lower() == ".jsonl":
        return _LinesSheet(path)
    sheet = open_sheet(path, Layout())
    if sheet is None:
        raise DataError(f"{path}: expected lists in one of {', '.join(LIST_SUFFIXES)}")
    return sheet


def _column(sheet: Sheet, role: str, names: Sequence[str]) -> str | None:
    """The column of a role, the first with one of its usual names; none if it is missing.

    Raises:
        DataError: two columns have that name.
    """
    for usual in names:
        found = [name for name in sheet.columns if name.lower() == usual]
        if len(found) > 1:
            raise DataError(f"{sheet.path}: two columns could be the {role}: {', '.join(found)}")
        if found:
            return found[0]
    return None


class _LinesSheet(Sheet):
    """A file with a JSON object per line."""

    def __init__(self, path: Path) -> None:
        try:
            self._frame = pl.read_ndjson(path, infer_schema_length=None)
        except FileNotFoundError:
            raise DataError(f"{path}: no such file") from None
        except (pl.exceptions.PolarsError, OSError) as error:
            said = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise DataError(f"{path}: expected a JSON object per line: {said}") from None
        super().__init__(path, self._frame.columns)

    def read(self, columns: Sequence[str]) -> pl.DataFrame:
        """Read some columns."""
        return self._frame.select(columns).with_row_index("row")

    def place(self, row: int) -> str:
        """Lines are counted from 1, without blank ones."""
        return f"line {row + 1}"
