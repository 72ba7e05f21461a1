"""Make the test vectors of a bundle: short histories, with the lists that the model gives for them.

They follow the model alone, so they also check what the scorer does around the artefact.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgerec.contracts.signature import Signature
from edgerec.device.vectors import EXPECTED, LONG, UNKNOWN, WIDTH, empty_vectors
from edgerec.model.device_model import DeviceModel
from edgerec.model.model_file import Sections
from edgerec.model.oracle import Oracle, top_k

__all__ = ["make_vectors"]


def make_vectors(model: DeviceModel, popular: NDArray[np.int32], signature: Signature) -> Sections:
    """Return the sections of the test vectors (``device/vectors.py``), by name.

    Args:
        model: the model.
        popular: the rows recommended for an empty history.
        signature: the shape of the call.
    """
    n = len(model.history_items)
    sections = empty_vectors()
    history, ids, scores = sections.values()
    rng = np.random.default_rng(0)
    some = rng.choice(n, min(n, 4), replace=False)
    first, last = int(some[0]), int(some[-1])
    cases: list[list[int]] = [
        [],
        [UNKNOWN, UNKNOWN],
        [first],
        some.tolist(),
        [first, UNKNOWN, last],
        [first, last, first],  # a repeated item
        [last] * WIDTH,
        [LONG, model.history_length + 3],  # longer than the model reads
    ]
    for row, case in enumerate(cases):
        history[row, : len(case)] = case
    oracle = Oracle(model)
    for row, case in enumerate(cases):
        rows = case
        if case and case[0] == LONG:
            rows = [place % n for place in range(case[1])]
        known = [one for one in rows if one != UNKNOWN]
        found = _recommend(oracle, known, popular, signature)
        for place, (item, score) in enumerate(found):
            ids[row, place], scores[row, place] = item, score
    return {**sections}


def _recommend(
    oracle: Oracle, rows: list[int], popular: NDArray[np.int32], signature: Signature
) -> list[tuple[int, float]]:
    """Rows and scores of the best ones; without scores, those for an empty history."""
    model, k = oracle.model, min(EXPECTED, signature.top_k)
    if model.repeats == "merge":
        rows = list(dict.fromkeys(reversed(rows)))[::-1]
    if not rows:
        return [(int(row), 0.0) for row in popular[:k]]
    history, weights = oracle.pad(np.array(rows))
    seen = set(rows) if model.seen_rows is None else set(model.seen_rows[rows].tolist())
    seen = seen if model.drop_seen else set()
    inputs = {name: value[None] for name, value in signature.example_inputs().items()}
    logits = oracle.logits(oracle.encode(history[None], weights[None], **inputs))[0]
    best, high = top_k(logits, k + len(seen))
    scores = oracle.finish(high)
    found = zip(best.tolist(), scores.tolist(), strict=True)
    return [one for one in found if one[0] not in seen][:k]
