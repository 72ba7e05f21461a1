"""Mixed precision: the first rows of a table in one codec, and the rest in another."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from numpy.typing import NDArray

from edgerec.errors import CodecError
from edgerec.model.codecs import F32, Arrays, Codec, Int4, Int8
from edgerec.model.structure import Partition, Structure, rows_of_parts

__all__ = ["Mixed"]


@dataclass(frozen=True)
class Mixed(Codec):
    """A share of the rows, the first ones, in one codec, and the rest in another.

    The order of a catalogue is free, so a compressor puts the rows first that deserve more bytes,
    and where a row is costs nothing.
    """

    name: ClassVar[str] = "mixed"
    first: Codec = field(default=Int8(), metadata={"help": "the codec of the first rows"})
    rest: Codec = field(default=Int4(), metadata={"help": "the codec of the other rows"})
    share: float = field(default=0.1, metadata={"help": "the share of the first rows"})
    heights: tuple[int, ...] = field(
        default=(), metadata={"help": "the numbers of first and other rows; filled in"}
    )

    def __post_init__(self) -> None:
        if not 0 < self.share < 1:
            raise CodecError(f"codec mixed: share: expected between 0 and 1, got {self.share:g}")
        if len(self.heights) not in (0, 2) or any(height < 1 for height in self.heights):
            raise CodecError(f"codec mixed: heights: expected two, got {self.heights}")

    @property
    def learns(self) -> bool:  # type: ignore[override]  # it depends on the parts
        """Whether a part learns what it stores."""
        return any(part.learns for part in self.parts)

    @property
    def parts(self) -> tuple[Codec, ...]:
        """Both codecs."""
        return self.first, self.rest

    def fit(self, matrix: F32) -> Mixed:
        """Count the rows of each codec, and fit both."""
        high, low = self.heights_of(len(matrix))
        return dataclasses.replace(
            self,
            first=self.first.fit(matrix[:high]),
            rest=self.rest.fit(matrix[high:]),
            heights=(high, low),
        )

    def encode(self, matrix: F32) -> dict[str, NDArray[Any]]:
        """Encode both parts."""
        high, _ = self.heights_of(len(matrix))
        return self.named(self.first.encode(matrix[:high]), self.rest.encode(matrix[high:]))

    @staticmethod
    def named(first: Mapping[str, Any], rest: Mapping[str, Any]) -> dict[str, Any]:
        """What belongs to the arrays of both parts, by the names of the whole."""
        return {f"first_{key}": value for key, value in first.items()} | {
            f"rest_{key}": value for key, value in rest.items()
        }

    def decode(self, arrays: Arrays, rows: NDArray[Any] | slice) -> F32:
        """Decode each row with its codec."""
        decode = [
            functools.partial(part.decode, self._of(arrays, prefix))
            for part, prefix in zip(self.parts, ("first_", "rest_"), strict=True)
        ]
        return rows_of_parts(decode, self.heights, rows)

    def structure(self, arrays: Arrays) -> Structure | None:
        """A partition, if both codecs declare a structure."""
        first = self.first.structure(self._of(arrays, "first_"))
        rest = self.rest.structure(self._of(arrays, "rest_"))
        return None if first is None or rest is None else Partition((first, rest), self.heights)

    def take(self, arrays: Arrays, rows: NDArray[Any]) -> tuple[Codec, dict[str, NDArray[Any]]]:
        """Keep rows in their codecs, unless their order mixes both or one of them has none left."""
        is_first = rows < self.heights[0]
        kept = int(is_first.sum())
        if kept == len(rows):
            return self.first.take(self._of(arrays, "first_"), rows)
        if kept == 0:
            return self.rest.take(self._of(arrays, "rest_"), rows - self.heights[0])
        if not is_first[:kept].all():
            return super().take(arrays, rows)
        first = self.first.take(self._of(arrays, "first_"), rows[:kept])
        rest = self.rest.take(self._of(arrays, "rest_"), rows[kept:] - self.heights[0])
        codec = Mixed(first[0], rest[0], self.share, (kept, len(rows) - kept))
        return codec, self.named(first[1], rest[1])

    def check(self, arrays: Arrays, n: int, d: int) -> None:
        """Check the layout, and both parts by their own codecs."""
        super().check(arrays, n, d)
        high, low = self.heights_of(n)
        self.first.check(self._of(arrays, "first_"), high, d)
        self.rest.check(self._of(arrays, "rest_"), low, d)

    def layout(self, n: int, d: int) -> dict[str, tuple[str, tuple[int, ...]]]:
        """The arrays of both parts."""
        high, low = self.heights_of(n)
        return self.named(self.first.layout(high, d), self.rest.layout(low, d))

    def heights_of(self, n: int) -> tuple[int, int]:
        """The numbers of rows of both parts, which have at least one each."""
        if sum(self.heights) == n:
            return self.heights[0], self.heights[1]
        if n < 2:
            raise CodecError(f"codec mixed: expected at least 2 rows, got {n}")
        high = min(max(1, round(self.share * n)), n - 1)
        return high, n - high

    @staticmethod
    def _of(arrays: Arrays, prefix: str) -> dict[str, NDArray[Any]]:
        return {k.removeprefix(prefix): a for k, a in arrays.items() if k.startswith(prefix)}
