"""Units of an encoder with dense layers: columns, and everything tied to them.

A column of a value passes through sums, weights and activations, and is multiplied by a row of the
next dense layer's weights. A unit is therefore a column of a table or of a layer's weights and
bias, with everything that would have no counterpart without it. Units are kept where values are
concatenated (Concat) and where the width is determined from outside.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from edgerec.plugin import F32, CompressError, DeviceModel
from edgerec_prune.importance import Scores, keep_largest

__all__ = ["drop_units", "units_of"]

#: The columns of a table, the rows (0) or columns (1) of a constant, or the columns of a value.
Axis = tuple[str, str, int]


def units_of(model: DeviceModel) -> list[tuple[int, list[Axis]]]:
    """Groups of tied axes of tables and constants, with the number of units in each group."""
    group: dict[Axis, Axis] = {}
    fixed: set[Axis] = {("value", "user_vector", 1), ("value", "context", 1)}
    shapes = model.shapes()

    def root(axis: Axis) -> Axis:
        while group.setdefault(axis, axis) != axis:
            axis = group[axis]
        return axis

    def tie(a: Axis, b: Axis) -> None:
        group[root(a)] = root(b)

    def columns(name: str) -> Axis:
        return ("constant" if name in model.constants else "value", name, 1)

    for op in model.encoder:
        out = columns(op.output)
        if op.kind == "Gather":
            tie(out, ("table", op.inputs[0], 1))
        elif op.kind in ("MatMul", "Gemm"):
            value, weights, *bias = op.inputs
            for name in (weights, *bias):
                tie(out, columns(name))
            if weights in model.constants:
                tie(columns(value), ("constant", weights, 0))
            else:
                fixed |= {columns(value), out}
        elif not op.rule.keeps_columns(op.given):
            fixed |= {out, *map(columns, op.inputs)}
        else:
            for name in op.inputs:
                if shapes[name][1] == shapes[op.output][1]:
                    tie(out, columns(name))
    tie(columns("user"), ("table", model.head.table, 1))
    stays = {root(axis) for axis in fixed}
    found: dict[Axis, list[Axis]] = {}
    for axis in list(group):
        if axis[0] != "value" and root(axis) not in stays:
            found.setdefault(root(axis), []).append(axis)
    sized = [(_size(model, axes[0]), axes) for axes in found.values()]
    return [(size, axes) for size, axes in sized if size > 1]


def drop_units(model: DeviceModel, scores: Scores, share: float) -> DeviceModel:
    """Remove a share of each group's units, starting with the least important.

    Raises:
        CompressError: no unit can be removed.
    """
    tables = {name: t.decode() for name, t in model.tables.items() if t.shape[1] > 1}
    constants: dict[str, F32] = dict(model.constants)
    groups = units_of(model)
    if not groups:
        raise CompressError(
            "prune: every unit is tied to others by concatenation, slicing or transposition, so "
            "none can be removed; prune weights or items"
        )
    for size, axes in groups:
        total = np.zeros(size, np.float32)
        for kind, name, axis in axes:
            part = scores.tables[name] if kind == "table" else scores.constants[name]
            total += part.sum(axis=1 - axis)
        kept = keep_largest(total, share).nonzero()[0]
        for kind, name, axis in axes:
            _keep(tables if kind == "table" else constants, name, kept, axis)
    return model.replace(
        tables={n: t.replace(tables[n]) if n in tables else t for n, t in model.tables.items()},
        constants=constants,
    )


def _keep(arrays: dict[str, F32], name: str, kept: NDArray[np.int64], axis: int) -> None:
    arrays[name] = np.ascontiguousarray(np.take(arrays[name], kept, axis))


def _size(model: DeviceModel, axis: Axis) -> int:
    kind, name, number = axis
    shape: Mapping[int, int] = dict(
        enumerate(model.tables[name].shape if kind == "table" else model.constants[name].shape)
    )
    return shape[number]
