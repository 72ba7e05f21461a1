"""Read features from a table with one line per item or user, and arrays with a row per line."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl

from edgerec.data.columns import find_column, ids, numbers, refuse
from edgerec.data.content import open_content
from edgerec.data.features import Features
from edgerec.data.formats import Layout, open_sheet
from edgerec.data.json_lines import JsonLinesSheet
from edgerec.data.sentences import encode_texts
from edgerec.data.sheets import Sheet
from edgerec.errors import DataError

__all__ = ["parse_feature_columns", "read_features"]

#: What a column can be read as.
_KINDS = ("categories", "numbers", "text", "vectors")

#: What the name of a sentence encoder follows.
_ENCODED = "text@"


def read_features(
    path: str | Path,
    columns: Mapping[str, str],
    *,
    item: str | None = None,
    of: Literal["item", "user"] = "item",
) -> Features:
    """Read features of items, or of users.

    Args:
        path: a csv, tsv, Parquet, JSON-lines or RecBole ``.item`` or ``.user`` file with one line
            per item or user.
        columns: by name, what a column is: ``categories`` (one label, several with ``|`` between
            them, or a list), ``numbers``, ``text``, ``vectors`` (a list of numbers, of the same
            length in every line); ``text@MODEL`` for texts as vectors of a sentence encoder
            (``encode_texts``); or the path of a ``.npy`` array, float[n, e], whose rows belong to
            the lines of the file.
        item: the id column; by default, the one with a usual name.
        of: what the lines are about.

    Raises:
        DataError: a file cannot be read, a column is missing, an item occurs twice, a value is
            missing or wrong, an array has another number of rows, or an encoder cannot be loaded.
        OptionError: texts are to be encoded, and sentence-transformers is not installed.
    """
    path = Path(path)
    if not columns:
        raise DataError(f"{path}: name at least one column, such as genres=categories")
    sheet = _open(path)
    inside = {
        name: kind
        for name, kind in columns.items()
        if kind.startswith(_ENCODED) or not kind.endswith(".npy")
    }
    for name, kind in inside.items():
        if kind not in _KINDS and not (kind.startswith(_ENCODED) and kind != _ENCODED):
            raise DataError(
                f"{path}: {name}: expected {', '.join(_KINDS)}, text@MODEL or a .npy file, got "
                f"{kind!r}"
            )
        if name not in sheet.columns:
            raise DataError(f"{path}: no column {name!r}; columns: {', '.join(sheet.columns)}")
    key = find_column(sheet, of, {} if item is None else {of: item}, required=True)
    frame = sheet.read([*dict.fromkeys([str(key), *inside])])
    if frame.is_empty():
        raise DataError(f"{path}: the file has no {of}s")
    items = ids(sheet, frame, str(key), of)
    if (twice := items.is_duplicated()).any():
        refuse(sheet, frame, items, twice, str(key), f"expected every {of} once")
    found: dict[str, dict[str, Any]] = {kind: {} for kind in _KINDS}
    for name, kind in columns.items():
        if kind.startswith(_ENCODED):
            texts = _texts(sheet, frame, name)
            try:
                found["vectors"][name] = encode_texts(texts, kind.removeprefix(_ENCODED))
            except DataError as error:
                raise DataError(f"{path}: {name}: {error}") from None
        elif name in inside:
            found[kind][name] = _READ[kind](sheet, frame, name)
        else:
            found["vectors"][name] = _array(Path(kind), path, frame.height)
    return Features.of(items.to_list(), **found)


def parse_feature_columns(text: str) -> dict[str, str]:
    """Read ``name=kind,...``, as the command line takes it.

    Raises:
        DataError: it has another form, or a name occurs twice.
    """
    found: dict[str, str] = {}
    for part in text.split(","):
        name, equals, kind = (piece.strip() for piece in part.partition("="))
        if not equals or not name or not kind or name in found:
            raise DataError(
                f"feature columns: expected different names with a kind each, such as "
                f"genres=categories,year=numbers; got {text!r:.80}"
            )
        found[name] = kind
    return found


def _open(path: Path) -> Sheet:
    if path.name.lower().removesuffix(".gz").endswith((".jsonl", ".ndjson")):
        return JsonLinesSheet(open_content(path, json_lines=True))
    sheet = open_sheet(path, Layout())
    if sheet is None:
        raise DataError(f"{path}: expected a file of columns, one line per item")
    return sheet


def _labels(sheet: Sheet, frame: pl.DataFrame, name: str) -> list[list[str]]:
    """The labels of each item; an empty cell has none."""
    column = frame[name]
    if isinstance(column.dtype, pl.List | pl.Array):
        _complete(sheet, frame, column)
        listed = column.to_list()
        wrong = [any(one is None or not str(one).strip() for one in labels) for labels in listed]
        if any(wrong):
            refuse(sheet, frame, column, pl.Series(wrong), name, "expected labels without a gap")
        return [[str(one) for one in labels] for labels in listed]
    texts = column.cast(pl.String).fill_null("").to_list()
    return [[one.strip() for one in text.split("|") if one.strip()] for text in texts]


def _numbers(sheet: Sheet, frame: pl.DataFrame, name: str) -> Any:
    return numbers(sheet, frame, name).to_numpy()


def _texts(sheet: Sheet, frame: pl.DataFrame, name: str) -> list[str]:
    column = frame[name]
    if column.dtype != pl.String:
        raise DataError(f"{sheet.path}: column {name!r} has type {column.dtype}, not text")
    return column.fill_null("").to_list()


def _vectors(sheet: Sheet, frame: pl.DataFrame, name: str) -> Any:
    """Vectors, float64[n, e].

    Raises:
        DataError: a cell is no list of numbers, or is longer than the first one.
    """
    column = frame[name]
    if not isinstance(column.dtype, pl.List | pl.Array):
        raise DataError(
            f"{sheet.path}: column {name!r} has type {column.dtype}; vectors are lists of numbers, "
            "in Parquet or JSON lines, or a .npy file"
        )
    _complete(sheet, frame, column)
    column = column.cast(pl.List(pl.Float64), strict=False)
    width = len(column[0])
    lengths = column.list.len() != width
    if lengths.any():
        refuse(sheet, frame, column, lengths, name, f"expected {width} numbers, as in the first")
    flat = column.explode().cast(pl.Float64).fill_null(np.nan).to_numpy().reshape(-1, width)
    if not (finite := np.isfinite(flat).all(1)).all():
        refuse(sheet, frame, column, pl.Series(~finite), name, "expected finite numbers")
    return flat


#: How a column is read, by its kind.
_READ = {"categories": _labels, "numbers": _numbers, "text": _texts, "vectors": _vectors}


def _complete(sheet: Sheet, frame: pl.DataFrame, column: pl.Series) -> None:
    """Check that no cell is missing.

    Raises:
        DataError: one is.
    """
    if (missing := column.is_null()).any():
        refuse(sheet, frame, column, missing, column.name, "expected a list")


def _array(path: Path, beside: Path, rows: int) -> Any:
    """An array with one row per line of a file.

    Raises:
        DataError: it cannot be read, or has another number of rows.
    """
    try:
        array = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path}: expected an array of numpy: {error}") from None
    if array.ndim != 2 or array.dtype.kind not in "fiu" or len(array) != rows:
        raise DataError(
            f"{path}: expected numbers [{rows:,}, e], one row per item of {beside}, got "
            f"{array.dtype}{list(array.shape)}"
        )
    return array
