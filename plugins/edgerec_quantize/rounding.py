r"""Rounding that preserves the scores.

A user u scores row x by u · x, so the cost of rounding is not |x - x̂|² but

    E_u (u · (x - x̂))² = (x - x̂)ᵀ C (x - x̂),    C = E_u u uᵀ + ridge.

If a row's codes q, or its scale s and offset o, are held fixed, the rest has a closed form. One
code at a time compensates for the errors of the others (coordinate descent, as in Nagel et al., "Up
or Down?", ICML 2020, and Frantar et al., "GPTQ", ICLR 2023, for layers of a network),

    q_j = round((x_j + Σ_{k≠j} C_jk / C_jj (x_k - x̂_k) - o) / s),

and s and o are the least squares of x ≈ s q + o in the metric C.
"""

from __future__ import annotations

import numpy as np

from edgerec.plugin import (
    F32,
    CompressError,
    Context,
    DeviceModel,
    Int4,
    Int8,
    Oracle,
    Table,
    normalize,
    pack4,
    unpack4,
)

__all__ = ["round_for_scores", "spare_scores", "user_metric"]

#: Passes over the columns, and the part of C that does not depend on the users.
SWEEPS, RIDGE = 8, 0.1


def spare_scores(model: DeviceModel, rounded: DeviceModel, context: Context) -> DeviceModel:
    """Round the candidate table of ``model`` again, with the codec that it has in ``rounded``."""
    name = model.head.table
    table = rounded.tables[name]
    if not isinstance(table.codec, Int4 | Int8):
        raise CompressError(
            "quantize.range: scores is for whole rows of int8 or int4, but the candidate table "
            f"{name!r} has codec {table.codec.name}; leave it out"
        )
    anew = round_for_scores(table, model.tables[name].decode(), user_metric(model, context))
    return rounded.replace(tables={**rounded.tables, name: anew})


def user_metric(model: DeviceModel, context: Context, users: int = 5000) -> F32:
    """C of unit user vectors from training histories, float32[d, d], with trace d."""
    from edgerec.learn import batches

    dataset = context.require_dataset("quantize")
    oracle, total, seen = Oracle(model), np.zeros((model.width, model.width)), 0
    for batch in batches(model, dataset, seed=context.seed):
        history = batch.history.numpy(force=True).astype(np.int32)
        own = {name: rows.numpy(force=True) for name, rows in batch.own.items()}
        user = normalize(oracle.encode(history, batch.weights.numpy(force=True), **own))
        total += user.T @ user
        seen += len(user)
        if seen >= users:
            break
    metric = total / max(np.trace(total), 1e-12) * model.width
    return np.asarray(metric + RIDGE * np.eye(model.width), np.float32)


def round_for_scores(table: Table, matrix: F32, metric: F32) -> Table:
    """Encode float32[n, d] with the table's codec and the least error in a metric float32[d, d]."""
    packed, high = isinstance(table.codec, Int4), 7 if isinstance(table.codec, Int4) else 127
    codes = (unpack4(table.arrays["codes"]) if packed else table.arrays["codes"]).astype(np.float32)
    dtype = table.arrays["scale"].dtype
    scale = table.arrays["scale"].astype(np.float32)
    offset = table.arrays.get("offset", np.zeros(len(matrix))).astype(np.float32)
    for sweep in range(SWEEPS):
        if sweep:
            scale, offset = _ranges(codes, matrix, metric, scale, offset, "offset" in table.arrays)
            scale, offset = (a.astype(dtype).astype(np.float32) for a in (scale, offset))
        error = matrix - (codes * scale[:, None] + offset[:, None])
        divisor = np.where(scale > 0, scale, 1)
        for j in range(matrix.shape[1]):
            wanted = matrix[:, j] - error[:, j] + error @ (metric[:, j] / metric[j, j])
            codes[:, j] = np.clip(np.rint((wanted - offset) / divisor), -high, high)
            error[:, j] = matrix[:, j] - (codes[:, j] * scale + offset)
    whole = codes.astype(np.int8)
    arrays = {"codes": pack4(whole) if packed else whole, "scale": scale.astype(dtype)}
    if "offset" in table.arrays:
        arrays["offset"] = offset.astype(dtype)
    return Table(table.codec, table.shape, arrays)


def _ranges(
    codes: F32, matrix: F32, metric: F32, scale: F32, offset: F32, affine: bool
) -> tuple[F32, F32]:
    """Least squares for s and o, float32[n] each; a row without a solution keeps its own."""
    weighed, ones = codes @ metric, metric.sum(0)
    qq, qx = (weighed * codes).sum(1), (weighed * matrix).sum(1)
    q1, x1, total = codes @ ones, matrix @ ones, float(ones.sum())
    if not affine:
        q1, x1 = np.zeros_like(q1), np.zeros_like(x1)
    determinant = qq * total - q1 * q1
    solved = determinant > 1e-6 * qq * total
    safe = np.where(solved, determinant, 1)
    new = (qx * total - q1 * x1) / safe
    solved &= new > 0
    return (
        np.where(solved, new, scale),
        np.where(solved, (qq * x1 - q1 * qx) / safe, offset),
    )
