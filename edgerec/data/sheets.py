"""Sheets: files of named columns, read with polars, with errors that give the line."""

from __future__ import annotations

import csv
import io
import itertools
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path

import polars as pl

from edgerec.data.content import Content
from edgerec.errors import DataError

__all__ = ["ParquetSheet", "Sheet", "TextSheet"]

#: What stands for a separator of several characters while polars reads; no text has it.
_UNIT = "\x1f"


class Sheet(ABC):
    """A file of columns.

    Args:
        path: the file.
        columns: the names of its columns.
    """

    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        self.path, self.columns = path, list(columns)

    @abstractmethod
    def read(self, columns: Sequence[str]) -> pl.DataFrame:
        """Read some columns, and ``row``, the number of each row in the file, from 0.

        Raises:
            DataError: the file is not what it should be; the message says where.
        """

    @abstractmethod
    def place(self, row: int) -> str:
        """Where a row is, such as ``line 12``."""


class ParquetSheet(Sheet):
    """A Parquet file."""

    def __init__(self, content: Content) -> None:
        try:
            schema = pl.read_parquet_schema(content.path)
        except (pl.exceptions.PolarsError, OSError) as error:
            raise DataError(f"{content.path}: cannot be read as Parquet: {_short(error)}") from None
        super().__init__(content.path, list(schema))

    def read(self, columns: Sequence[str]) -> pl.DataFrame:
        """Read some columns; other columns may have types that are not supported."""
        try:
            frame = pl.read_parquet(self.path, columns=list(columns), glob=False)
        except (pl.exceptions.PolarsError, OSError) as error:
            raise DataError(f"{self.path}: cannot be read as Parquet: {_short(error)}") from None
        return frame.with_row_index("row")

    def place(self, row: int) -> str:
        """Parquet has rows, which are counted from 1."""
        return f"row {row + 1}"


class TextSheet(Sheet):
    """A text file with one record per line.

    Args:
        content: the file.
        separator: what is between two fields.
        quoted: whether fields may be in double quotes.
        header: whether the first line has the names; none to detect it.

    Raises:
        DataError: the first line does not look like a header, and nothing was said about it.
    """

    def __init__(
        self, content: Content, separator: str, quoted: bool, header: bool | None = None
    ) -> None:
        self.content, self.separator, self.quoted = content, separator, quoted
        line = content.first_line
        if line.startswith("#"):
            raise DataError(f"{content.path}: starts with a comment, {line!r:.60}; remove it")
        names = next(self._parse([line]))[1]
        self._header = header if header is not None else True
        if header is None and all(_is_number(name) for name in names):
            raise DataError(
                f"{content.path}: the first line, {line!r:.60}, looks like data. If the file has "
                "no header, pass --no-header (header=False): columns are numbered from 1"
            )
        if not self._header:
            names = [str(number) for number in range(1, len(names) + 1)]
        super().__init__(content.path, [name.strip() for name in names])

    def read(self, columns: Sequence[str]) -> pl.DataFrame:
        """Read some columns as text. Blank lines are left out."""
        places = [self.columns.index(name) for name in columns]
        # The last column tells whether a line is too short.
        wanted = sorted({*places, len(self.columns) - 1})
        internal = [f"column {place}" for place in range(len(self.columns))]
        try:
            frame = pl.read_csv(
                self._source(),
                separator=_UNIT if len(self.separator) > 1 else self.separator,
                has_header=False,  # the names are known, and may be unusable, such as two alike
                schema=dict.fromkeys(internal, pl.String),
                columns=wanted,
                quote_char='"' if self.quoted else None,
                glob=False,
            )
        except pl.exceptions.NoDataError:
            frame = pl.DataFrame(schema={internal[place]: pl.String for place in wanted})
        except (pl.exceptions.PolarsError, OSError) as error:
            mistake = self._ragged() or self._stray_quote()
            raise DataError(mistake or f"{self.path}: {_short(error)}") from None
        if frame[internal[-1]].null_count() and (mistake := self._ragged()):
            raise DataError(mistake)
        frame = frame.slice(int(self._header)).with_row_index("row")
        frame = frame.filter(~pl.all_horizontal(pl.exclude("row").is_null()))
        chosen = [
            pl.col(internal[place]).alias(name) for place, name in zip(places, columns, strict=True)
        ]
        return frame.select("row", *chosen)

    def place(self, row: int) -> str:
        """A line, counted from 1. Quoted fields may have several lines."""
        records = itertools.dropwhile(lambda record: not record[1], self._parse(self._lines()))
        line, _ = next(itertools.islice(records, row + self._header, None), (row + 1, []))
        return f"line {line}"

    def _source(self) -> Path | io.BytesIO:
        """What polars reads: the file itself if it can be."""
        head = self.content.head
        regular = "\r" not in head.replace("\r\n", "") and not head.startswith(("\n", "\r"))
        if regular and self.content.is_plain and len(self.separator) == 1:
            return self.path
        text = self.content.text().lstrip("\n")
        if len(self.separator) > 1:
            text = text.replace(self.separator, _UNIT)
        return io.BytesIO(text.encode())

    def _lines(self) -> Iterator[str]:
        return iter(io.StringIO(self.content.text()))

    def _parse(self, lines: Iterator[str] | list[str]) -> Iterator[tuple[int, list[str]]]:
        """The first line and the fields of each record.

        Raises:
            DataError: a quote is not closed, or something follows it.
        """
        several = len(self.separator) > 1
        reader = csv.reader(
            (line.replace(self.separator, _UNIT) for line in lines) if several else lines,
            delimiter=_UNIT if several else self.separator,
            quoting=csv.QUOTE_MINIMAL if self.quoted else csv.QUOTE_NONE,
            strict=True,
        )
        while True:
            line = reader.line_num + 1
            try:
                yield line, next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                raise DataError(
                    f"{self.content.path}: line {line}: a quote is not closed, or text follows it "
                    f"({error}); double the quotes within a field"
                ) from None

    def _ragged(self) -> str | None:
        """The first line that has another number of fields than the first line."""
        expected = len(self.columns)
        try:
            for line, fields in self._parse(self._lines()):
                if fields and len(fields) != expected:
                    return (
                        f"{self.path}: line {line} has {len(fields)} fields, the first line has "
                        f"{expected}"
                    )
        except DataError as error:
            return str(error)
        return None

    def _stray_quote(self) -> str | None:
        """The first line with an odd number of quotes."""
        for line, text in enumerate(self._lines(), 1):
            if text.count('"') % 2:
                return f"{self.path}: line {line} has a stray quote; double it within quotes"
        return None


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _short(error: Exception) -> str:
    """The first line of a library's message."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
