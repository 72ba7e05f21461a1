"""Weighing: how much an interaction counts, by its kind of event or by its rating."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import polars as pl

from edgerec.data.columns import refuse
from edgerec.data.sheets import Sheet
from edgerec.errors import DataError
from edgerec.model.history import GREATEST_WEIGHT, LEAST_WEIGHT

__all__ = ["Weighing", "parse_event_weights"]

#: Kinds of events are stored in a byte.
_MOST_KINDS = 256


@dataclass(frozen=True)
class Weighing:
    """What determines the weight of an interaction; by default, all count alike.

    Args:
        events: the weight of each kind of event; interactions whose kind has weight 0 are dropped.
        by_rating: whether the rating is the weight.

    Raises:
        DataError: both are set, or a weight is out of range.
    """

    events: Mapping[str, float] = field(default_factory=dict)
    by_rating: bool = False

    def __post_init__(self) -> None:
        if self.events and self.by_rating:
            raise DataError("weigh_ratings: set event_weights or weigh_ratings, not both")
        for kind, weight in self.events.items():
            if weight != 0 and not LEAST_WEIGHT <= weight <= GREATEST_WEIGHT:
                raise DataError(
                    f"event_weights: {kind}: expected 0, to drop it, or a number from "
                    f"{LEAST_WEIGHT:g} to {GREATEST_WEIGHT:g}, got {weight:g}"
                )
        if self.events and not any(self.events.values()):
            raise DataError("event_weights: every kind has weight 0, which leaves nothing")

    def apply(
        self, sheet: Sheet, raw: pl.DataFrame, found: Mapping[str, str], frame: pl.DataFrame
    ) -> pl.DataFrame:
        """Add the column ``weight`` where interactions are weighed, and drop those of weight 0.

        Args:
            sheet: the file, for messages.
            raw: its columns, with the number of each row.
            found: the column of each role.
            frame: the columns of the roles, read.

        Raises:
            DataError: the column is missing, a kind of event has no weight, or a rating is out of
                range.
        """
        if self.by_rating:
            if "rating" not in found:
                raise DataError(
                    f"{sheet.path}: weigh_ratings is set, but there is no rating column"
                )
            rating = frame["rating"]
            wrong = (rating < LEAST_WEIGHT) | (rating > GREATEST_WEIGHT)
            if wrong.any():
                expected = f"expected a rating from {LEAST_WEIGHT:g} to {GREATEST_WEIGHT:g}"
                refuse(sheet, raw, rating, wrong, found["rating"], expected, ", as its weight")
            return frame.with_columns(rating.alias("weight"))
        if "event" not in found:
            return frame
        if (count := frame["event"].n_unique()) > _MOST_KINDS:
            raise DataError(
                f"{sheet.path}: column {found['event']!r} has {count:,} kinds of events, more than "
                f"{_MOST_KINDS}; name the column of the kind"
            )
        if not self.events:
            return frame
        unknown = ~frame["event"].is_in([*self.events])
        if unknown.any():
            names = ", ".join(self.events)
            refuse(
                *(sheet, raw, frame["event"], unknown, found["event"]),
                f"expected a kind of event with a weight ({names})",
                "; give it one, or 0 to drop it",
            )
        weight = frame["event"].replace_strict(dict(self.events), return_dtype=pl.Float64)
        frame = frame.with_columns(weight.alias("weight")).filter(pl.col("weight") > 0)
        if frame.is_empty():
            raise DataError(f"{sheet.path}: every interaction is of a kind with weight 0")
        return frame


def parse_event_weights(text: str) -> dict[str, float]:
    """Read ``view=1,cart=3,buy=10``.

    Raises:
        DataError: it has another form, or names a kind twice.
    """
    found: dict[str, float] = {}
    for part in text.split(","):
        kind, equals, weight = (word.strip() for word in part.rpartition("="))
        try:
            number = float(weight)
        except ValueError:
            number = float("nan")
        if not (kind and equals) or number != number or kind in found:
            raise DataError(
                f"event_weights: expected view=1,cart=3,buy=10, each kind once, got {text!r:.60}"
            )
        found[kind] = number
    return found
