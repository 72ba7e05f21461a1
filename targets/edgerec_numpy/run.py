"""Run a model with numpy only, on the device."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgerec.plugin import (
    F32,
    Artefact,
    Bundle,
    candidate_factor,
    list_unseen,
    normalize,
    read_history,
    run_encoder,
    sigmoid,
    without_padding,
)
from edgerec_numpy.nearest import Nearest, read_centroids
from edgerec_numpy.scan import Scan, best

__all__ = ["load"]


def load(bundle: Bundle) -> Artefact:
    """Return an artefact that scans the candidate table block by block."""
    artefact = NumpyArtefact(bundle)
    return artefact.recommend_padded if bundle.signature.version == 1 else artefact


class NumpyArtefact:
    """Runs the model of a bundle, whose tables stay in the mapped file."""

    def __init__(self, bundle: Bundle) -> None:
        self.model, self.signature = bundle.model(), bundle.signature
        self._scan = Scan(self.model.tables[self.model.head.table], candidate_factor(self.model))
        self._shorten = self.model.takes_any_length
        self._nearest: Nearest | None = None
        if blocks := self.model.head.blocks:
            centroids = read_centroids(bundle, self.model)
            self._nearest = Nearest(self._scan, blocks, centroids, self.signature.items)

    def __call__(
        self, history: NDArray[np.int32], *inputs: F32
    ) -> tuple[NDArray[np.int32], F32, F32]:
        """Recommend: (ids int32[R], scores float32[R], user float32[d])."""
        rows, weights, given = self._read(history, inputs)
        ids, scores, user = self._recommend(rows, weights, given)
        return *list_unseen(self.model, ids, scores, history), user

    def score(self, history: NDArray[np.int32], *inputs_and_rows: NDArray[Any]) -> F32:
        """Score the rows int32[C] that follow the inputs."""
        *inputs, candidates = inputs_and_rows
        user = self._scored(self._encode(*self._read(history, inputs)))
        rows = np.maximum(candidates, 0)
        scores = self.model.tables[self.model.head.table].decode(rows) @ user
        if self._scan.factor is not None:
            scores *= self._scan.factor[rows]
        return np.where(candidates < 0, np.float32(0), self._finish(scores))

    def batch(
        self, histories: NDArray[np.int32], *inputs: F32
    ) -> tuple[NDArray[np.int32], F32, F32]:
        """Recommend for several: (ids int32[B, R], scores float32[B, R], users float32[B, d])."""
        from edgerec_numpy.batch import best_of_batch  # opening a bundle does not wait for it

        each = zip(histories, *inputs, strict=True)
        read = [self._read(history, own) for history, *own in each]
        longest = max(1, max(int((rows >= 0).sum()) for rows, *_ in read))
        length = longest if self._shorten else self.signature.history_length
        rows = np.stack([rows[:length] for rows, *_ in read])
        weights = np.stack([weights[:length] for _, weights, _ in read])
        others = {name: np.stack([given[name] for *_, given in read]) for name in read[0][2]}
        users = self._encode(rows, weights, others)
        table, k = self.model.tables[self.model.head.table], self.signature.returned_for(length)
        if self._nearest is None:
            ids, scores = best_of_batch(table, self._scan.factor, self._scored(users), k)
        else:
            found = [self._nearest.best(user, k) for user in self._scored(users)]
            ids, scores = (np.stack(part) for part in zip(*found, strict=True))
        scores = self._finish(scores)
        lists = [list_unseen(self.model, *one) for one in zip(ids, scores, histories, strict=True)]
        ids, scores = (np.stack(part) for part in zip(*lists, strict=True))
        return ids, scores, users

    def recommend_padded(
        self, history: NDArray[np.int32], weights: F32
    ) -> tuple[NDArray[np.int32], F32]:
        """Recommend as in signature 1: (ids int32[R], scores float32[R])."""
        return self._recommend(history, weights, {})[:2]

    def _read(
        self, history: NDArray[np.int32], inputs: Sequence[F32]
    ) -> tuple[NDArray[np.int32], F32, dict[str, F32]]:
        """Past items as the encoder reads them, their weights, and the other inputs by name."""
        given = dict(zip(self.signature.inputs, inputs, strict=True))
        return *read_history(self.model, history, given.pop("weights", None)), given

    def _recommend(
        self, history: NDArray[np.int32], weights: F32, given: dict[str, F32]
    ) -> tuple[NDArray[np.int32], F32, F32]:
        """The best rows, seen ones included, their scores, and the user vector."""
        if self._shorten:
            history, weights = without_padding(history, weights)
        user = self._encode(history, weights, given)
        k = self.signature.returned_for(len(history))
        rows, scores = self._best(self._scored(user), k)
        return rows, self._finish(scores), user

    def _best(self, user: F32, k: int) -> tuple[NDArray[np.int32], F32]:
        """Rows and scores of the k highest of the rows that are read, for float32[d]."""
        if self._nearest is not None:
            return self._nearest.best(user, k)
        return best(self._scan.above(user), self.signature.items, self._scan.block, k)

    def _encode(self, history: NDArray[np.int32], weights: F32, given: dict[str, F32]) -> F32:
        def gather(name: str, rows: NDArray[np.int32]) -> F32:
            return self.model.tables[name].decode(rows.reshape(-1)).reshape(*rows.shape, -1)

        return run_encoder(self.model, history, weights, gather, **given)

    def _scored(self, user: F32) -> F32:
        """The user vector by which candidates are multiplied."""
        return normalize(user) if self.model.head.kind == "cosine" else user

    def _finish(self, scores: F32) -> F32:
        return sigmoid(scores) if self.model.head.kind == "sigmoid" else scores
