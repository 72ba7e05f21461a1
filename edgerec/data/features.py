"""Features: what is known about items besides who interacted with them.

    Features.of(ids, categories={"genres": [["Comedy"], ["Crime", "Drama"]]}, numbers={"year": ...})

A model learns from them while it is trained (``training/item_features.py``), and gives items that
nobody has interacted with a row (``training/cold_start.py``). A device sees the rows alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgerec.data.feature_columns import COLUMNS, Categories, Column, Text, Vectors
from edgerec.errors import DataError, EdgerecError, OptionError
from edgerec.files.container import Container
from edgerec.files.fields import Fields
from edgerec.model.frozen import frozen_mapping
from edgerec.model.items import Items
from edgerec.model.model_file import Sections

__all__ = ["TITLES", "Features", "choose_columns", "read_context_names", "read_feature_names"]

#: The name of the titles of a catalogue, which can be a feature, too.
TITLES = "titles"


@dataclass(frozen=True, eq=False, repr=False)
class Features:
    """Columns of features, with one entry per item.

    Args:
        items: the items, which may have titles.
        columns: the columns by name, in the order of the items.

    Raises:
        DataError: there is no column, a name is reserved or cannot be listed, or a column has
            another number of items.
    """

    items: Items
    columns: Mapping[str, Column]

    def __post_init__(self) -> None:
        if not self.columns and self.items.titles is None:
            raise DataError("features: expected at least one column")
        for name, column in self.columns.items():
            if name == TITLES or not name.strip() or "," in name:
                raise DataError(
                    f"features: {name!r} cannot be the name of a column: it is {TITLES!r}, empty, "
                    "or has a comma"
                )
            if len(column) != len(self.items):
                raise DataError(
                    f"features: {name}: expected {len(self.items):,} entries, one per item, got "
                    f"{len(column):,}"
                )
        object.__setattr__(self, "columns", frozen_mapping(self.columns))

    def __repr__(self) -> str:
        columns = ", ".join(f"{name}: {column.kind}" for name, column in self.columns.items())
        return f"Features({len(self.items):,} items; {columns})"

    @classmethod
    def of(
        cls,
        ids: Iterable[object],
        *,
        categories: Mapping[str, Iterable[Any]] | None = None,
        numbers: Mapping[str, Any] | None = None,
        text: Mapping[str, Iterable[str]] | None = None,
        vectors: Mapping[str, Any] | None = None,
        titles: Iterable[str] | None = None,
    ) -> Features:
        """Make features of values in memory, one per item.

        Args:
            ids: the ids of n items, in the order of all that follows.
            categories: by name, a label or a list of labels per item.
            numbers: by name, n numbers.
            text: by name, n texts.
            vectors: by name, float[n, e], such as embeddings of pictures, sounds or sentences.
            titles: n titles.

        Raises:
            DataError: a value is missing, is NaN, or is no such feature, columns differ in number,
                or a name occurs twice.
        """
        catalogue = Items.of(ids, titles)
        columns: dict[str, Column] = {}
        given: list[tuple[Mapping[str, Any] | None, Callable[[Any], Column]]] = [
            (categories, Categories.of),
            (numbers, _number),
            (text, Text.of),
            (vectors, Vectors.of),
        ]
        for named, make in given:
            for name, values in (named or {}).items():
                if name in columns:
                    raise DataError(f"features: {name}: is given twice")
                try:
                    columns[name] = make(values)
                except EdgerecError as error:
                    raise DataError(f"features: {name}: {error}") from None
        return cls(catalogue, columns)

    def take(self, rows: NDArray[np.integer[Any]]) -> Features:
        """Return the features of the given items, in the given order."""
        columns = {name: column.take(rows) for name, column in self.columns.items()}
        return Features(self.items.take(rows), columns)

    def of_items(self, items: Items, what: str = "items") -> Features:
        """Return the features of a catalogue, in its order and with its titles.

        Args:
            items: the catalogue.
            what: what it consists of, for messages.

        Raises:
            DataError: an item of the catalogue has none.
        """
        rows = [self.items.rows.get(name, -1) for name in items.ids]
        if missing := [name for name, row in zip(items.ids, rows, strict=True) if row < 0]:
            raise DataError(
                f"features: {len(missing):,} of {len(items):,} {what} have none, such as "
                f"{', '.join(map(repr, missing[:3]))}; add them, with empty lists or texts for "
                "what is not known"
            )
        place = np.array(rows, np.int64)
        return Features(items, {name: column.take(place) for name, column in self.columns.items()})

    def sections(self, prefix: str = "features") -> Sections:
        """The arrays of the columns, by name; ``kinds`` says what they are."""
        found: Sections = {}
        for place, column in enumerate(self.columns.values()):
            for name, array in column.sections().items():
                found[f"{prefix}/{place}/{name}"] = array
        return found

    @property
    def kinds(self) -> list[list[str]]:
        """The name and the kind of each column."""
        return [[name, column.kind] for name, column in self.columns.items()]

    @classmethod
    def read(
        cls, container: Container, meta: Fields, items: Items, prefix: str = "features"
    ) -> Features:
        """Read what ``sections`` and ``kinds`` wrote about a catalogue.

        Raises:
            EdgerecError: the sections are no features.
        """
        columns: dict[str, Column] = {}
        for place, entry in enumerate(meta.array(prefix)):
            match entry:
                case [str() as name, str() as kind] if kind in COLUMNS and name not in columns:
                    columns[name] = COLUMNS[kind].read(container, f"{prefix}/{place}")
                case _:
                    raise DataError(f"{prefix}: expected [name, kind], got {entry!r:.60}")
        return cls(items, columns)


def choose_columns(
    items: Items, features: Features | None, names: Sequence[str]
) -> dict[str, Column]:
    """The columns of some names; ``titles`` are the titles of the catalogue.

    Raises:
        OptionError: there is no such column.
    """
    known: dict[str, Column] = {} if features is None else dict(features.columns)
    if items.titles is not None:
        known[TITLES] = Text(items.titles)
    if TITLES in names and TITLES not in known:
        raise OptionError(
            "features: the data set has no titles; add a titles file, or leave this option out"
        )
    if unknown := [name for name in names if name not in known]:
        has = ", ".join(known) or "none; add them with Dataset.with_features"
        raise OptionError(f"features: the data set has no {', '.join(unknown)}; it has: {has}")
    return {name: known[name] for name in names}


def read_feature_names(text: str | None) -> tuple[str, ...]:
    """The names in a list such as ``titles,genres``, the value of the option ``features``.

    Raises:
        OptionError: one is empty, or occurs twice.
    """
    return _names(text, "features", "titles,genres")


def read_context_names(text: str | None) -> tuple[str, ...]:
    """The names in a list such as ``age,country``, the value of the option ``context``.

    Raises:
        OptionError: one is empty, or occurs twice.
    """
    return _names(text, "context", "age,country")


def _names(text: str | None, option: str, example: str) -> tuple[str, ...]:
    if not isinstance(text, str | None):
        raise OptionError(f"{option}: expected text, such as {example}; got {text!r:.60}")
    names = [] if text is None else [name.strip() for name in text.split(",")]
    if not all(names) or len({*names}) < len(names):
        raise OptionError(f"{option}: expected different names, such as {example}; got {text!r}")
    return tuple(names)


def _number(values: Any) -> Vectors:
    """A column of one number per item.

    Raises:
        DataError: it is something else.
    """
    column = Vectors.of(values)
    if column.values.shape[1] != 1:
        raise DataError(
            f"expected a number per item, got {column.values.shape[1]}; pass them as vectors"
        )
    return column
