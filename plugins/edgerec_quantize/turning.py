r"""Rotate a model so that its rows suit a codec.

A model that adds up rows and scores by a dot product or a cosine gives the same scores if every
wide table is rotated by the same orthogonal R. So R is free to choose, and it is not stored. Even
rows have the narrowest range for their length. R starts as a random rotation, which already evens
out rows (Ashkboos et al., "QuaRot", NeurIPS 2024). Then rounding alternates with the rotation that
is nearest to the rounded rows (Gong & Lazebnik, "Iterative quantization", CVPR 2011):

    X̂ = round(X R),    R = U Vᵀ  of  Xᵀ X̂ = U Σ Vᵀ                      (Schönemann, 1966)
"""

from __future__ import annotations

import numpy as np

from edgerec.plugin import F32, Codec, DeviceModel, Fp32, Table

__all__ = ["rotation", "turned"]

#: Rounds of the alternation, and the largest number of rows that take part in it.
ROUNDS, ROWS = 30, 20_000


def turned(model: DeviceModel, codec: Codec) -> DeviceModel:
    """Return a linear model (``DeviceModel.is_linear``) with its wide tables rotated, in fp32."""
    wide = {name: t.decode() for name, t in model.tables.items() if t.shape[1] > 1}
    turn = rotation(np.concatenate(list(wide.values())), codec)
    tables = {name: Table.encode(rows @ turn, Fp32()) for name, rows in wide.items()}
    return model.replace(tables={**model.tables, **tables})


def rotation(matrix: F32, codec: Codec) -> F32:
    """An orthogonal float32[d, d] that suits rows float32[n, d] and a codec; deterministic."""
    rng = np.random.default_rng(0)
    rows = matrix[rng.permutation(len(matrix))[:ROWS]]
    turn = np.linalg.qr(rng.normal(size=(matrix.shape[1],) * 2))[0].astype(np.float32)
    for _ in range(ROUNDS):
        rounded = Table.encode(rows @ turn, codec).decode()
        left, _, right = np.linalg.svd(rows.T @ rounded)
        turn = np.asarray(left @ right, np.float32)
    return turn
