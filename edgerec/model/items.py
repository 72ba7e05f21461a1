"""Items: the catalogue, with item ids in row order and their titles."""

from __future__ import annotations

import bisect
import codecs
import functools
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgerec.errors import ModelError

__all__ = ["Items", "Strings"]

#: A look-up first bisects every so-many-th id, kept in a Python list.
_STRIDE = 256

#: How many rows that were looked up are remembered.
_KNOWN = 4096

#: How many neighboring ids are compared at a time.
_PAIRS = 2**14

#: How many bytes of text are checked at a time.
_PIECE = 2**20


class Strings(Sequence[str]):
    """A list of strings stored as two arrays, so that a million of them can be memory-mapped.

    Args:
        offsets: uint32[n + 1]; string ``i`` is ``utf8[offsets[i]:offsets[i + 1]]``.
        utf8: uint8[...]; all strings, one after another, in UTF-8.

    Raises:
        ModelError: the offsets do not lie inside ``utf8`` in ascending order.
    """

    def __init__(self, offsets: NDArray[np.uint32], utf8: NDArray[np.uint8]) -> None:
        for name, array, dtype in (("offsets", offsets, np.uint32), ("utf8", utf8, np.uint8)):
            if array.dtype != dtype or array.ndim != 1:
                raise ModelError(
                    f"strings: {name}: expected {np.dtype(dtype)}[…], got "
                    f"{array.dtype}{list(array.shape)}"
                )
        if len(offsets) == 0 or int(offsets[0]) != 0 or int(offsets[-1]) != len(utf8):
            raise ModelError("strings: the offsets do not cover the text")
        if np.any(offsets[1:] < offsets[:-1]):
            raise ModelError("strings: the offsets are not ascending")
        _check_utf8(offsets, utf8)
        self.offsets = offsets
        self.utf8 = utf8
        # Looking up a history bisects thousands of strings, and memoryviews are indexed several
        # times faster than arrays.
        self._starts = np.ascontiguousarray(offsets, np.uint32).data
        self._text = np.ascontiguousarray(utf8, np.uint8).data

    @classmethod
    def of(cls, strings: Iterable[str]) -> Strings:
        """Pack an iterable of strings."""
        encoded = [string.encode("utf-8") for string in strings]
        if sum(map(len, encoded)) >= 2**32:
            raise ModelError("strings: more than 4 GiB of text; use shorter ids or titles")
        offsets = np.zeros(len(encoded) + 1, np.uint32)
        np.cumsum([len(e) for e in encoded], out=offsets[1:])
        return cls(offsets, np.frombuffer(b"".join(encoded), np.uint8))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        i, n = int(index), len(self._starts) - 1
        if not -n <= i < n:
            raise IndexError(f"index {i} is out of range for {n} strings")
        return self.raw(i if i >= 0 else i + n).decode("utf-8", "replace")

    def raw(self, i: int) -> bytes:
        """The UTF-8 bytes of string ``i``."""
        return self._text[self._starts[i] : self._starts[i + 1]].tobytes()

    def __iter__(self) -> Iterator[str]:
        text = self.utf8.tobytes()
        for start, stop in zip(self.offsets[:-1].tolist(), self.offsets[1:].tolist(), strict=True):
            yield text[start:stop].decode("utf-8", "replace")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Strings):
            return NotImplemented
        return np.array_equal(self.offsets, other.offsets) and np.array_equal(self.utf8, other.utf8)

    def __hash__(self) -> int:
        return hash((len(self), self.utf8[:64].tobytes()))

    @property
    def nbytes(self) -> int:
        """The size of both arrays in bytes."""
        return self.offsets.nbytes + self.utf8.nbytes


def _check_utf8(offsets: NDArray[np.uint32], utf8: NDArray[np.uint8]) -> None:
    """Check that text is UTF-8, and that no string starts within a character.

    Raises:
        ModelError: it is not; two ids could then look alike.
    """
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        for start in range(0, len(utf8), _PIECE):
            decoder.decode(utf8[start : start + _PIECE].tobytes())
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        raise ModelError("strings: the text is not UTF-8") from None
    starts = offsets[:-1][offsets[:-1] < len(utf8)]
    if np.any(utf8[starts] & 0xC0 == 0x80):
        raise ModelError("strings: one starts within a character")


def _first_not_ascending(strings: Strings, order: NDArray[np.uint32] | None) -> int | None:
    """The first place at which a string is not greater than the one before it; none if all are.

    Strings are compared by their UTF-8 bytes. It compares seven bytes of all pairs at a time, and
    then goes on with the pairs that are still equal.

    Args:
        strings: the strings.
        order: uint32[n], the order to go through them; from first to last by default.
    """
    for start in range(0, len(strings) - 1, _PAIRS):
        stop = min(start + _PAIRS, len(strings) - 1)
        rows = np.arange(start, stop + 1) if order is None else order[start : stop + 1]
        begin, end = (strings.offsets[rows + step].astype(np.int64) for step in (0, 1))
        pending, leading = np.arange(stop - start), np.zeros(len(rows), np.int64)
        while len(pending):
            both = np.union1d(pending, pending + 1)
            leading[both] = _leading(strings.utf8, begin[both], end[both])
            low, high = leading[pending], leading[pending + 1]
            # A leading part that ends in 0 is the whole of a string.
            wrong = (low > high) | ((low == high) & (low % 257 == 0))
            if wrong.any():
                return start + int(pending[wrong][0]) + 1
            pending = pending[low == high]
            begin = begin + 7
    return None


