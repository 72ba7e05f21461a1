"""Run a model with numpy alone, on the device."""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

from edgerec.plugin import (
    F32,
    Above,
    Bundle,
    Runner,
    above,
    candidate_factor,
    normalize,
    run_encoder,
    sigmoid,
    top_k,
    without_padding,
)

#: How many rows are scanned before there is a bound.
FIRST = 4096


def load(bundle: Bundle) -> Runner:
    """Return a runner that scans the candidate table block by block."""
    model = bundle.model()
    table = model.tables[model.head.table]
    factor = candidate_factor(model)
    signature, shorten = bundle.signature, model.takes_any_length

    def gather(name: str, rows: NDArray[np.int32]) -> F32:
        return model.tables[name].decode(rows)

    def scan(user: F32) -> Above:
        if factor is None:
            return table.codec.above(table.arrays, user)
        score = table.codec.scorer(table.arrays, user)
        return above(lambda rows: score(rows) * factor[rows])

    def run(history: NDArray[np.int32], weights: F32) -> tuple[NDArray[np.int32], F32]:
        if shorten:
            history, weights = without_padding(history, weights)
        user = run_encoder(model, history, weights, gather)
        if model.head.kind == "cosine":
            user = normalize(user)
        k = signature.returned_for(len(history))
        rows, scores = best(scan(user), signature.items, table.codec.block, k)
        return rows, sigmoid(scores) if model.head.kind == "sigmoid" else scores

    return run


def best(scan: Above, n: int, block: int, k: int) -> tuple[NDArray[np.int32], F32]:
    """Rows and scores of the k highest of n, highest first, as ``top_k`` of all scores.

    Only what may be among them is kept: a float for each of a million rows is 4 MB.
    """
    rows, scores = np.empty(0, np.int32), np.empty(0, np.float32)
    bound = -np.inf
    # A few first: they already give a bound that most rows of a large block are below.
    for start, stop in itertools.pairwise([0, *range(min(block, FIRST), n, block), n]):
        # A later row does not displace an equal score, so nothing equal to the bound is needed.
        found, high = scan(slice(start, stop), bound)
        rows = np.concatenate([rows, (found + start).astype(np.int32)])
        scores = np.concatenate([scores, high])
        if len(rows) > 4 * k:
            rows, scores = _cut(rows, scores, k)
            bound = float(scores[-1])
    return _cut(rows, scores, k)


def _cut(rows: NDArray[np.int32], scores: F32, k: int) -> tuple[NDArray[np.int32], F32]:
    # Among equal scores the earlier place is the lower row, and stays so.
    places, scores = top_k(scores, k)
    return rows[places], scores
