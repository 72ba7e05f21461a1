"""The arguments of a recommendation, checked: a history, and a weight per past item."""

from __future__ import annotations

import math
import numbers
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from edgerec.errors import OptionError
from edgerec.model.history import GREATEST_WEIGHT, LEAST_WEIGHT
from edgerec.model.integers import F32

__all__ = ["check_count", "check_history", "check_vector", "check_weight", "check_weights"]


def check_count(k: object, most: int) -> None:
    """Check the number of items to recommend.

    Raises:
        OptionError: it is not an integer, or out of range.
    """
    if isinstance(k, bool) or not isinstance(k, int | np.integer):
        raise OptionError(f"k: expected an integer, got {k!r}")
    if not 1 <= k <= most:
        raise OptionError(
            f"k: this bundle recommends 1 to {most} items, got {k}; build with a larger top_k"
        )


def check_vector(values: object, name: str, length: int) -> F32:
    """Return an input of the model as float32[length].

    Raises:
        OptionError: the model does not read it, or it is not as many finite numbers.
    """
    if not length:
        raise OptionError(f"{name}: this model does not read any")
    if values is None:
        raise OptionError(f"{name}: this model reads {length} numbers; pass them")
    try:
        vector = np.array(_listed(values, name, "a list of numbers"), np.float32)
    except (TypeError, ValueError):
        raise OptionError(f"{name}: expected numbers, got {values!r:.60}") from None
    if vector.shape != (length,) or not np.isfinite(vector).all():
        raise OptionError(f"{name}: expected {length} finite numbers, got {values!r:.60}")
    return vector


def check_history(history: object, name: str = "history") -> Sequence[Any]:
    """Return a history, or another list of ids, as a sequence of ids.

    Raises:
        OptionError: it is not a list, or an element is neither text nor a number.
    """
    past = _listed(history, name, "a list of ids")
    for place, item in enumerate(past):
        if not isinstance(item, str | numbers.Number) or isinstance(item, bool):
            raise OptionError(
                f"{name}[{place}]: expected an id, which is text or a number, got {item!r:.60}"
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


def check_weight(
    weight: object, place: int, kinds: Mapping[str, float], *, signed: bool = False
) -> float:
    """Return one weight.

    Args:
        weight: a number, or the name of a kind of event.
        place: its position, for messages.
        kinds: the weight of each kind of event that the model knows.
        signed: whether it may be negative, for something that was disliked.

    Raises:
        OptionError: it is neither, or too small or too large to compute with in float32.
    """
    if isinstance(weight, str) and weight in kinds:
        return kinds[weight]
    if isinstance(weight, numbers.Real) and not isinstance(weight, bool):
        value = float(weight)
        size = abs(value) if signed else value
        if math.isfinite(value) and LEAST_WEIGHT <= size <= GREATEST_WEIGHT:
            return value
    named = f", or one of {', '.join(kinds)}" if kinds else ""
    raise OptionError(
        f"weights[{place}]: expected a number from {LEAST_WEIGHT:g} to {GREATEST_WEIGHT:g}"
        f"{' (or the negative of one)' if signed else ''}{named}, got {weight!r:.60}"
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
