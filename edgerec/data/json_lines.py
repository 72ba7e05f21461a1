"""JSON lines: a sheet with one object per line, whose names are the columns."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import polars as pl

from edgerec.data.content import Content
from edgerec.data.sheets import Sheet
from edgerec.errors import DataError

__all__ = ["JsonLinesSheet"]


class JsonLinesSheet(Sheet):
    """A file of JSON lines. A name that a line lacks has no value there.

    Raises:
        DataError: a line is no JSON object.
    """

    def __init__(self, content: Content) -> None:
        self._records: list[dict[str, Any]] = []
        self._lines: list[int] = []
        for number, line in enumerate(content.text().split("\n"), 1):
            if not line.strip():
                continue
            try:
                record = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise DataError(f"{content.path}: line {number}: is not JSON: {error}") from None
            if not isinstance(record, dict):
                raise DataError(
                    f"{content.path}: line {number}: expected an object, got {line.strip()!r:.40}"
                )
            self._records.append(record)
            self._lines.append(number)
        super().__init__(content.path, [*dict.fromkeys(n for r in self._records for n in r)])

    def read(self, columns: Sequence[str]) -> pl.DataFrame:
        """Read some columns, each of which has values of one type."""
        found = []
        for name in columns:
            values = [record.get(name) for record in self._records]
            try:
                found.append(pl.Series(name, values, strict=True))
            except (TypeError, OverflowError, pl.exceptions.PolarsError):
                # Whole numbers among others are numbers, too.
                found.append(pl.Series(name, values, self._numeric(name, values), strict=False))
        return pl.DataFrame(found).with_row_index("row")

    def _numeric(self, name: str, values: list[Any]) -> Any:
        """The type of values that are numbers, or lists of numbers.

        Raises:
            DataError: they are not.
        """
        if all(isinstance(value, int | float | None) for value in values):
            return pl.Float64
        if all(isinstance(value, list | None) for value in values) and all(
            isinstance(one, int | float | None) for value in values for one in value or ()
        ):
            return pl.List(pl.Float64)
        raise DataError(f"{self.path}: column {name!r} has values of several types")

    def place(self, row: int) -> str:
        """The line of a record, counted from 1."""
        return f"line {self._lines[row]}"
