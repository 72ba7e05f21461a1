"""Fields: JSON objects from files, checked as they are read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from edgerec.errors import BundleError

__all__ = ["Fields"]


class Fields:
    """A JSON object whose values are checked when they are read.

    Args:
        values: the object.
        where: its name in messages, such as ``tables.items``.

    Raises:
        BundleError: it is not an object; the methods raise it if a value is missing, of another
            type or out of range. ``bool`` is not a number.
    """

    def __init__(self, values: object, where: str = "") -> None:
        self.where = where
        if not isinstance(values, Mapping):
            raise BundleError(f"{where or 'manifest'}: expected an object, got {_short(values)}")
        self.values: Mapping[str, Any] = values

    def __iter__(self) -> Iterator[str]:
        return iter(self.values)

    def text(self, name: str) -> str:
        """A text."""
        return str(self._of(name, str, "text"))

    def integer(self, name: str, least: int, most: int) -> int:
        """An integer from ``least`` to ``most``."""
        value = self._of(name, int, "an integer")
        if isinstance(value, bool) or not least <= value <= most:
            raise self._wrong(name, f"an integer from {least:,} to {most:,}")
        return int(value)

    def number(self, name: str, least: float, most: float) -> float:
        """A number from ``least`` to ``most``."""
        value = self._of(name, (int, float), "a number")
        if isinstance(value, bool) or not least <= value <= most:
            raise self._wrong(name, f"a number from {least:g} to {most:g}")
        return float(value)

    def array(self, name: str) -> list[Any]:
        """A JSON array."""
        return list(self._of(name, list, "a list"))

    def texts(self, name: str) -> list[str]:
        """A list of texts."""
        values = self.array(name)
        if not all(isinstance(value, str) for value in values):
            raise self._wrong(name, "a list of texts")
        return values

    def fields(self, name: str) -> Fields:
        """An object."""
        return Fields(self._of(name, dict, "an object"), self._name(name))

    def _of(self, name: str, kind: type | tuple[type, ...], expected: str) -> Any:
        if name not in self.values:
            raise BundleError(f"{self._name(name)}: expected {expected}, got nothing")
        if not isinstance(self.values[name], kind):
            raise self._wrong(name, expected)
        return self.values[name]

    def _wrong(self, name: str, expected: str) -> BundleError:
        return BundleError(
            f"{self._name(name)}: expected {expected}, got {_short(self.values[name])}"
        )

    def _name(self, name: str) -> str:
        return f"{self.where}.{name}" if self.where else name


def _short(value: object) -> str:
    """A value as a message shows it, at most 60 characters long."""
    text = f"{type(value).__name__}" if isinstance(value, dict | list) else repr(value)
    return text if len(text) <= 60 else text[:57] + "…"
