"""Histories that a bundle is measured with, and recommending for one of them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgerec.contracts.bundle import Bundle
from edgerec.device.recommendations import Recommendations
from edgerec.device.scorer import Scorer
from edgerec.errors import DataError

__all__ = ["History", "as_json", "random_histories", "read_histories", "recommend_for"]

#: Ids of past items, most recent last; or each with its weight; or arguments of
#: ``Scorer.recommend`` by name.
History = Sequence[str] | Sequence[tuple[str, float]] | Mapping[str, Any]

#: The arguments that there may be.
_ENTRIES = ("history", "weights", "user_vector", "context")


def recommend_for(scorer: Scorer, history: History, k: int) -> Recommendations:
    """Recommend for a history, which may have what else the model reads.

    If it is a list, further inputs are those of test vectors.
    """
    if isinstance(history, Mapping):
        return scorer.recommend(**history, k=k)
    inputs: dict[str, Any] = {**scorer.signature.example_inputs()}
    if not history or isinstance(history[0], str):
        return scorer.recommend(history, k, **inputs)
    items, inputs["weights"] = zip(*history, strict=True)
    return scorer.recommend(items, k, **inputs)


def as_json(histories: Sequence[History]) -> list[Any]:
    """Histories as JSON values."""
    return [dict(h) if isinstance(h, Mapping) else list(h) for h in histories]


def random_histories(bundle: Bundle, count: int = 200) -> list[History]:
    """Histories of random items that a bundle knows."""
    rng = np.random.default_rng(0)
    past = bundle.past
    longest = min(50, bundle.signature.history_length, len(past))
    rows = [
        rng.choice(len(past), rng.integers(1, longest + 1), replace=False) for _ in range(count)
    ]
    return [[past.ids[int(r)] for r in history] for history in rows]


def read_histories(path: Path) -> list[History]:
    """Read histories as ``as_json`` writes them.

    Raises:
        DataError: the file holds something else.
    """
    try:
        histories = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read as JSON: {error}") from None
    if not isinstance(histories, list) or not all(map(_is_history, histories)):
        raise DataError(
            f"{path}: expected a list of lists of item ids, or of objects with the entries "
            f"{', '.join(_ENTRIES)}"
        )
    return histories


def _is_history(value: object) -> bool:
    if isinstance(value, dict):
        return "history" in value and value.keys() <= {*_ENTRIES}
    return isinstance(value, list) and all(not isinstance(v, list) or len(v) == 2 for v in value)
