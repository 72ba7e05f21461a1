"""Recommendations: what a Scorer returns."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["Recommendation", "Recommendations"]


@dataclass(frozen=True)
class Recommendation:
    """One recommended item."""

    id: str
    title: str
    score: float


class Recommendations(list[Recommendation]):
    """Recommended items, best first, and how the history was read.

    Attributes:
        unknown: ids in the history that are not in the catalogue; they were skipped.
        truncated: the number of oldest past items beyond the model's limit, which it did not
            read. They are not recommended either.
        fallback: whether no id in the history was known, so that these are the most popular
            items, or those with the longest rows if the model does not say which are popular
            (``Bundle.fallback``), with NaN as their score.
    """

    def __init__(
        self, items: Iterable[Recommendation], unknown: list[str], truncated: int, fallback: bool
    ) -> None:
        super().__init__(items)
        self.unknown = unknown
        self.truncated = truncated
        self.fallback = fallback
