"""The arguments of a recommendation, checked: a history, and a weight per past item."""

from __future__ import annotations

import math
import numbers
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from edgerec.errors import OptionError
from edgerec.model.history import GREATEST_WEIGHT, LEAST_WEIGHT

__all__ = ["check_history", "check_weight", "check_weights"]


def check_history(history: object) -> Sequence[Any]:
    """Return a history as a sequence of ids.

    Raises:
        OptionError: it is not a list, or an element is neither text nor a number.
    """
    past = _listed(history, "history", "a list of ids")
    for place, item in enumerate(past):
        if not isinstance(item, str | numbers.Number) or isinstance(item, bool):
            raise OptionError(
                f"history[{place}]: expected an id, which is text or a number, got {item!r:.60}"
            )
    return past


def check_weights(weights: object, count: int) -> Sequence[Any]:
    """Return weights as a sequence of ``count`` values.

    Raises:
        OptionError: they are not a list, or not as many as there are past items.
    """
    given = _listed(weights, "weights", "a list of numbers")
    if len(given) != count:
        raise OptionError(f"weights: expected {count}, one per past item, got {len(given)}")
    return given


def check_weight(weight: object, place: int, kinds: Mapping[str, float]) -> float:
    """Return one weight.

    Args:
        weight: a number, or the name of a kind of event.
        place: its position, for messages.
        kinds: the weight of each kind of event that the model knows.

    Raises:
        OptionError: it is neither, or too small or too large to compute with in float32.
    """
    if isinstance(weight, str) and weight in kinds:
        return kinds[weight]
    if isinstance(weight, numbers.Real) and not isinstance(weight, bool):
        value = float(weight)
        if math.isfinite(value) and LEAST_WEIGHT <= value <= GREATEST_WEIGHT:
            return value
    named = f", or one of {', '.join(kinds)}" if kinds else ""
    raise OptionError(
        f"weights[{place}]: expected a number from {LEAST_WEIGHT:g} to {GREATEST_WEIGHT:g}{named}, "
        f"got {weight!r:.60}"
    )


def _listed(values: object, name: str, expected: str) -> Sequence[Any]:
    """A list, a tuple, another sequence, or an array with one axis."""
    if isinstance(values, np.ndarray) and values.ndim == 1:
        return list(values)
    if isinstance(values, Sequence) and not isinstance(
        values, str | bytes | bytearray | memoryview
    ):
        return values
    what = f"the text {values!r:.60}" if isinstance(values, str) else type(values).__name__
    raise OptionError(f"{name}: expected {expected}, got {what}")
