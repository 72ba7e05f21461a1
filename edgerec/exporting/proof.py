"""The proof on export: does an artefact compute what its model does?

A successful conversion proves nothing. Therefore the artefact is loaded in its real runtime and run
on sample histories, and its lists and scores are compared with the oracle's.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgerec.contracts.bundle import Bundle
from edgerec.contracts.host import Host
from edgerec.contracts.runner import Artefact
from edgerec.contracts.signature import Signature
from edgerec.contracts.target import Target
from edgerec.errors import EdgerecError, TargetError
from edgerec.exporting.worker import LoadError, shared_worker
from edgerec.model.codecs import F32
from edgerec.model.device_model import DeviceModel
from edgerec.model.oracle import Oracle

__all__ = [
    "MAX_SCORE_ERROR",
    "MIN_OVERLAP",
    "TIE",
    "Answers",
    "InexactError",
    "Parity",
    "Proof",
    "adverse_histories",
    "compare_lists",
    "measure_parity",
    "runs_elsewhere",
    "sample_histories",
    "tied_overlap",
    "uneven_weights",
]

#: The least overlap of an artefact's top K with the oracle's.
MIN_OVERLAP = 0.999

#: The greatest error of a score, relative to the highest absolute score in the list.
MAX_SCORE_ERROR = 1e-4

#: Scores whose difference, relative to the highest absolute score, is below this are equal.
TIE = 1e-6

#: The number of histories in a proof on export, and the length of the compared lists.
_HISTORIES, _TOP = 24, 20


class InexactError(TargetError):
    """An artefact does not compute what its model computes."""


@dataclass(frozen=True)
class Parity:
    """How an artefact's lists compare with the oracle's.

    Args:
        overlap: the share of the top K that the oracle has as well; ties within ``TIE`` are equal.
        score_error: the largest relative difference of a returned score.
        histories: the number of histories compared.
    """

    overlap: float
    score_error: float
    histories: int


class Answers:
    """The oracle's answers for some histories, computed once for all runtimes.

    Each answer keeps only the rows that belong to the top k (ties included), not all n scores.

    Args:
        model: the model.
        histories: rows of past items, oldest first, one array per history.
        k: the length of the lists to compare.
        weights: float32, the weight that the user gives to each past item; 1 by default.
    """

    def __init__(
        self,
        model: DeviceModel,
        histories: Sequence[NDArray[Any]],
        k: int,
        weights: Sequence[F32] | None = None,
    ) -> None:
        self.oracle, self.k = Oracle(model), min(k, len(model.items))
        pad = self.oracle.pad
        self.inputs = (
            [pad(rows) for rows in histories]
            if weights is None
            else [pad(*pair) for pair in zip(histories, weights, strict=True)]
        )
        self.past = [min(len(rows), model.history_length) for rows in histories]
        self._answers = [self._answer(*pair) for pair in self.inputs]

    def _answer(self, history: NDArray[np.int32], weights: F32) -> tuple[F32, dict[int, float]]:
        """The user vector float32[1, d], and the logits of the rows in the top k, by row."""
        user = self.oracle.encode(history[None], weights[None])
        logits = self.oracle.logits(user)[0]
        high = np.flatnonzero(logits >= _least(logits, self.k))
        return user, dict(zip(high.tolist(), logits[high].tolist(), strict=True))

    def compare(self, number: int, ids: NDArray[Any], scores: F32) -> tuple[float, float]:
        """The overlap and the relative score error of a list that was returned for a history."""
        user, logits = self._answers[number]
        top = ids[: self.k]
        found = [logits.get(row) for row in top.tolist()]
        overlap = sum(value is not None for value in found) / self.k
        if None in found:
            # Some rows are outside the oracle's list, but their scores are still checked.
            candidates = self.oracle.candidates[top]
            found = self.oracle.score_rows(user, candidates)[0].tolist()
        expected = self.oracle.finish(np.array(found, np.float32))
        scale = max(float(np.abs(expected).max()), 1e-12)
        return overlap, float(np.abs(scores[: self.k] - expected).max()) / scale


class Proof:
    """Proves the artefacts of one model, in each of a target's runtimes.

    An installed target runs in a worker process, so that a crash of its runtime becomes a refusal
    with a reason. A target that is not installed, such as a class defined in a notebook, cannot be
    found by another process, so it runs in this one.

    Args:
        model: the model that was lowered.
        signature: the shape of the artefact's call.
    """

    def __init__(self, model: DeviceModel, signature: Signature) -> None:
        self.model, self.k = model, min(_TOP, signature.top_k)
        self.codecs = {table.codec.name: type(table.codec) for table in model.tables.values()}

    @functools.cached_property
    def _answers(self) -> Answers:
        histories = adverse_histories(self.model, _HISTORIES)
        weights = uneven_weights(histories, seed=1)
        return Answers(self.model, histories, self.k, weights)

    def check(self, bundle: Bundle, target: Target, runtime: str) -> Parity:
        """Load a bundle in a runtime and compare it with the oracle.

        Raises:
            LoadError: the runtime cannot load the bundle, or crashed.
            InexactError: the artefact computes something else; the message contains the figures.
            TargetError: what it returned is not a list of recommendations.
        """
        if runs_elsewhere(target, self.model):
            lists = shared_worker().run(
                bundle.path, target.name, vars(target), runtime, self._answers.inputs
            )
            parity = compare_lists(lists, self._answers)
        else:
            try:
                artefact = target.load(bundle, runtime=runtime)
            except Exception as error:
                text = str(error) if isinstance(error, EdgerecError) else ""
                raise LoadError(text or f"{type(error).__name__}: {error}") from error
            parity = measure_parity(artefact, self._answers)
        if parity.overlap < MIN_OVERLAP or not parity.score_error <= MAX_SCORE_ERROR:
            raise InexactError(
                f"the artefact differs from the model: top-{self.k} overlap {parity.overlap:.4f} "
                f"(at least {MIN_OVERLAP}), score error {parity.score_error:.2e} (at most "
                f"{MAX_SCORE_ERROR:.0e}); nothing was written"
            )
        return parity


def runs_elsewhere(target: Target, model: DeviceModel) -> bool:
    """Whether another process finds the same target and codecs among the installed plugins."""
    host = Host.installed()
    return host.targets.get(target.name) is type(target) and all(
        host.codecs.get(table.codec.name) is type(table.codec) for table in model.tables.values()
    )


def sample_histories(model: DeviceModel, count: int, seed: int = 0) -> list[NDArray[np.int32]]:
    """Random histories with lengths from one to the model's limit, skewed toward short ones."""
    rng = np.random.default_rng(seed)
    longest = min(model.history_length, len(model.items))
    lengths = np.exp(rng.uniform(0, np.log(longest + 1), count)).astype(int).clip(1, longest)
    return [rng.choice(len(model.items), n, replace=False).astype(np.int32) for n in lengths]


