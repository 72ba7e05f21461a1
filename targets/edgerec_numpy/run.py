"""Run a model with numpy alone, on the device."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgerec.plugin import (
    F32,
    Bundle,
    Runner,
    candidate_factor,
    normalize,
    run_encoder,
    sigmoid,
    top_k,
)


def load(bundle: Bundle) -> Runner:
    """Return a runner that scans the candidate table block by block."""
    model = bundle.model()
    table = model.tables[model.head.table]
    factor = candidate_factor(model)
    returned = bundle.signature.returned

    def gather(name: str, rows: NDArray[np.int32]) -> F32:
        return model.tables[name].decode(rows)

    def run(history: NDArray[np.int32], weights: F32) -> tuple[NDArray[np.int32], F32]:
        user = run_encoder(model, history, weights, gather)
        if model.head.kind == "cosine":
            user = normalize(user)
        logits = np.empty(table.shape[0], np.float32)
        score = table.codec.scorer(table.arrays, user)
        for start in range(0, len(logits), table.codec.block):
            block = slice(start, start + table.codec.block)
            logits[block] = score(block)
        if factor is not None:
            logits *= factor
        rows, scores = top_k(logits, returned)
        return rows, sigmoid(scores) if model.head.kind == "sigmoid" else scores

    return run
