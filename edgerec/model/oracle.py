"""The oracle: the numpy interpreter of a DeviceModel, which every target is tested against.

It decodes each table to float32 once and keeps it, so it is exact and simple rather than small.
Devices without another runtime run the ``numpy`` target instead.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgerec.errors import ModelError
from edgerec.model.blocks import Centroids, centroids_of
from edgerec.model.codecs import F32
from edgerec.model.device_model import DeviceModel
from edgerec.model.history import pad_history
from edgerec.model.ops import MASKED, Op
from edgerec.model.ops.elementwise import sigmoid
from edgerec.model.ops.reductions import normalize

__all__ = [
    "Oracle",
    "built_in_values",
    "normalize",
    "numpy_rule",
    "reach_of_top",
    "run_encoder",
    "sigmoid",
    "top_k",
]


class Oracle:
    """Runs a DeviceModel on batches of histories, in float32."""

    def __init__(self, model: DeviceModel) -> None:
        self.model = model

    @functools.cached_property
    def tables(self) -> Mapping[str, F32]:
        """Decoded tables, by name."""
        return {name: table.decode() for name, table in self.model.tables.items()}

    @functools.cached_property
    def candidates(self) -> F32:
        """The rows that are scored, float32[n, d]; a cosine head sees them at unit length."""
        table = self.tables[self.model.head.table]
        return normalize(table) if self.model.head.kind == "cosine" else table

    def pad(
        self, rows: NDArray[np.integer[Any]], weights: F32 | None = None
    ) -> tuple[NDArray[np.int32], F32]:
        """Pad one history the way the model reads it: rows int32[H] and weights float32[H]."""
        model = self.model
        norm, recency = model.normalization, model.recency
        return pad_history(rows, model.history_length, norm, weights, recency=recency)

    def encode(
        self,
        history: NDArray[np.int32],
        weights: F32,
        user_vector: F32 | None = None,
        context: F32 | None = None,
    ) -> F32:
        """User vectors float32[B, d] of histories int32[B, H] with weights float32[B, H].

        Where the model reads them, ``user_vector`` is float32[B, d] and ``context`` float32[B, c].
        """

        def gather(table: str, rows: NDArray[np.int32]) -> F32:
            return self.tables[table][rows]

        return run_encoder(self.model, history, weights, gather, user_vector, context)

    @functools.cached_property
    def centroids(self) -> Centroids | None:
        """The centroids of the candidates' blocks; None if all candidates are scored."""
        blocks = self.model.head.blocks
        if blocks is None:
            return None
        n = len(self.candidates)
        return centroids_of(lambda rows: self.candidates[rows], n, blocks.height)

    def logits(self, user: F32, tie: float = 0.0) -> F32:
        """Scores float32[B, n] of all items for user vectors float32[B, d].

        They determine the ranking; ``finish`` turns them into the scores that a user sees. Rows of
        blocks that are not read have -inf.

        Args:
            user: the user vectors.
            tie: the relative difference below which scores of blocks are equal. All blocks that
                equal the last one that is read are read as well or, if it is negative, none.
        """
        scores = self.score_rows(user, self.candidates)
        blocks, centroids = self.model.head.blocks, self.centroids
        if blocks is not None and centroids is not None:
            unread = centroids.unread(self._unit(user), blocks.read, tie)
            scores[np.repeat(unread, blocks.height, axis=1)[:, : scores.shape[1]]] = -np.inf
        return scores

    def score_rows(self, user: F32, candidates: F32) -> F32:
        """Scores float32[B, m] of some rows of ``candidates``, float32[m, d]."""
        return self._unit(user) @ candidates.T

    def _unit(self, user: F32) -> F32:
        """The user vectors by which candidates are multiplied."""
        return normalize(user) if self.model.head.kind == "cosine" else user

    def finish(self, logits: F32) -> F32:
        """Apply the head's last step: a sigmoid head turns logits into probabilities."""
        return sigmoid(logits) if self.model.head.kind == "sigmoid" else logits

    def recommend(
        self, history: NDArray[np.int32], weights: F32, k: int
    ) -> tuple[NDArray[np.int32], F32]:
        """Return the best k of all items for one history, seen items included: (ids, scores)."""
        rows, logits = top_k(self.logits(self.encode(history[None], weights[None]))[0], k)
        return rows, self.finish(logits)


def run_encoder(
    model: DeviceModel,
    history: NDArray[np.int32],
    weights: F32,
    gather: Callable[[str, NDArray[np.int32]], F32],
    user_vector: F32 | None = None,
    context: F32 | None = None,
) -> F32:
    """User vectors float32[..., d] of histories int32[..., H].

    Args:
        model: whose encoder to run.
        history: rows, -1 for padding.
        weights: float32[..., H].
        gather: reads rows of a table, ``gather(table, rows)``; the caller decides whether tables
            are decoded beforehand or row by row.
        user_vector: float32[..., d], where the model reads one.
        context: float32[..., c], where the model reads it.

    Raises:
        ModelError: the model reads a user vector or a context, and none is given.
    """
    values: dict[str, F32] = {**model.constants, **built_in_values(history, weights)}
    for name, given in (("user_vector", user_vector), ("context", context)):
        if given is not None:
            values[name] = given[..., None, :]
        elif name in model.inputs:
            raise ModelError(f"this model reads a {name}; pass one")
    for op in model.encoder:
        if op.kind == "Gather":
            values[op.output] = gather(op.inputs[0], np.maximum(history, 0))
        else:
            values[op.output] = numpy_rule(op, [values[name] for name in op.inputs])
    return np.ascontiguousarray(values["user"][..., 0, :], np.float32)


def top_k(scores: F32, k: int) -> tuple[NDArray[np.int32], F32]:
    """Return the k highest of float32[n], highest first; of equal scores, the lower row first."""
    k = min(k, len(scores))
    _, bound = reach_of_top(scores, k)
    rows = np.flatnonzero(scores >= bound)
    rows = rows[np.lexsort((rows, -scores[rows]))][:k].astype(np.int32)
    return rows, scores[rows]


def reach_of_top(scores: F32, k: int) -> tuple[F32, F32]:
    """The maxima of groups of scores, and a score that the k highest of float32[..., n] reach.

    The k-th highest of the maxima of disjoint groups is at most the k-th highest score, so every
    row of the answer, and few others, reach it.

    Returns:
        float32[..., groups], where row r is in group ``r % groups`` (those after the last whole
        round of groups are in none), and float32[...].
    """
    n = scores.shape[-1]
    groups = max(n // 64, min(4 * k, n))
    rounds = scores[..., : n // groups * groups].reshape(*scores.shape[:-1], -1, groups)
    highest = rounds.max(axis=-2)
    return highest, np.partition(highest, groups - k, axis=-1)[..., groups - k]


def built_in_values(history: NDArray[np.int32], weights: F32) -> dict[str, F32]:
    """The built-in values of histories int32[..., H], -1 for padding, with weights float32."""
    absent = (history < 0).astype(np.float32)[..., None]
    present = 1 - absent
    return {
        "weights": weights[..., None],
        "mask": absent * np.float32(MASKED),
        "present": present,
        "row_number": (history[..., None] + 1).astype(np.float32),
        "count": np.maximum(present.sum(axis=-2, keepdims=True), 1),
    }


def numpy_rule(op: Op, x: list[F32]) -> F32:
    """Apply one op to values whose last two axes are (history, width)."""
    return op.rule.numpy(op.given, x)
