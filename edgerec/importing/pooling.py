r"""Recognize encoders that turn out to be pooled rows, and store them as such.

Several rounds of a linear network, such as LightGCN's, read a table each. If

    u(i_1, …, i_n) = n^-p Σ_j φ(i_j) + v A + b

for every history and every input v, then the rows φ(i) are one table instead of several, and a sum
replaces all rounds.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgerec.model.codecs import Fp32
from edgerec.model.device_model import DeviceModel
from edgerec.model.integers import F32
from edgerec.model.ops import Op
from edgerec.model.oracle import Oracle
from edgerec.model.table import Table

__all__ = ["as_pooling"]

#: The exponents p that occur, the greatest difference relative to the largest number, and how many
#: histories are compared and how many rows computed at a time.
_EXPONENTS, _MOST, _COMPARED, _AT_ONCE = (0.5, 1.0, 0.0), 1e-5, 32, 512


def as_pooling(model: DeviceModel) -> DeviceModel | None:
    """Return the same model with one past table and a sum; None if it computes something else."""
    name = next(iter(model.inputs), "")
    if len(model.inputs) > 1 or model.recency or model.weighted or model.repeats != "merge":
        return None
    rng, n = np.random.default_rng(0), len(model.history_items)
    lengths = [1, 2, min(model.history_length, n), *rng.integers(1, min(20, n), _COMPARED)]
    sample = [rng.permutation(n)[: min(int(length), model.history_length)] for length in lengths]
    single = {int(row) for rows in sample for row in rows}
    parts = dict(zip(single, _run(model, [np.array([row]) for row in single]), strict=True))
    wanted = _run(model, sample)
    sums = np.stack([np.sum([parts[int(row)] for row in rows], 0) for rows in sample])
    counts = np.array([len(rows) for rows in sample], np.float32)[:, None]
    for p in _EXPONENTS:
        # Of two items: u = 2^-p (u_1 + u_2 - 2 b) + b.
        share = 1 - 2 ** (1 - p)
        shift = (wanted[1] - 2**-p * sums[1]) / share if share else np.zeros_like(wanted[1])
        found = counts**-p * (sums - counts * shift) + shift
        if _same(found, wanted):
            break
    else:
        return None
    linear = _own_part(model, name, sample, wanted) if name else None
    if name and linear is None:
        return None
    rows = np.concatenate(
        [
            _run(model, list(block[:, None])) - shift
            for block in np.array_split(np.arange(n), n // _AT_ONCE + 1)
        ]
    )
    return _pooled(model, rows, p, shift, name, linear)


def _own_part(model: DeviceModel, name: str, sample: list[NDArray[Any]], wanted: F32) -> F32 | None:
    """A, float32[width of the input, d], if the input enters as v A."""
    width = model.inputs[name]
    unit = np.eye(width, dtype=np.float32)
    weight = _run(model, [sample[0]] * width, unit) - wanted[0]
    own = np.random.default_rng(1).normal(size=(len(sample), width)).astype(np.float32)
    found = _run(model, sample, own) - wanted
    return weight if _same(own @ weight, found) else None


def _pooled(
    model: DeviceModel, rows: F32, p: float, shift: F32, name: str, linear: F32 | None
) -> DeviceModel:
    tables = {model.head.table: model.tables[model.head.table]}
    candidates = tables[model.head.table].decode()
    past = model.head.table if np.array_equal(candidates, rows) else "past"
    tables.setdefault(past, Table.encode(rows, Fp32()))
    constants: dict[str, F32] = {}
    ops = [Op("Gather", (past, "history"), "rows"), Op("Mul", ("rows", "weights"), "weighted")]
    ops.append(Op("ReduceSum", ("weighted",), "pooled"))
    if np.abs(shift).max() > _MOST * np.abs(rows).max():
        constants["shift"] = shift[None]
        ops.append(Op("Add", ("pooled", "shift"), "shifted"))
    if linear is not None:
        factor = linear[0, 0]
        plain = linear.shape[0] == linear.shape[1] and _same(linear, factor * np.eye(len(linear)))
        constants["own"] = np.full((1, 1), factor) if plain else linear
        ops.append(Op("Mul" if plain else "MatMul", (name, "own"), "own_part"))
        ops.append(Op("Add", (ops[-2].output, "own_part"), "sum"))
    last = ops.pop()
    ops.append(Op(last.kind, last.inputs, "user", last.given))
    return model.replace(tables=tables, encoder=tuple(ops), constants=constants, normalization=p)


def _run(model: DeviceModel, histories: list[NDArray[Any]], own: F32 | None = None) -> F32:
    """User vectors of histories, and of rows of the model's input, 0 by default."""
    oracle = Oracle(model)
    padded = [oracle.pad(rows) for rows in histories]
    inputs = {
        name: np.zeros((len(padded), width), np.float32) if own is None else own
        for name, width in model.inputs.items()
    }
    history, weights = (np.stack(one) for one in zip(*padded, strict=True))
    return oracle.encode(history, weights, **inputs)


def _same(found: F32, wanted: F32) -> bool:
    return float(np.abs(found - wanted).max()) <= _MOST * max(float(np.abs(wanted).max()), 1e-12)
