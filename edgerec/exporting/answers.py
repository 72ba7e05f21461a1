"""The oracle's answers to histories, and how the lists of an artefact compare with them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgerec.contracts.runner import CANDIDATES, Artefact
from edgerec.errors import TargetError
from edgerec.model.device_model import DeviceModel
from edgerec.model.history import pad_left, read_history
from edgerec.model.integers import F32
from edgerec.model.oracle import Oracle

__all__ = [
    "TIE",
    "Answer",
    "Answers",
    "Parity",
    "ask",
    "compare_lists",
    "measure_parity",
    "tied_overlap",
]

#: Scores whose difference, relative to the highest absolute score, is below this are equal.
TIE = 1e-6

#: What an artefact returned for one history: its outputs and, if it has the function, the scores of
#: the candidates that were given.
Answer = tuple[NDArray[Any], ...]


@dataclass(frozen=True)
class Parity:
    """How an artefact's lists compare with the oracle's.

    Args:
        overlap: the share of the top K that the oracle has as well; ties within ``TIE`` are equal.
        score_error: the largest relative difference of a returned score or user vector.
        histories: the number of histories compared.
    """

    overlap: float
    score_error: float
    histories: int


@dataclass(frozen=True)
class _Truth:
    """What the oracle computes for one history.

    Args:
        user: float32[1, d].
        high: the logits of the rows that belong to the top k, ties included, by row.
        seen: the rows that must not be returned.
        least: the number of rows that have to be returned.
    """

    user: F32
    high: dict[int, float]
    seen: frozenset[int]
    least: int


class Answers:
    """The oracle's answers for some histories, computed once for all runtimes.

    Each answer keeps only the rows that belong to the top k (ties included), not all n scores.

    Args:
        model: the model.
        histories: rows of past items, oldest first, one array per history.
        k: the length of the lists to compare.
        weights: float32, the weight that the user gives to each past item; 1 by default. Signature
            2 passes them on only if the model declares them.
        version: the version of the artefact's signature.
    """

    def __init__(
        self,
        model: DeviceModel,
        histories: Sequence[NDArray[Any]],
        k: int,
        weights: Sequence[F32] | None = None,
        version: int = 2,
    ) -> None:
        self.oracle, self.k, self.version = Oracle(model), min(k, len(model.items)), version
        #: What to call the artefact with, one tuple of arrays per history.
        self.inputs: list[tuple[NDArray[Any], ...]] = []
        #: The candidates to score for each history, int32[C], with padding.
        self.candidates: list[NDArray[np.int32]] = []
        self._truths: list[_Truth] = []
        rng = np.random.default_rng(len(histories))
        for number, rows in enumerate(histories):
            own = np.ones(len(rows), np.float32) if weights is None else weights[number]
            self._add(np.asarray(rows, np.int32), own, rng)

    def _add(self, rows: NDArray[np.int32], weights: F32, rng: np.random.Generator) -> None:
        oracle, model = self.oracle, self.oracle.model
        given: dict[str, F32] = {}
        if self.version == 1:
            read = oracle.pad(rows, weights)
            self.inputs.append(read)
        else:
            history = pad_left(rows, model.history_length, -1)
            given = {
                name: rng.normal(size=length).astype(np.float32)
                for name, length in model.inputs.items()
            }
            if "weights" in given:
                given["weights"] = pad_left(weights, model.history_length, 0)
            self.inputs.append((history, *given.values()))
            read = read_history(model, history, given.pop("weights", None))
        history, computed = read
        user = oracle.encode(
            history[None], computed[None], **{name: one[None] for name, one in given.items()}
        )
        past = history[history >= 0]
        drops = self.version > 1 and model.leaves_out_seen
        rows_of = past if model.seen_rows is None else model.seen_rows[past]
        seen = frozenset(rows_of[rows_of >= 0].tolist()) if drops else frozenset()
        # A runtime may read another one of several blocks that equal the last one.
        ties = (0.0,) if model.head.blocks is None else (-TIE, TIE)
        every = [oracle.logits(user, tie)[0] for tie in ties]
        for scores in every:
            scores[list(seen)] = -np.inf
        sure, logits = every[0], every[-1]
        n = len(model.items)
        k = min(self.k, n - len(seen))
        least = np.inf
        if k:
            least = _least(sure, k) if np.isfinite(sure).sum() >= k else -np.inf
        high = np.flatnonzero((logits >= least) & np.isfinite(logits))
        pairs = zip(high.tolist(), logits[high].tolist(), strict=True)
        self._truths.append(_Truth(user, dict(pairs), seen, k if drops else min(n, k + len(past))))
        some = rng.integers(0, n, CANDIDATES).astype(np.int32)
        some[:3] = 0, n - 1, -1
        some[CANDIDATES // 2 :: 7] = -1
        self.candidates.append(some)

    def compare(self, number: int, answer: Answer) -> tuple[float, float]:
        """The overlap and the relative score error of what was returned for a history.

        Raises:
            TargetError: it is not what the signature says.
        """
        truth, oracle = self._truths[number], self.oracle
        ids, scores = _checked(answer, self.version)
        if len(ids) < truth.least:
            raise TargetError(
                f"the artefact: expected at least {truth.least} items, got {len(ids)}"
            )
        n = len(oracle.model.items)
        if len(np.unique(ids)) != len(ids) or np.any((ids < 0) | (ids >= n)):
            raise TargetError("the artefact returned a row twice, or a row outside the catalogue")
        if truth.seen & set(ids.tolist()):
            raise TargetError("the artefact returned an item of the history")
        error = 0.0
        if self.version > 1:
            user = answer[2]
            if user.shape != truth.user[0].shape or user.dtype != np.float32:
                raise TargetError(
                    f"the artefact: expected user float32[{truth.user.shape[1]}], got "
                    f"{user.dtype}{list(user.shape)}"
                )
            error = _relative(user, truth.user[0])
        if len(answer) > 3:
            error = max(error, self._error_of_scores(number, answer[3]))
        k = min(self.k, truth.least)
        if not k:
            return 1.0, error
        top = ids[:k]
        found = [truth.high.get(row) for row in top.tolist()]
        overlap = sum(value is not None for value in found) / k
        if None in found:
            # Some rows are outside the oracle's list, but their scores are still checked.
            found = oracle.score_rows(truth.user, oracle.candidates[top])[0].tolist()
        expected = oracle.finish(np.array(found, np.float32))
        return overlap, max(error, _relative(scores[:k], expected))

    def _error_of_scores(self, number: int, scores: NDArray[Any]) -> float:
        """The relative error of the scores of the given candidates."""
        oracle, rows = self.oracle, self.candidates[number]
        if scores.shape != rows.shape or scores.dtype != np.float32:
            raise TargetError(
                f"the artefact's function score: expected float32[{len(rows)}], got "
                f"{scores.dtype}{list(scores.shape)}"
            )
        logits = oracle.score_rows(self._truths[number].user, oracle.candidates[rows])[0]
        return _relative(scores, np.where(rows < 0, np.float32(0), oracle.finish(logits)))


def ask(artefact: Artefact, inputs: Sequence[NDArray[Any]], rows: NDArray[np.int32]) -> Answer:
    """Call an artefact, and its function ``score`` if it has one.

    Raises:
        TargetError: it returned something that is not a tuple of arrays.
    """
    found = artefact(*inputs)
    if not isinstance(found, tuple) or not all(isinstance(one, np.ndarray) for one in found):
        raise TargetError(
            f"the artefact: expected the arrays ids and scores, got {type(found).__name__}"
        )
    score = getattr(artefact, "score", None)
    return found if score is None else (*found, score(*inputs, rows))


def measure_parity(artefact: Artefact, answers: Answers) -> Parity:
    """Run an artefact on the histories of the oracle's answers and compare the top k.

    Raises:
        TargetError: the artefact returned something that is not a list of recommendations.
    """
    pairs = zip(answers.inputs, answers.candidates, strict=True)
    return compare_lists((ask(artefact, *pair) for pair in pairs), answers)


def compare_lists(lists: Iterable[Answer], answers: Answers) -> Parity:
    """Compare what an artefact returned with the oracle's answers, history by history.

    Raises:
        TargetError: a result is not what the signature says: it has the wrong types, is too short
            for k unseen items, is out of order, or contains a row twice, a row outside the
            catalogue or a past item.
    """
    found = [answers.compare(number, answer) for number, answer in enumerate(lists)]
    overlaps, errors = zip(*found, strict=True)
    return Parity(float(np.mean(overlaps)), float(np.max(errors)), len(found))


def tied_overlap(top: NDArray[Any], scores: F32, k: int, tie: float = TIE) -> float:
    """The share of the k best rows by ``scores`` that are in ``top``, with ties counted as equal.

    A returned row counts if its score is at least the k-th best score minus ``tie`` times the
    highest absolute score.

    Args:
        top: int[≤k], returned rows.
        scores: float32[n], the oracle's scores of all items.
        k: the cut-off.
        tie: the relative difference below which scores are equal.
    """
    k = min(k, len(scores))
    return float((scores[np.asarray(top[:k])] >= _least(scores, k, tie)).sum()) / k


def _relative(found: F32, expected: F32) -> float:
    """The greatest difference, relative to the highest absolute value."""
    if not np.isfinite(found).all():
        return float("inf")
    scale = max(float(np.abs(expected).max()), 1e-12)
    return float(np.abs(found - expected).max()) / scale


def _least(scores: F32, k: int, tie: float = TIE) -> float:
    """The lowest score that belongs to the k best, ties included."""
    kth = np.partition(scores, -k)[-k]
    return float(kth - tie * float(np.abs(scores[np.isfinite(scores)]).max()))


def _checked(answer: Answer, version: int) -> tuple[NDArray[np.int32], F32]:
    """The rows and scores of a list that meets its contract, without places that have no row."""
    if len(answer) < version + 1:
        raise TargetError(
            f"the artefact: expected {version + 1} arrays, ids and scores first, got {len(answer)}"
        )
    ids, scores = answer[:2]
    if ids.dtype != np.int32 or scores.dtype != np.float32:
        raise TargetError(
            f"the artefact: expected int32 ids and float32 scores, got {ids.dtype} and "
            f"{scores.dtype}"
        )
    if ids.ndim != 1 or ids.shape != scores.shape:
        raise TargetError(
            f"the artefact: expected one score per id, got shapes {ids.shape} and {scores.shape}"
        )
    if not np.isfinite(scores).all():
        raise TargetError("the artefact: expected finite scores, got NaN or infinity")
    if version > 1:
        count = int((ids >= 0).sum())
        if np.any(ids[count:] != -1) or np.any(scores[count:] != 0):
            raise TargetError(
                "the artefact: expected -1 with a score of 0 after the last row, and nowhere else"
            )
        ids, scores = ids[:count], scores[:count]
    # Neighbors may swap places by rounding, because a runtime's sigmoid is not quite monotonic.
    if ids.size and np.any(np.diff(scores) > TIE * np.abs(scores).max()):
        raise TargetError("the artefact returned scores out of order; the highest must come first")
    return ids, scores
