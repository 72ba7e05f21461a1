"""Context: what is known of a user or a situation besides the history, as numbers of a model.

A device codes what it knows, by name, as the input ``context`` float32[c]; nothing of it is stored.
What is not known is 0 in all of its places, which is neutral.
"""

from __future__ import annotations

import itertools
import json
import math
import numbers
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgerec.errors import BundleError, ModelError, OptionError
from edgerec.files.fields import Fields
from edgerec.model.integers import F32

__all__ = ["Context", "Labels", "Number", "read_context"]


@dataclass(frozen=True)
class Number:
    """A number, coded by its rank among those of training, so that no outlier matters.

    Args:
        name: the name that a device gives the number by.
        values: rising numbers.
        ranks: the code of each of them; that of others lies on the line between its neighbors, and
            beyond the ends it is that of the end.
    """

    name: str
    values: tuple[float, ...]
    ranks: tuple[float, ...]

    def __post_init__(self) -> None:
        _check_name(self.name)
        for one in (*self.values, *self.ranks):
            if not isinstance(one, numbers.Real) or not math.isfinite(one):
                raise ModelError(f"context.{self.name}: expected finite numbers, got {one!r:.60}")
        rising = all(a < b for a, b in itertools.pairwise(self.values))
        if len(self.values) != len(self.ranks) or not self.values or not rising:
            raise ModelError(f"context.{self.name}: expected rising values, each with its rank")

    @property
    def width(self) -> int:
        """The number of places that it takes."""
        return 1

    def code(self, value: object) -> list[float]:
        """The places of a number.

        Raises:
            OptionError: it is none.
        """
        if isinstance(value, bool) or not isinstance(value, numbers.Real):
            raise OptionError(f"context.{self.name}: expected a number, got {value!r:.60}")
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if not math.isfinite(number):
            raise OptionError(f"context.{self.name}: expected a finite number, got {value!r:.60}")
        return [float(np.interp(number, self.values, self.ranks))]

    def to_json(self) -> dict[str, Any]:
        """The values of the manifest."""
        return {"name": self.name, "values": [*self.values], "ranks": [*self.ranks]}


@dataclass(frozen=True)
class Labels:
    """Labels, such as a country; the place of each one that applies is 1.

    Args:
        name: the name that a device gives labels by.
        labels: the known labels, one per place.
    """

    name: str
    labels: tuple[str, ...]

    def __post_init__(self) -> None:
        _check_name(self.name)
        plain = all(isinstance(one, str) and one for one in self.labels)
        if not self.labels or not plain or len({*self.labels}) < len(self.labels):
            raise ModelError(f"context.{self.name}: expected different labels, got {self.labels!r}")

    @property
    def width(self) -> int:
        """The number of places that it takes."""
        return len(self.labels)

    def code(self, value: object) -> list[float]:
        """The places of a label, or of a list of labels.

        Raises:
            OptionError: one is unknown.
        """
        several = isinstance(value, Sequence | set | frozenset | np.ndarray)
        every: Any = value if several and not isinstance(value, str | bytes) else [value]
        given = [self._label(one) for one in every]
        for label in given:
            if label not in self.labels:
                known = ", ".join(self.labels[:10]) + (", …" if len(self.labels) > 10 else "")
                raise OptionError(
                    f"context.{self.name}: unknown label {label!r}; known: {known}; leave it out "
                    "if it is none of them"
                )
        return [float(label in given) for label in self.labels]

    def _label(self, value: object) -> str:
        """A label as text; numbers are those of the data, where 7.0 is 7.

        Raises:
            OptionError: it is neither text nor a number.
        """
        if isinstance(value, str):
            return value
        if isinstance(value, bool) or not isinstance(value, numbers.Real):
            raise OptionError(f"context.{self.name}: expected a label, got {value!r:.60}")
        number = float(value)
        return str(int(number)) if number.is_integer() else str(value)

    def to_json(self) -> dict[str, Any]:
        """The values of the manifest."""
        return {"name": self.name, "labels": [*self.labels]}


