"""Run a model with numpy only, on the device."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgerec.plugin import (
    F32,
    Artefact,
    Bundle,
    candidate_factor,
    normalize,
    run_encoder,
    sigmoid,
    without_padding,
)
from edgerec_numpy.scan import Scan, best

__all__ = ["load"]


def load(bundle: Bundle) -> Artefact:
    """Return an artefact that scans the candidate table block by block."""
    model = bundle.model()
    scan = Scan(model.tables[model.head.table], candidate_factor(model))
    signature, shorten = bundle.signature, model.takes_any_length

    def gather(name: str, rows: NDArray[np.int32]) -> F32:
        return model.tables[name].decode(rows)

    def run(history: NDArray[np.int32], weights: F32) -> tuple[NDArray[np.int32], F32]:
        if shorten:
            history, weights = without_padding(history, weights)
        user = run_encoder(model, history, weights, gather)
        if model.head.kind == "cosine":
            user = normalize(user)
        k = signature.returned_for(len(history))
        rows, scores = best(scan.above(user), signature.items, scan.block, k)
        return rows, sigmoid(scores) if model.head.kind == "sigmoid" else scores

    return run
