r"""The student: the same recommender with tables of ``width`` columns.

If the teacher only adds up rows, the student has the same encoder, and its tables are the teacher's
projected on their leading right singular vectors, the best start of that rank (Eckart & Young,
1936). A deeper teacher f gets a linear student, user = Σ w_j p_j, with one past table: the
teacher's impulse response p_j = f({j}), projected in the same way.
"""

from __future__ import annotations

import numpy as np

from edgerec.plugin import (
    F32,
    DeviceModel,
    Fp32,
    Op,
    Oracle,
    Table,
    leading_basis,
    normalize,
    stack,
)

__all__ = ["student_of"]

LINEAR = (
    Op("Gather", ("past", "history"), "rows"),
    Op("Mul", ("rows", "weights"), "weighted"),
    Op("ReduceSum", ("weighted",), "user"),
)


def student_of(model: DeviceModel, width: int) -> DeviceModel:
    """Return the student before training, in fp32."""
    tables = {name: table.decode() for name, table in model.tables.items()}
    linear, head = model.is_linear, model.head.table
    if not linear:
        tables = {"past": impulse_response(model), head: tables[head]}
        if head == "past":
            tables = {"past": tables["past"], "candidates": tables[head]}
    wide = {name: matrix for name, matrix in tables.items() if matrix.shape[1] > 1}
    # A cosine head depends on directions only.
    seen = map(normalize, wide.values()) if model.head.kind == "cosine" else wide.values()
    basis = np.ascontiguousarray(leading_basis(stack(seen))[0][:width].T)
    tables |= {name: matrix @ basis for name, matrix in wide.items()}
    return model.replace(
        tables={name: Table.encode(matrix, Fp32()) for name, matrix in tables.items()},
        encoder=model.encoder if linear else LINEAR,
        constants=model.constants if linear else {},
    )


def impulse_response(model: DeviceModel, step: int = 4096) -> F32:
    """The user vector of each item alone in a history, float32[n, d]."""
    rows = np.arange(len(model.items), dtype=np.int32)[:, None]
    oracle = Oracle(model)
    parts = [
        oracle.encode(rows[start : start + step], np.ones_like(rows[start : start + step], "f4"))
        for start in range(0, len(rows), step)
    ]
    return np.concatenate(parts)
