"""Calls of an artefact, from the rows of a history to a list of rows, in either signature."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgerec.contracts.bundle import Bundle
from edgerec.contracts.runner import CANDIDATES, Artefact
from edgerec.errors import TargetError
from edgerec.model.attribution import attribute_errors
from edgerec.model.history import pad_history, pad_left
from edgerec.model.integers import F32

__all__ = ["Call", "Found", "Past"]

#: By how much a score may exceed the one before it, relative to the highest.
_ROUNDING = 1e-4


@dataclass(frozen=True)
class Past:
    """What is known about a user.

    Args:
        rows: rows of past items, oldest first, repeats merged if the model merges them.
        seen: rows of the catalogue that are not to be recommended because they are in the past.
        weights: the weight of each past item; none if all are 1.
        inputs: the further inputs that the model declares, by name.
    """

    rows: Sequence[int]
    seen: frozenset[int]
    weights: Sequence[float] | None
    inputs: Mapping[str, F32]


@dataclass(frozen=True)
class Found:
    """What an artefact returned: rows with their scores, best first, and the user vector.

    Signature 1 has no user vector, and its rows include those of past items.
    """

    rows: list[int]
    scores: list[float]
    user: F32 | None


class Call:
    """Calls a loaded artefact and checks what it returns.

    Args:
        bundle: the bundle that it was loaded from.
        artefact: the artefact.
        who: what to name in messages.
    """

    def __init__(self, bundle: Bundle, artefact: Artefact, who: str) -> None:
        self.bundle, self.artefact, self.who = bundle, artefact, who
        self.signature = bundle.signature

    def recommend(self, past: Past) -> Found:
        """The best rows for a history.

        Raises:
            TargetError: the artefact failed, or returned something that is not such a list.
        """
        inputs = self._inputs(past)
        with attribute_errors(self.who, TargetError):
            found = self.artefact(*inputs)
        return self._found(found)

    def recommend_batch(self, pasts: Sequence[Past]) -> list[Found]:
        """The best rows for each of several histories.

        Raises:
            TargetError: as for ``recommend``.
        """
        batch = getattr(self.artefact, "batch", None)
        if batch is None or not pasts:
            return [self.recommend(past) for past in pasts]
        columns = zip(*map(self._inputs, pasts), strict=True)
        with attribute_errors(self.who, TargetError):
            outputs = batch(*map(np.stack, columns))
            each = list(zip(*outputs, strict=True))
        return [self._found(found) for found in each]

    def _found(self, found: Sequence[Any]) -> Found:
        """Check what the artefact returned for a history."""
        with attribute_errors(self.who, TargetError):
            ids, scores, *rest = found
            right = ids.ndim == 1 and ids.shape == scores.shape and ids.dtype == np.int32
            right = right and len(rest) == self.signature.version - 1
        if not right or not np.isfinite(scores).all():
            raise self._damaged("something other than rows with finite scores")
        user = rest[0] if rest else None
        if user is not None and not (user.dtype == np.float32 and np.isfinite(user).all()):
            raise self._damaged("a user vector that is not finite")
        if self.signature.version > 1:
            # Places without a row come last.
            count = int((ids >= 0).sum())
            if np.any(ids[count:] != -1) or np.any(scores[count:]):
                raise self._damaged("places without a row before the end of the list")
            ids, scores = ids[:count], scores[:count]
        inside = not ids.size or 0 <= ids.min() <= ids.max() < self.signature.items
        if not inside or len(set(ids.tolist())) < len(ids):
            raise self._damaged("a row outside the catalogue, or a row twice")
        # Neighbors may swap places by rounding.
        if ids.size and np.any(np.diff(scores) > _ROUNDING * np.abs(scores).max()):
            raise self._damaged("scores out of order")
        return Found(ids.tolist(), scores.tolist(), user)

    @property
    def scores_rows(self) -> bool:
        """Whether the artefact has a function that scores given candidates."""
        return hasattr(self.artefact, "score")

    def score(self, past: Past, rows: NDArray[np.int32]) -> F32:
        """Scores float32[m] of the candidates int32[m].

        Raises:
            TargetError: the artefact failed, or returned something else.
        """
        inputs, found = self._inputs(past), np.empty(len(rows), np.float32)
        for start in range(0, len(rows), CANDIDATES):
            part = rows[start : start + CANDIDATES]
            padded = np.full(CANDIDATES, -1, np.int32)
            padded[: len(part)] = part
            with attribute_errors(self.who, TargetError):
                scores = self.artefact.score(*inputs, padded)  # type: ignore[attr-defined]  # see scores_rows
                right = scores.shape == padded.shape and scores.dtype == np.float32
            if not right or not np.isfinite(scores).all():
                raise self._damaged("something other than finite scores")
            found[start : start + len(part)] = scores[: len(part)]
        return found

    def _inputs(self, past: Past) -> list[NDArray[Any]]:
        """The arrays to call the artefact with."""
        length, rows = self.signature.history_length, np.array(past.rows, np.int32)
        weights = None if past.weights is None else np.array(past.weights, np.float32)
        if self.signature.version == 1:
            bundle = self.bundle
            norm, recency = bundle.normalization, bundle.recency
            return [*pad_history(rows, length, norm, weights, recency=recency)]
        inputs: list[NDArray[Any]] = [pad_left(rows, length, -1)]
        for name in self.signature.inputs:
            if name == "weights":
                given = np.ones(len(rows), np.float32) if weights is None else weights
                inputs.append(pad_left(given, length, 0))
            else:
                inputs.append(past.inputs[name])
        return inputs

    def _damaged(self, what: str) -> TargetError:
        return TargetError(f"{self.who}: returned {what}; the file is damaged")
