"""Does an artefact compute what its model does? Conversion is no proof; this is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgerec.device_model import DeviceModel
from edgerec.errors import TargetError
from edgerec.metrics import TIE, tied_overlap
from edgerec.reference import Reference

if TYPE_CHECKING:
    from edgerec.bundle import Bundle
    from edgerec.target import Runner, Target

__all__ = ["Parity", "check_parity", "measure_parity", "sample_histories"]

#: A bundle must return the oracle's list but for this share, and its scores but for this
#: relative error (of the highest absolute score in the list).
MIN_OVERLAP = 0.999
MAX_SCORE_ERROR = 1e-4


@dataclass(frozen=True)
class Parity:
    """How an artefact's lists compare with the oracle's.

    Args:
        overlap: share of the top K that the oracle has too; ties within ``TIE`` are equal.
        score_error: largest relative difference of a returned score.
        histories: how many were compared.
    """

    overlap: float
    score_error: float
    histories: int


def sample_histories(model: DeviceModel, count: int, seed: int = 0) -> list[NDArray[np.int32]]:
    """Random histories, of lengths from one to the model's limit, skewed to short ones."""
    rng = np.random.default_rng(seed)
    longest = min(model.history_length, len(model.items))
    lengths = np.exp(rng.uniform(0, np.log(longest + 1), count)).astype(int).clip(1, longest)
    return [rng.choice(len(model.items), n, replace=False).astype(np.int32) for n in lengths]


def measure_parity(
    runner: Runner, model: DeviceModel, histories: Sequence[NDArray[Any]], k: int = 20
) -> Parity:
    """Run an artefact and the oracle on the same histories and compare their top k.

    Raises:
        TargetError: what the artefact returned is no list: of the wrong types, too short for k
            unseen items, out of order, or with rows that are twice or nowhere.
    """
    oracle = Reference(model)
    overlaps, errors = [], []
    for rows in histories:
        history, weights = oracle.pad(rows)
        least = min(len(model.items), k + min(len(rows), len(history)))
        ids, scores = _checked(runner(history, weights), least)
        logits = oracle.logits(oracle.encode(history[None], weights[None]))[0]
        if len(np.unique(ids)) != len(ids) or np.any((ids < 0) | (ids >= len(model.items))):
            raise TargetError("the artefact returned a row twice, or one outside the catalogue")
        top = ids[:k]
        overlaps.append(tied_overlap(top, logits, k))
        expected = oracle.finish(logits[top])
        scale = max(float(np.abs(expected).max()), 1e-12)
        errors.append(float(np.abs(scores[:k] - expected).max()) / scale)
    return Parity(float(np.mean(overlaps)), float(np.max(errors)), len(overlaps))


def _checked(found: Any, least: int) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """A list as ``Runner`` promises it, of at least so many items."""
    match found:
        case (np.ndarray() as ids, np.ndarray() as scores):
            pass
        case _:
            raise TargetError(
                f"the artefact returned {type(found).__name__}, not the arrays ids and scores"
            )
    if (ids.dtype, scores.dtype) != (np.int32, np.float32):
        raise TargetError(
            f"the artefact returned {ids.dtype} ids and {scores.dtype} scores, not int32 and "
            "float32"
        )
    if ids.ndim != 1 or ids.shape != scores.shape:
        raise TargetError(
            f"the artefact returned {ids.shape} ids and {scores.shape} scores: not a pair each"
        )
    if len(ids) < least:
        raise TargetError(f"the artefact returned {len(ids)} items, at least {least} are needed")
    if not np.isfinite(scores).all():
        raise TargetError("the artefact returned scores that are not finite numbers")
    # Neighbours may change places by rounding: a runtime's sigmoid does not quite rise.
    if np.any(np.diff(scores) > TIE * np.abs(scores).max()):
        raise TargetError("the artefact returned scores out of order: the highest come first")
    return ids, scores


def check_parity(
    bundle: Bundle, target: Target, model: DeviceModel, runtime: str, count: int = 24
) -> Parity:
    """Load a bundle in a runtime and compare it with the oracle.

    Raises:
        TargetError: it computes something else; the message gives the figures.
    """
    runner = target.load(bundle, runtime=runtime)
    k = min(20, bundle.signature.top_k)
    parity = measure_parity(runner, model, sample_histories(model, count), k)
    if parity.overlap < MIN_OVERLAP or not parity.score_error <= MAX_SCORE_ERROR:
        raise TargetError(
            f"target {target.name} on {runtime}: the artefact differs from the model: top-{k} "
            f"overlap {parity.overlap:.4f} (at least {MIN_OVERLAP}), score error "
            f"{parity.score_error:.2e} (at most {MAX_SCORE_ERROR:.0e}); nothing was written"
        )
    return parity
