r"""Predict what a user starts with from their history, so that a device needs no input for it.

The start v of a user is predicted by ridge regression on the pooled rows of past items,

    v ≈ z W,  z = n^-1/2 Σ_{i in history} x_i,

with x the rows of all tables side by side, divided by √degree where the model reads degrees (Hoerl
& Kennard, "Ridge Regression", Technometrics 1970). The rows x_i W are a table, and the sum of them
replaces the input.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgerec.importing.edges import DEGREE
from edgerec.importing.ranking import best, overlap, parted, ridges
from edgerec.model.codecs import Fp32
from edgerec.model.device_model import DeviceModel
from edgerec.model.integers import F32
from edgerec.model.ops import Op
from edgerec.model.oracle import Oracle
from edgerec.model.table import Table

__all__ = ["with_predicted_start"]


def with_predicted_start(
    model: DeviceModel, own: F32, histories: list[NDArray[Any]], seed: int = 0
) -> DeviceModel:
    """Replace the input of a model by a sum of rows.

    The overlap of its lists with those of the original, of users that it was not fitted on, is in
    its metadata as ``fold_in``.

    Args:
        model: reads one input.
        own: what each user starts with, float32[U, width of the input].
        histories: the rows of each user's items.
        seed: of the choice of users to judge by.

    Raises:
        DataError: too few users have a history.
    """
    (name,) = model.inputs
    tables = {name: model.tables[name].decode() for name in {model.head.table, *model.gathered}}
    scale = tables.pop(DEGREE, np.ones((1, 1), np.float32)) ** -0.5
    rows = np.concatenate([tables[one] * scale for one in sorted(tables)], 1)
    cut = [past[-model.history_length :] for past in histories]
    fitted, judged = parted(cut, seed)
    pooled = np.stack([rows[past].sum(0) / np.sqrt(max(len(past), 1)) for past in cut])
    oracle = Oracle(model)
    padded = [oracle.pad(cut[user]) for user in judged]
    history, weights = (np.stack(one) for one in zip(*padded, strict=True))

    def lists(start: F32) -> NDArray[np.int64]:
        user = oracle.encode(history, weights, **{name: start})
        return best(oracle.logits(user), [cut[one] for one in judged])

    wanted = lists(own[judged])
    found = [
        (overlap(lists(pooled[judged] @ weight), wanted), weight)
        for weight in ridges(pooled[fitted], own[fitted])
    ]
    share, weight = max(found, key=lambda one: one[0])
    added = (
        Op("Gather", ("start", "history"), "start_rows"),
        Op("Mul", ("start_rows", "weights"), "start_weighted"),
        Op("ReduceSum", ("start_weighted",), "start_sum"),
    )
    encoder = tuple(
        Op(
            op.kind,
            tuple("start_sum" if one == name else one for one in op.inputs),
            op.output,
            op.given,
        )
        for op in model.encoder
    )
    folded = {"overlap": round(share, 4), "users": len(judged)}
    return model.replace(
        tables={**model.tables, "start": Table.encode(rows @ weight, Fp32())},
        encoder=(*added, *encoder),
        normalization=0.5,
        context_width=0,
        metadata={**model.metadata, "fold_in": folded},
    )