def adverse_histories(model: DeviceModel, count: int, seed: int = 0) -> list[NDArray[np.int32]]:
    """Histories chosen to expose errors of an artefact.

    They are random histories of all lengths, the shortest and the longest that the model reads, one
    that is longer, and the first and the last row of the catalogue.
    """
    n, h = len(model.items), model.history_length
    rng = np.random.default_rng(seed)
    longer = rng.choice(n, min(n, h + 3), replace=False).astype(np.int32)
    chosen = [
        np.array([0], np.int32),
        np.array([n - 1], np.int32),
        longer[-h:],
        longer,
        np.array([n - 1, 0], np.int32)[: min(n, 2)],
    ]
    return chosen + sample_histories(model, max(count - len(chosen), 1), seed)


def uneven_weights(histories: Sequence[NDArray[Any]], seed: int = 0) -> list[F32]:
    """One weight per past item of each history, log-uniform over three orders of magnitude."""
    rng = np.random.default_rng(seed)
    return [
        np.exp(rng.uniform(np.log(0.03), np.log(30), len(rows))).astype(np.float32)
        for rows in histories
    ]


def measure_parity(artefact: Artefact, answers: Answers) -> Parity:
    """Run an artefact on the histories of the oracle's answers and compare the top k.

    Raises:
        TargetError: the artefact returned something that is not a list of recommendations.
    """
    return compare_lists((artefact(*pair) for pair in answers.inputs), answers)


def compare_lists(lists: Iterable[Any], answers: Answers) -> Parity:
    """Compare what an artefact returned with the oracle's answers, history by history.

    Raises:
        TargetError: a result is not a list of recommendations: it has the wrong types, is too short
            for k unseen items, is out of order, or contains a row twice or a row outside the
            catalogue.
    """
    n, k = len(answers.oracle.model.items), answers.k
    overlaps, errors = [], []
    for number, found in enumerate(lists):
        least = min(n, k + answers.past[number])
        ids, scores = _checked(found, least)
        if len(np.unique(ids)) != len(ids) or np.any((ids < 0) | (ids >= n)):
            raise TargetError("the artefact returned a row twice, or a row outside the catalogue")
        overlap, error = answers.compare(number, ids, scores)
        overlaps.append(overlap)
        errors.append(error)
    return Parity(float(np.mean(overlaps)), float(np.max(errors)), len(overlaps))


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


def _least(scores: F32, k: int, tie: float = TIE) -> float:
    """The lowest score that belongs to the k best, ties included."""
    kth = np.partition(scores, -k)[-k]
    return float(kth - tie * float(np.abs(scores).max()))


def _checked(found: Any, least: int) -> tuple[NDArray[np.int32], F32]:
    """Check that a list meets the contract of ``Artefact`` and has at least ``least`` items."""
    match found:
        case (np.ndarray() as ids, np.ndarray() as scores):
            pass
        case _:
            raise TargetError(
                f"the artefact: expected the arrays ids and scores, got {type(found).__name__}"
            )
    if (ids.dtype, scores.dtype) != (np.int32, np.float32):
        raise TargetError(
            f"the artefact: expected int32 ids and float32 scores, got {ids.dtype} and "
            f"{scores.dtype}"
        )
    if ids.ndim != 1 or ids.shape != scores.shape:
        raise TargetError(
            f"the artefact: expected one score per id, got shapes {ids.shape} and {scores.shape}"
        )
    if len(ids) < least:
        raise TargetError(f"the artefact: expected at least {least} items, got {len(ids)}")
    if not np.isfinite(scores).all():
        raise TargetError("the artefact: expected finite scores, got NaN or infinity")
    # Neighbors may swap places by rounding, because a runtime's sigmoid is not quite monotonic.
    if np.any(np.diff(scores) > TIE * np.abs(scores).max()):
        raise TargetError("the artefact returned scores out of order; the highest must come first")
    return ids, scores
