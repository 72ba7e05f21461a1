"""Carry narrow tables through an encoder: x ≈ x' B for every value computed from them.

An op passes B on (a sum, a weight times a row), absorbs it in its weights (a dense layer), or needs
the full width, in which case x' B is computed before it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Container, Mapping

import numpy as np

from edgerec.plugin import F32, DeviceModel, Op

__all__ = ["groups_of", "narrow"]


def groups_of(model: DeviceModel) -> dict[str, str]:
    """The group of each wide table; tables that are summed or scored together share a basis."""
    wide = [name for name, table in model.tables.items() if table.shape[1] > 1]
    group = {name: name for name in wide}

    def merge(a: str, b: str) -> None:
        old, new = group[a], group[b]
        group.update({name: new for name in wide if group[name] == old})

    source: dict[str, str] = {}
    for op in model.encoder:
        if op.kind == "Gather" and op.inputs[0] in group:
            source[op.output] = op.inputs[0]
        elif _passes(op, source, model):
            sources = [source[name] for name in op.inputs if name in source]
            merge(sources[0], sources[-1])
            source[op.output] = sources[0]
    if "user" in source and model.head.table in group:
        merge(source["user"], model.head.table)
    return group


def narrow(model: DeviceModel, groups: Mapping[str, str], bases: Mapping[str, F32]) -> DeviceModel:
    """Project the tables of each group on its basis, float32[r, d], and rewrite the encoder."""
    constants, ops = dict(model.constants), []
    carried: dict[str, str] = {}
    full: dict[str, str] = {}

    def widen(name: str) -> str:
        if name in carried and name not in full:
            basis, full[name] = f"basis_{carried[name]}", f"{name}_full"
            constants[basis] = bases[carried[name]]
            ops.append(Op("MatMul", (name, basis), full[name]))
        return full.get(name, name)

    for op in model.encoder:
        if op.kind == "Gather" and groups.get(op.inputs[0]) in bases:
            carried[op.output] = groups[op.inputs[0]]
        elif _passes(op, carried, model):
            carried[op.output] = next(carried[n] for n in op.inputs if n in carried)
        elif _is_dense(op, model.constants) and op.inputs[0] in carried:
            group, weights = carried[op.inputs[0]], op.inputs[1]
            folded = f"{weights}_of_{group}"
            constants[folded] = bases[group] @ model.constants[weights]
            op = dataclasses.replace(op, inputs=(op.inputs[0], folded, *op.inputs[2:]))
        else:
            op = dataclasses.replace(op, inputs=tuple(widen(name) for name in op.inputs))
        ops.append(op)
    head = groups.get(model.head.table, "")
    if head in bases and "user" not in carried:
        ops = _project_user(ops, constants, np.ascontiguousarray(bases[head].T))
    used = {name for op in ops for name in op.inputs}
    return model.replace(
        tables={
            name: table.replace(table.decode() @ bases[groups[name]].T)
            if groups.get(name) in bases
            else table
            for name, table in model.tables.items()
        },
        encoder=tuple(ops),
        constants={name: value for name, value in constants.items() if name in used},
    )


def _passes(op: Op, carried: Container[str], model: DeviceModel) -> bool:
    """Whether op(x' B) = op(x') B."""
    narrow_inputs = [name for name in op.inputs if name in carried]
    if op.kind == "Mul" and len(narrow_inputs) == 1:
        shapes = model.shapes()
        return all(shapes[name][1] == 1 for name in op.inputs if name not in carried)
    if op.given.get("axis"):
        return False
    return op.kind in ("ReduceSum", "Add") and len(narrow_inputs) == len(op.inputs)


def _is_dense(op: Op, constants: Container[str]) -> bool:
    return op.kind in ("MatMul", "Gemm") and all(name in constants for name in op.inputs[1:])


def _project_user(ops: list[Op], constants: dict[str, F32], projection: F32) -> list[Op]:
    """Project the user vector to u Bᵀ, in the weights of the last layer or in a new layer."""
    last = ops[-1]
    if last.output == "user" and _is_dense(last, constants):
        folded = tuple(f"{name}_to_user" for name in last.inputs[1:])
        for old, new in zip(last.inputs[1:], folded, strict=True):
            constants[new] = constants[old] @ projection
        return [*ops[:-1], dataclasses.replace(last, inputs=(last.inputs[0], *folded))]
    constants["user_basis"] = projection
    renamed = [dataclasses.replace(o, output="user_full") if o.output == "user" else o for o in ops]
    return [*renamed, Op("MatMul", ("user_full", "user_basis"), "user")]
