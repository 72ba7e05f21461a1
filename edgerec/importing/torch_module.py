"""Import a user encoder that is written as a torch module over the rows of a history.

The module is traced by ``torch.export``, its ops are lowered to an encoder's, and the encoder is
proven equal to the module on random histories of all lengths.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from typing import Any, Literal

import numpy as np
import torch
from torch import nn

from edgerec.errors import ModelError
from edgerec.importing.builder import Builder
from edgerec.importing.embeddings import matrix, popular_rows_of
from edgerec.importing.tracing import ending_in_user, lower, trace
from edgerec.importing.values import Value
from edgerec.model.codecs import Fp32
from edgerec.model.device_model import DeviceModel
from edgerec.model.head import Head
from edgerec.model.history import pad_history
from edgerec.model.integers import F32
from edgerec.model.items import Items
from edgerec.model.oracle import Oracle, built_in_values
from edgerec.model.table import Table

__all__ = ["from_torch"]

#: Values besides rows that a module may read, each [H, 1] or [1, 1].
_BUILT_IN = ("weights", "mask", "present", "row_number", "count")

#: The number of histories in the proof, and the greatest difference of a user vector, relative to
#: its largest number.
_HISTORIES, _MOST = 24, 1e-4


def from_torch(
    encoder: nn.Module,
    tables: Mapping[str, Any],
    ids: Iterable[object],
    *,
    candidates: str = "items",
    head: Literal["dot", "cosine", "sigmoid"] = "dot",
    history_length: int = 50,
    titles: Iterable[str] | None = None,
    past_ids: Iterable[object] | None = None,
    popular: Iterable[object] = (),
    normalization: float = 0.0,
    context_width: int = 0,
    **settings: Any,
) -> DeviceModel:
    """Make a model of a torch module that computes a user vector from a history.

    The parameters of ``encoder.forward`` say by their names what it reads:

    - the name of a table: the rows of the history in it, float[H, e], row 0 in padding;
    - ``weights`` float[H, 1]: n^-p · j^-r of each past item, 0 for padding;
    - ``present`` float[H, 1]: 1 for a past item, 0 for padding;
    - ``mask`` float[H, 1]: 0 for a past item, -1e9 for padding, to be added before a softmax or a
      maximum over the history;
    - ``row_number`` float[H, 1]: the row of a past item, counted from 1, and 0 for padding: equal
      items have the same;
    - ``count`` float[1, 1]: the number of past items, at least 1;
    - ``position`` int64[H]: 0, 1, …, the oldest item first;
    - ``user_vector`` float[1, d] and ``context`` float[1, c]: inputs that the model declares.

    It returns the user vector, d numbers in any shape. Past items come first and padding last.

    Args:
        encoder: the module; it is traced in eval mode.
        tables: item rows by name, float[n, e] each, ``candidates`` among them.
        ids: an id per row of the candidates.
        candidates: the table that is scored.
        head: how a user vector scores a row.
        history_length: H, the maximum number of past items.
        titles: a readable title per id.
        past_ids: an id per row of the tables that the module reads, if these are other items.
        popular: ids by falling popularity, recommended for an empty history.
        normalization: p of the weights.
        context_width: c, if the module reads ``context``.
        settings: further fields of DeviceModel, such as ``recency`` or ``repeats``.

    Raises:
        ModelError: the module reads something else, uses an op that cannot be lowered (named with
            its line), reads padding, or the lowered encoder computes something else.
    """
    names = list(inspect.signature(encoder.forward).parameters)
    arrays = {name: matrix(values, f"tables.{name}") for name, values in tables.items()}
    if candidates not in arrays:
        raise ModelError(f"candidates: no table {candidates!r}; tables: {', '.join(arrays)}")
    width = arrays[candidates].shape[1]
    known = (*arrays, *_BUILT_IN, "position", "user_vector", "context")
    if unknown := [name for name in names if name not in known]:
        raise ModelError(
            f"encoder.forward: it reads {', '.join(unknown)}; it can read {', '.join(known)}"
        )
    encoder.eval()
    widths = {name: array.shape[1] for name, array in arrays.items()}
    widths |= {"user_vector": width, "context": context_width}
    builder = Builder(history_length, widths)
    values: dict[str, Any] = {}
    for name in names:
        if name in arrays:
            shape = history_length, arrays[name].shape[1]
            values[name] = Value(builder.op("Gather", (name, "history")), shape, (0, 1))
        elif name == "position":
            values[name] = torch.arange(history_length)
        else:
            high = history_length if name in _BUILT_IN[:-1] else 1
            values[name] = Value(name, (high, widths.get(name, 1)), (0, 1))
    examples = {
        name: torch.zeros(one.shape) if isinstance(one, Value) else one
        for name, one in values.items()
    }
    user = lower(trace(encoder, examples), values, builder)
    ops = ending_in_user(builder.ops, user, width)
    read = {name for op in ops for name in op.inputs}
    catalogue = Items.of(ids, titles)
    model = DeviceModel(
        items=catalogue,
        tables={name: Table.encode(array, Fp32()) for name, array in arrays.items()},
        encoder=ops,
        head=Head(candidates, head),
        history_length=history_length,
        constants={name: one for name, one in builder.constants.items() if name in read},
        normalization=normalization,
        context_width=context_width,
        past=None if past_ids is None else Items.of(past_ids),
        popular=popular_rows_of(catalogue, popular),
        **({"metadata": {"imported": type(encoder).__name__}} | settings),
    )
    _prove(encoder, names, model)
    return model


def _prove(encoder: nn.Module, names: list[str], model: DeviceModel) -> None:
    """Compare the lowered encoder with the module.

    Raises:
        ModelError: they differ, or the module reads padding.
    """
    rng, oracle = np.random.default_rng(0), Oracle(model)
    length, n = model.history_length, len(model.history_items)
    for number in range(_HISTORIES):
        count = (
            (1, length, max(1, length - 1))[number] if number < 3 else rng.integers(1, length + 1)
        )
        rows = rng.integers(0, n, int(count)).astype(np.int32)
        history, weights = pad_history(rows, length, model.normalization, recency=model.recency)
        own = {
            name: rng.normal(size=(1, model.inputs[name])).astype(np.float32)
            for name in model.own_inputs
        }
        found = oracle.encode(history[None], weights[None], **own)
        expected = _run(encoder, names, oracle, history, weights, own)
        if not _close(found, expected):
            raise ModelError(
                f"encoder: lowered, it differs from the module by {_error(found, expected):.2g} "
                f"of a user vector for a history of {count} items; report this with the module"
            )
        history[count:] = rng.integers(0, n, length - int(count))
        other = _run(encoder, names, oracle, history, weights, own, int(count))
        if not _close(other, expected):
            raise ModelError(
                "encoder: its result depends on the rows in padding; multiply what is summed over "
                "the history by present or weights, add mask before a softmax or a maximum, and "
                "divide by count"
            )


def _run(
    encoder: nn.Module,
    names: list[str],
    oracle: Oracle,
    history: Any,
    weights: F32,
    own: Mapping[str, F32],
    count: int | None = None,
) -> F32:
    """The module's own user vector, float[1, d]; rows from ``count`` on are padding."""
    places = np.where(np.arange(len(history)) < (count or len(history)), history, -1)
    values = {**built_in_values(places.astype(np.int32), weights), **own}
    # Other tables may have fewer rows, if past items are others.
    read = {name: rows for name, rows in oracle.tables.items() if name in names}
    values |= {name: rows[np.maximum(history, 0)] for name, rows in read.items()}
    given = {
        name: torch.arange(len(history)) if name == "position" else torch.from_numpy(values[name])
        for name in names
    }
    with torch.no_grad():
        found: F32 = encoder(**given).reshape(1, -1).numpy()
    return found


def _close(found: F32, expected: F32) -> bool:
    return found.shape == expected.shape and _error(found, expected) <= _MOST


def _error(found: F32, expected: F32) -> float:
    return float(np.abs(found - expected).max()) / max(float(np.abs(expected).max()), 1e-6)
