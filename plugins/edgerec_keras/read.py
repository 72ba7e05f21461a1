"""Take a Keras model apart into rows of items and an encoder of histories."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import torch
from numpy.typing import NDArray

from edgerec.learn import from_torch
from edgerec.plugin import F32, Context, DeviceModel, ModelError, OptionError
from edgerec_keras.archive import check, load
from edgerec_keras.encoder import UserSide, reads_history
from edgerec_keras.graph import Graph, array, label, run
from edgerec_keras.original import Original, as_input
from edgerec_keras.tokens import numbered

__all__ = ["read"]

#: How many items are computed at a time.
_BATCH = 4096


def read(options: Any, path: Path, context: Context) -> DeviceModel:
    """Make a model of a .keras file, with the options of ``Keras``.

    Raises:
        ModelError: it cannot be read or imported; the message names the layer.
        OptionError: ids or the names of inputs are needed, or do not belong to the model.
    """
    check(path)
    try:
        with keras.device("cpu"), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what layers say of masks that they drop
            return _read(options, Graph(load(path)), path.name, context)
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from None


def _read(options: Any, graph: Graph, name: str, context: Context) -> DeviceModel:
    """Make a model of a graph.

    Raises:
        ModelError: it cannot be imported.
        OptionError: ids or the names of inputs are needed, or do not belong to the model.
    """
    history, item = _inputs(options, graph)
    if item:
        user, vector, where = graph.meeting(history, item)
    else:
        user, columns, biases, where = graph.scored()
    lookups = _lookups(graph, user, history)
    first, tokens = numbered(options, lookups, context)
    ids = np.arange(first, first + len(tokens))
    if item:
        rows = _evaluated(graph, vector, item, ids)
        bias = np.zeros(len(ids), np.float32)
    else:
        rows, bias = (_of_items(one, ids, where) for one in (columns, biases))
    original = Original(graph, history, item, user, options, ids)
    own = {layer: array(layer(torch.arange(layer.input_dim))) for layer in lookups}
    scored = np.concatenate([rows, bias[:, None]], 1) if bias.any() else rows
    past, names = _tables({layer: one[first:] for layer, one in own.items()}, scored)
    side = UserSide(
        graph.nodes(user),
        graph.inputs[history],
        user,
        tables=names,
        length=original.length,
        first=first,
        padding={layer: torch.from_numpy(one[:1]) for layer, one in own.items()},
        masks=not original.fixed,
    )
    original.match(side, past)
    head = original.head(rows, bias, where)
    side.biased = bool(bias.any())
    try:
        model = from_torch(
            side,
            {**past, "items": scored},
            tokens,
            head=head,
            history_length=original.length,
            normalization=1.0,
            repeats="keep",
            metadata={"imported": name},
        )
    except ModelError as error:
        raise ModelError(side.explained(str(error))) from error
    original.compare(model)
    return model


def _inputs(options: Any, graph: Graph) -> tuple[str, str]:
    """The names of the inputs of past items and of the item to score; the second may be empty.

    Raises:
        ModelError: the model reads something else.
        OptionError: an option names no input, or they cannot be told apart.
    """
    names = ", ".join(graph.inputs)
    for option in ("history", "item"):
        chosen = getattr(options, option)
        if chosen and chosen not in graph.inputs:
            raise OptionError(f"keras.{option}: the model has no input {chosen!r}; it has {names}")
    if len(graph.inputs) > 2:
        raise ModelError(
            f"it has the inputs {names}; expected one of past items and at most one of the item to "
            "score, as a device knows no others; save a model of these two"
        )
    if len(graph.inputs) == 1:
        return names, ""
    wide = [name for name, tensor in graph.inputs.items() if _is_wide(tensor)]
    history, item = options.history, options.item
    if not history:
        rest = [name for name in (graph.inputs if item else wide) if name != item]
        history = rest[0] if len(rest) == 1 else ""
    item = item or next(name for name in graph.inputs if name != history)
    if not history or history == item:
        raise OptionError(
            f"keras.history: which of the inputs {names} has the past items cannot be told from "
            "their shapes; pass history= and item="
        )
    return history, item


def _is_wide(tensor: Any) -> bool:
    """Whether an input has room for several ids."""
    return len(tensor.shape) == 2 and tensor.shape[1] != 1


def _lookups(graph: Graph, user: Any, history: str) -> list[Any]:
    """The Embeddings that past items are looked up in.

    Raises:
        ModelError: there is none, or they have different numbers of rows.
    """
    tensor, nodes = graph.inputs[history], graph.nodes(user)
    found = [node.operation for node in nodes if reads_history(node, tensor)]
    if not found or len(tensor.shape) != 2:
        first = [label(node) for node in nodes if history in graph.reads(node.outputs[0])]
        raise ModelError(
            f"{first[0] if first else graph.model.name}: expected an Embedding that reads the "
            f"input {history}, the ids of past items as they are"
        )
    counts = {one.input_dim for one in found}
    if len(counts) > 1:
        raise ModelError(
            f"{', '.join(one.name for one in found)}: expected Embeddings of the same number of "
            f"rows for the input {history}, got {', '.join(map(str, sorted(counts)))}"
        )
    return [*dict.fromkeys(found)]


def _evaluated(graph: Graph, vector: Any, item: str, ids: NDArray[Any]) -> F32:
    """The vector of each item, float32[n, d].

    Raises:
        ModelError: an Embedding has fewer rows than there are items.
    """
    nodes, given = graph.nodes(vector), graph.inputs[item]
    for node in nodes:
        if reads_history(node, given) and node.operation.input_dim != ids[-1] + 1:
            raise ModelError(
                f"{label(node)}: expected {ids[-1] + 1:,} rows for the input {item}, as many as "
                f"the Embedding of past items has, got {node.operation.input_dim:,}"
            )
    parts = []
    for start in range(0, len(ids), _BATCH):
        batch = as_input(given, ids[start : start + _BATCH])
        with torch.no_grad():
            found = array(run(nodes, {id(given): batch})[id(vector)])
        parts.append(found.reshape(len(batch), -1, found.shape[-1])[:, 0])
    return np.concatenate(parts)


def _of_items(values: F32, ids: NDArray[Any], where: str) -> F32:
    """The columns of a layer that belong to items, without that of the id 0 if it is padding.

    Raises:
        ModelError: there is not one per id.
    """
    if len(values) not in (len(ids), ids[-1] + 1):
        raise ModelError(
            f"{where}: expected scores of {len(ids):,} items, for which the Embedding of past "
            f"items has rows, got {len(values):,}"
        )
    return values[-len(ids) :]


def _tables(own: Mapping[Any, F32], rows: F32) -> tuple[dict[str, F32], dict[Any, str]]:
    """The tables of past items by name, and the name of that of each Embedding.

    An Embedding of the same rows as the candidates reads theirs.
    """
    tables: dict[str, F32] = {}
    names = {}
    for number, (layer, one) in enumerate(own.items()):
        name = f"past_{number}" if len(own) > 1 else "past"
        names[layer] = "items" if np.array_equal(one, rows) else name
        tables[names[layer]] = one
    return tables, names