def _leading(text: NDArray[np.uint8], begin: NDArray[np.int64], end: NDArray[np.int64]) -> Any:
    """Seven bytes of each string as one number to base 257, in which 0 stands for its end."""
    found = np.zeros(len(begin), np.int64)
    for place in range(7):
        at = begin + place
        inside = at < end
        digits = np.zeros(len(begin), np.int64)
        digits[inside] = text[at[inside]].astype(np.int64) + 1
        found = found * 257 + digits
    return found


@dataclass(frozen=True)
class Items:
    """Item ids in row order, with optional titles.

    Ids are text. Row ``r`` of every table belongs to ``ids[r]``.

    Args:
        ids: unique ids.
        titles: one readable title per id.
        order: uint32[n], the rows in ascending order of their ids' UTF-8 bytes; none if the rows
            are in that order already. With it, a device looks ids up by bisection, without a
            dictionary of a million strings.

    Raises:
        ModelError: there are no items, an id occurs twice, or the parts differ in length.
    """

    ids: Strings
    titles: Strings | None = None
    order: NDArray[np.uint32] | None = None

    @classmethod
    def of(cls, ids: Iterable[object], titles: Iterable[str] | None = None) -> Items:
        """Make a catalogue from Python values, converting ids to text."""
        values = list(ids)
        for value in values:
            if isinstance(value, bytes | bytearray) or value is None:
                raise ModelError(f"items: expected ids as text or numbers, got {value!r:.60}")
        try:
            keys = [str(value).encode("utf-8") for value in values]
        except UnicodeEncodeError as error:
            raise ModelError(
                f"items: expected ids as text, got {error.object!r:.60}, which has half of a "
                "surrogate pair"
            ) from None
        order = sorted(range(len(keys)), key=keys.__getitem__)
        for a, b in itertools.pairwise(order):
            if keys[a] == keys[b]:
                raise ModelError(f"items: id {keys[a].decode()!r} occurs twice; ids must be unique")
        return cls(
            Strings.of(key.decode("utf-8") for key in keys),
            None if titles is None else Strings.of(titles),
            None if order == list(range(len(keys))) else np.array(order, np.uint32),
        )

    def __post_init__(self) -> None:
        if len(self.ids) == 0:
            raise ModelError("items: the catalogue is empty; at least one item is needed")
        for name, part in (("titles", self.titles), ("order", self.order)):
            if part is not None and len(part) != len(self.ids):
                raise ModelError(f"items: {len(self.ids)} ids but {name} has {len(part)}")
        order = self.order
        if order is not None:
            if order.dtype != np.uint32 or order.ndim != 1:
                raise ModelError(
                    f"items: order: expected uint32[{len(self.ids)}], got "
                    f"{order.dtype}{list(order.shape)}"
                )
            if int(order.max()) >= len(self.ids):
                raise ModelError("items: order has a row outside the catalogue")
        # Ids that rise strictly in this order are unique, and each row occurs once.
        if (place := _first_not_ascending(self.ids, order)) is not None:
            row = place if order is None else int(order[place])
            raise ModelError(
                f"items: id {self.ids[row]!r} occurs twice or is out of order; ids must be unique, "
                "and without `order` sorted by their UTF-8 bytes (`Items.of` sorts them)"
            )

    def __len__(self) -> int:
        return len(self.ids)

    @functools.cached_property
    def rows(self) -> Mapping[str, int]:
        """The row of each id, for work on the whole catalogue; ``find`` looks up a single one."""
        return {item: row for row, item in enumerate(self.ids)}

    def find(self, item: object) -> int | None:
        """The row of an id, or none if the catalogue does not have it."""
        key = str(item).encode("utf-8", "surrogatepass")  # no id has a lone surrogate
        if (known := self._known.get(key)) is not None:
            return known
        order, raw = self._order, self.ids.raw
        get = raw if order is None else lambda place: raw(order[place])
        start = max(0, bisect.bisect_right(self._signposts, key) - 1) * _STRIDE
        stretch = range(start, min(start + _STRIDE, len(self)))
        place = start + bisect.bisect_left(stretch, key, key=get)
        if place == len(self) or get(place) != key:
            return None
        row: int = place if order is None else order[place]
        if len(self._known) >= _KNOWN:
            self._known.clear()
        self._known[key] = row
        return row

    @functools.cached_property
    def _known(self) -> dict[bytes, int]:
        """Rows that were looked up, because a history comes again with one more item."""
        return {}

    @functools.cached_property
    def _signposts(self) -> list[bytes]:
        """Every ``_STRIDE``-th id in sorted order, in a list that is bisected in C."""
        order = self._order
        places = range(0, len(self), _STRIDE)
        return [self.ids.raw(place if order is None else order[place]) for place in places]

    @functools.cached_property
    def _order(self) -> memoryview | None:
        # A memoryview is indexed several times faster than an array.
        return None if self.order is None else np.ascontiguousarray(self.order, np.uint32).data

    def title(self, row: int) -> str:
        """The title of a row, or its id if the catalogue has no titles."""
        return str(self.ids[row]) if self.titles is None else str(self.titles[row])

    def take(self, rows: NDArray[np.integer[Any]]) -> Items:
        """Return the catalogue of the given rows, in the given order."""
        return Items.of(
            [self.ids[int(r)] for r in rows],
            None if self.titles is None else [self.titles[int(r)] for r in rows],
        )
