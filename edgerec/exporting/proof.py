"""The proof on export: does an artefact compute what its model does?

A successful conversion proves nothing. Therefore the artefact is loaded in its real runtime and run
on sample histories, and its lists and scores are compared with the oracle's.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgerec.contracts.bundle import Bundle
from edgerec.contracts.host import Host
from edgerec.contracts.signature import Signature
from edgerec.contracts.target import Target
from edgerec.errors import EdgerecError, TargetError
from edgerec.exporting.answers import Answers, Parity, compare_lists, measure_parity
from edgerec.exporting.worker import LoadError, shared_worker
from edgerec.model.device_model import DeviceModel
from edgerec.model.integers import F32
from edgerec.model.oracle import Oracle

__all__ = [
    "MAX_SCORE_ERROR",
    "MIN_OVERLAP",
    "InexactError",
    "Proof",
    "adverse_histories",
    "awkward_histories",
    "runs_elsewhere",
    "sample_histories",
    "uneven_weights",
]

#: The least overlap of an artefact's top K with the oracle's.
MIN_OVERLAP = 0.999

#: The greatest error of a score, relative to the highest absolute score in the list.
MAX_SCORE_ERROR = 1e-4

#: The number of histories in a proof on export, and the length of the compared lists.
_HISTORIES, _TOP = 24, 20


class InexactError(TargetError):
    """An artefact does not compute what its model computes."""


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
        self.model, self.k, self.version = model, min(_TOP, signature.top_k), signature.version
        self.codecs = {codec.name: codec for codec in model.codecs}

    @functools.cached_property
    def _answers(self) -> Answers:
        histories = adverse_histories(self.model, _HISTORIES)
        if self.version > 1:
            histories += awkward_histories(self.model)
        weights = uneven_weights(histories, seed=1)
        return Answers(self.model, histories, self.k, weights, self.version)

    def check(self, bundle: Bundle, target: Target, runtime: str) -> Parity:
        """Load a bundle in a runtime and compare it with the oracle.

        Raises:
            LoadError: the runtime cannot load the bundle, or crashed.
            InexactError: the artefact computes something else; the message contains the figures.
            TargetError: what it returned is not a list of recommendations.
        """
        if runs_elsewhere(target, self.model):
            answers = self._answers
            lists = shared_worker().run(
                bundle.path, target.name, vars(target), runtime, answers.inputs, answers.candidates
            )
            parity = compare_lists(lists, answers)
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
        host.codecs.get(codec.name) is codec for codec in model.codecs
    )


def sample_histories(model: DeviceModel, count: int, seed: int = 0) -> list[NDArray[np.int32]]:
    """Random histories with lengths from one to the model's limit, skewed toward short ones."""
    rng = np.random.default_rng(seed)
    n = len(model.history_items)
    longest = min(model.history_length, n)
    lengths = np.exp(rng.uniform(0, np.log(longest + 1), count)).astype(int).clip(1, longest)
    return [rng.choice(n, length, replace=False).astype(np.int32) for length in lengths]


def adverse_histories(model: DeviceModel, count: int, seed: int = 0) -> list[NDArray[np.int32]]:
    """Histories chosen to expose errors of an artefact.

    They are random histories of all lengths, the shortest and the longest that the model reads, one
    that is longer, and the first and the last row of the catalogue.
    """
    n, h = len(model.history_items), model.history_length
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


def awkward_histories(model: DeviceModel, seed: int = 0) -> list[NDArray[np.int32]]:
    """Histories as an app may have them: empty, with repeats, and with places without an item."""
    n, h = len(model.history_items), model.history_length
    rng = np.random.default_rng(seed)
    few, all_the_same = rng.integers(0, n, 2), rng.integers(0, n, 1)
    holes = rng.integers(0, n, h)
    holes[::3] = -1
    every = rng.permutation(n)[:h]
    found = [few.repeat(2), few[[0, 1, 0]], all_the_same.repeat(h), every]
    if _is_defined_for_none(model):
        found.append(np.zeros(0, np.int64))
    return [one.astype(np.int32) for one in found] + [
        holes.astype(np.int32),
        np.where(holes < 0, -7, holes % 5).astype(np.int32),
    ]


def _is_defined_for_none(model: DeviceModel) -> bool:
    """Whether an empty history has a user vector; an encoder may divide by its length, say."""
    oracle, rng = Oracle(model), np.random.default_rng(0)
    history, weights = oracle.pad(np.zeros(0, np.int32))
    own = {name: rng.normal(size=(1, n)).astype(np.float32) for name, n in model.inputs.items()}
    own.pop("weights", None)
    with np.errstate(all="ignore"):
        return bool(np.isfinite(oracle.encode(history[None], weights[None], **own)).all())


def uneven_weights(histories: Sequence[NDArray[Any]], seed: int = 0) -> list[F32]:
    """One weight per past item of each history, log-uniform over three orders of magnitude."""
    rng = np.random.default_rng(seed)
    return [
        np.exp(rng.uniform(np.log(0.03), np.log(30), len(rows))).astype(np.float32)
        for rows in histories
    ]
