"""Layers: remove from the sum what one past table contributes to a user.

Layer by layer, GraphSAGE adds up W_k · (mean of the history in past table k) and the output of the
layers before. Without table k, its term disappears, with its weights and everything that only
served it:

    σ(W_k m_k + b_k + V_k h_k) → σ(V_k h_k)
"""

from __future__ import annotations

import dataclasses

import numpy as np

from edgerec.plugin import CompressError, DeviceModel, Op
from edgerec_prune.importance import Scores

__all__ = ["drop_layers", "layers_of", "parts_of", "without"]


def drop_layers(model: DeviceModel, scores: Scores, share: float) -> DeviceModel:
    """Remove a share of the layers, at least one, starting with the least important.

    Raises:
        CompressError: the encoder cannot do without any layer.
    """
    layers = layers_of(model)
    if len(layers) < 2:
        raise CompressError(
            "prune: the encoder has no layers that are added up, so none can be removed; "
            "structure=layers is for encoders like GraphSAGE's, with two layers or more"
        )

    def importance(layer: str) -> float:
        tables, constants = parts_of(model, layer)
        parts = [values for name, values in scores.tables.items() if name in tables]
        parts += [values for name, values in scores.constants.items() if name in constants]
        return float(sum(values.sum(dtype=np.float64) for values in parts))

    count = min(max(round(share * len(layers)), 1), len(layers) - 1)
    for layer in sorted(layers, key=importance)[:count]:
        model = without(model, layer) or model
    return model


def layers_of(model: DeviceModel) -> list[str]:
    """The past tables that the encoder could do without, one at a time."""
    past = [op.inputs[0] for op in model.encoder if op.kind == "Gather"]
    wide = [name for name in dict.fromkeys(past) if model.tables[name].shape[1] > 1]
    return [name for name in wide if without(model, name) is not None]


def parts_of(model: DeviceModel, layer: str) -> tuple[set[str], set[str]]:
    """The names of the tables and constants that are removed with a layer."""
    after = without(model, layer)
    if after is None:
        return set(), set()
    return set(model.tables) - set(after.tables), set(model.constants) - set(after.constants)


def without(model: DeviceModel, layer: str) -> DeviceModel | None:
    """Return the model without the layer of a past table; None if no history would be left."""
    shapes = model.shapes()
    gone: set[str] = set()
    same: dict[str, str] = {}
    ops: list[Op] = []
    for op in model.encoder:
        lost = [name for name in op.inputs if name in gone]
        if op.kind == "Gather" and op.inputs[0] == layer:
            gone.add(op.output)
        elif not lost:
            inputs = tuple(same.get(name, name) for name in op.inputs)
            ops.append(dataclasses.replace(op, inputs=inputs))
        elif op.kind == "Concat":
            return None
        elif op.kind == "Add" and len(lost) == 1:
            other = next(name for name in op.inputs if name not in gone)
            if other in model.constants or shapes[other] != shapes[op.output]:
                gone.add(op.output)  # a bias of a value that is gone
            else:
                same[op.output] = same.get(other, other)
        else:
            gone.add(op.output)
    if "user" in gone:
        return None
    last = same.get("user", "user")
    after = _tidy(model, ops, last)
    # What is left might be a context alone.
    wide = [name for name in after.gathered if after.tables[name].shape[1] > 1]
    return after if wide else None


def _tidy(model: DeviceModel, ops: list[Op], last: str) -> DeviceModel:
    """Keep what the value ``last`` needs, and rename that value to ``user``."""
    needed, kept = {last}, []
    for op in reversed(ops):
        if op.output in needed:
            needed |= set(op.inputs)
            kept.append(op)
    encoder = [
        dataclasses.replace(
            op,
            inputs=tuple("user" if name == last else name for name in op.inputs),
            output="user" if op.output == last else op.output,
        )
        for op in reversed(kept)
    ]
    tables = needed | {model.head.table}
    return model.replace(
        tables={name: table for name, table in model.tables.items() if name in tables},
        constants={name: value for name, value in model.constants.items() if name in needed},
        encoder=tuple(encoder),
    )
