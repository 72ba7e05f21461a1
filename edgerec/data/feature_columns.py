"""Columns of item features: categories, text and vectors, one entry per item."""

from __future__ import annotations

import itertools
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from edgerec.errors import DataError
from edgerec.files.container import Container
from edgerec.model.codecs import F32
from edgerec.model.frozen import frozen_array
from edgerec.model.items import Strings
from edgerec.model.model_file import Sections, read_strings

__all__ = ["COLUMNS", "Categories", "Column", "Text", "Tokens", "Vectors", "words"]


class Column(ABC):
    """One feature of n items.

    ``read`` reads what ``sections`` wrote.
    """

    kind: ClassVar[str]

    @abstractmethod
    def __len__(self) -> int:
        """N, the number of items."""

    @abstractmethod
    def take(self, rows: NDArray[np.integer[Any]]) -> Self:
        """Return the column of the given items, in the given order."""

    @abstractmethod
    def sections(self) -> Sections:
        """The arrays of a file, by name."""

    @classmethod
    @abstractmethod
    def read(cls, container: Container, prefix: str) -> Self:
        """Read the column from the sections of a file.

        Raises:
            EdgerecError: they are not such a column.
        """


class Tokens(Column):
    """A column that gives each item a bag of tokens."""

    @abstractmethod
    def tokens(self) -> list[list[str]]:
        """The tokens of each item."""


@dataclass(frozen=True, eq=False)
class Categories(Tokens):
    """Any number of labels per item, such as genres or a brand.

    Args:
        labels: the distinct labels.
        offsets: int64[n + 1]; item i has ``places[offsets[i]:offsets[i + 1]]``.
        places: int32[...], places in ``labels``.

    Raises:
        DataError: the arrays do not fit together.
    """

    kind: ClassVar[str] = "categories"
    labels: Strings
    offsets: NDArray[np.int64]
    places: NDArray[np.int32]

    def __post_init__(self) -> None:
        ends, places = self.offsets, self.places
        rising = ends.ndim == 1 and len(ends) > 0 and ends[0] == 0 and not np.any(np.diff(ends) < 0)
        if not rising or places.shape != (ends[-1],):
            raise DataError("categories: the offsets do not cover the places of labels")
        if len(places) and not 0 <= places.min() <= places.max() < len(self.labels):
            raise DataError(f"categories: a place is outside the {len(self.labels):,} labels")
        for name in ("offsets", "places"):
            object.__setattr__(self, name, frozen_array(getattr(self, name)))

    @classmethod
    def of(cls, values: Iterable[Any]) -> Categories:
        """Make a column of one label per item, or of a sequence of labels per item.

        Raises:
            DataError: a label is missing, empty, or neither text nor a number.
        """
        listed: list[list[str]] = []
        for row, value in enumerate(values):
            several = isinstance(value, Sequence | np.ndarray) and not isinstance(value, str)
            listed.append([_label(one, row) for one in (value if several else [value])])
        labels = sorted({label for row in listed for label in row})
        place = {label: number for number, label in enumerate(labels)}
        counts = np.array([0, *map(len, listed)], np.int64)
        flat = np.array([place[label] for row in listed for label in row], np.int32)
        return cls(Strings.of(labels), counts.cumsum(), flat)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def take(self, rows: NDArray[np.integer[Any]]) -> Categories:
        """Return the labels of the given items."""
        listed = self.tokens()
        return Categories.of([listed[int(row)] for row in rows])

    def tokens(self) -> list[list[str]]:
        """The labels of each item."""
        names = list(self.labels)
        flat = [names[place] for place in self.places.tolist()]
        ends = self.offsets.tolist()
        return [flat[a:b] for a, b in itertools.pairwise(ends)]

    def sections(self) -> Sections:
        """Labels, offsets and places."""
        return {
            "labels/offsets": self.labels.offsets,
            "labels/utf8": self.labels.utf8,
            "offsets": self.offsets,
            "places": self.places,
        }

    @classmethod
    def read(cls, container: Container, prefix: str) -> Categories:
        """Read labels, offsets and places."""
        return cls(
            read_strings(container, f"{prefix}/labels"),
            container.array(f"{prefix}/offsets"),
            container.array(f"{prefix}/places"),
        )