@dataclass(frozen=True)
class Context:
    """Numbers and labels that a model reads, in the order of their places.

    Raises:
        ModelError: there are none, or two have the same name.
    """

    parts: tuple[Number | Labels, ...]

    def __post_init__(self) -> None:
        names = self.names
        if not names or len({*names}) < len(names):
            raise ModelError(f"context: expected different names, got {', '.join(names) or 'none'}")

    @property
    def names(self) -> list[str]:
        """The names, in order."""
        return [part.name for part in self.parts]

    @property
    def width(self) -> int:
        """C, the length of the input ``context``."""
        return sum(part.width for part in self.parts)

    def code(self, known: Mapping[str, object]) -> F32:
        """The input ``context`` float32[c] for what is known, by name.

        Raises:
            OptionError: a name is unknown, or a value is no number or unknown label.
        """
        if unknown := [str(name) for name in known if name not in self.names]:
            raise OptionError(
                f"context: the model does not read {', '.join(unknown)}; it reads "
                f"{', '.join(self.names)}"
            )
        coded: list[float] = []
        for part in self.parts:
            given = known.get(part.name)
            coded += [0.0] * part.width if given is None else part.code(given)
        return np.array(coded, np.float32)

    def parse(self, text: str) -> dict[str, object]:
        """What is known, written as ``age=31,country=DE``; several labels have | between them.

        A JSON object may take its place, for labels with such characters.

        Raises:
            OptionError: it is written in another way, a name occurs twice, or a number is none.
        """
        if text.lstrip().startswith("{"):
            try:
                given = json.loads(text)
            except ValueError as error:
                raise OptionError(f"context: cannot be read as JSON: {error}") from None
            return dict(given)
        kinds = {part.name: part for part in self.parts}
        found: dict[str, object] = {}
        for entry in text.split(",") if text.strip() else ():
            name, equals, value = (piece.strip() for piece in entry.partition("="))
            if not equals or not value or name in found:
                raise OptionError(
                    "context: expected different names with a value each, such as "
                    f"{self.names[0]}=…; got {text!r:.60}"
                )
            found[name] = [label.strip() for label in value.split("|")]
            if isinstance(kinds.get(name), Number):
                try:
                    found[name] = float(value)
                except ValueError:
                    raise OptionError(
                        f"context.{name}: expected a number, got {value!r:.60}"
                    ) from None
        return found

    def to_json(self) -> list[dict[str, Any]]:
        """The values of the manifest."""
        return [part.to_json() for part in self.parts]


def read_context(meta: Fields, width: int) -> Context | None:
    """The context in the metadata of a model or a file; none if it has no names.

    Args:
        meta: the metadata, in which other things may have this name if the model reads no context.
        width: c, the length of the input ``context``; 0 if the model does not read it.

    Raises:
        BundleError: it does not describe as many places.
    """
    if not width or not isinstance(meta.values.get("context"), list):
        return None
    try:
        found = Context(tuple(_read_part(one) for one in meta.array("context")))
    except ModelError as error:
        raise BundleError(f"{meta.where}: {error}") from None
    if found.width != width:
        raise BundleError(
            f"{meta.where}.context: has {found.width} places, and the input context has {width}"
        )
    return found


def _read_part(entry: object) -> Number | Labels:
    match entry:
        case {"name": str() as name, "labels": [*labels]}:
            return Labels(name, tuple(labels))
        case {"name": str() as name, "values": [*values], "ranks": [*ranks]}:
            return Number(name, tuple(values), tuple(ranks))
    raise ModelError(f"context: expected labels, or values and ranks, got {entry!r:.60}")


def _check_name(name: object) -> None:
    if not isinstance(name, str) or not name.strip() or "," in name or "=" in name:
        raise ModelError(f"context: {name!r} cannot be a name: it is empty, or has a comma or =")