@dataclass(frozen=True, eq=False)
class Text(Tokens):
    """A text per item, of which its words are used.

    Args:
        texts: n texts.
    """

    kind: ClassVar[str] = "text"
    texts: Strings

    @classmethod
    def of(cls, values: Iterable[Any]) -> Text:
        """Make a column of texts; an empty text says nothing.

        Raises:
            DataError: one is missing, or is not text.
        """
        texts = list(values)
        for row, text in enumerate(texts):
            if not isinstance(text, str):
                raise DataError(f"item {row}: expected a text, got {text!r:.60}")
        return cls(Strings.of(texts))

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, rows: NDArray[np.integer[Any]]) -> Text:
        """Return the texts of the given items."""
        return Text(Strings.of(self.texts[int(row)] for row in rows))

    def tokens(self) -> list[list[str]]:
        """The words of each text."""
        return [words(text) for text in self.texts]

    def sections(self) -> Sections:
        """The texts."""
        return {"texts/offsets": self.texts.offsets, "texts/utf8": self.texts.utf8}

    @classmethod
    def read(cls, container: Container, prefix: str) -> Text:
        """Read the texts."""
        return cls(read_strings(container, f"{prefix}/texts"))


@dataclass(frozen=True, eq=False)
class Vectors(Column):
    """A vector per item, such as an embedding of its picture; a number is a vector of width 1.

    Args:
        values: float32[n, e].

    Raises:
        DataError: it has another shape, or a number that is NaN or infinite.
    """

    kind: ClassVar[str] = "vectors"
    values: F32

    def __post_init__(self) -> None:
        values = self.values
        if values.ndim != 2 or values.dtype != np.float32 or not values.shape[1]:
            raise DataError(f"expected float32[n, e], got {values.dtype}{list(values.shape)}")
        if not (finite := np.isfinite(values).all(1)).all():
            raise DataError(
                f"item {int(np.flatnonzero(~finite)[0])}: expected finite numbers, got NaN or "
                f"infinity (in {int((~finite).sum()):,} of {len(values):,} items); fill them in, "
                "or leave these items out"
            )
        object.__setattr__(self, "values", frozen_array(values))

    @classmethod
    def of(cls, values: Any) -> Vectors:
        """Make a column of n numbers, or of n vectors of the same width.

        Raises:
            DataError: they are something else, or are not finite.
        """
        try:
            found = np.asarray(values if isinstance(values, np.ndarray) else list(values))
            if found.dtype.kind not in "fiub":
                found = found.astype(np.float64)
        except (TypeError, ValueError):
            raise DataError("expected a number per item, or vectors of the same width") from None
        found = found[:, None] if found.ndim == 1 else found
        with np.errstate(over="ignore"):  # what overflows is infinite, and is refused
            return cls(found.astype(np.float32))

    def __len__(self) -> int:
        return len(self.values)

    def take(self, rows: NDArray[np.integer[Any]]) -> Vectors:
        """Return the vectors of the given items."""
        return Vectors(self.values[rows])

    def sections(self) -> Sections:
        """The vectors."""
        return {"values": self.values}

    @classmethod
    def read(cls, container: Container, prefix: str) -> Vectors:
        """Read the vectors."""
        return cls(container.array(f"{prefix}/values"))


#: The kinds of columns in files, by name.
COLUMNS: dict[str, type[Column]] = {cls.kind: cls for cls in (Categories, Text, Vectors)}


def words(text: str) -> list[str]:
    """The words and numbers of a text, in lower case."""
    return re.findall(r"\w+", text.lower())


def _label(value: Any, row: int) -> str:
    """A label as text.

    Raises:
        DataError: it is no label.
    """
    label = str(value).strip() if isinstance(value, str | int | np.integer) else ""
    if not label:
        raise DataError(
            f"item {row}: expected a label or a list of labels, got {value!r:.60}; an item "
            "without any has an empty list"
        )
    return label
