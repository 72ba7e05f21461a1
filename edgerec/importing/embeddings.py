"""Import item tables from anywhere: any model that scores by products with pooled histories."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edgerec.errors import ModelError
from edgerec.model.codecs import Fp32
from edgerec.model.device_model import DeviceModel
from edgerec.model.head import Head
from edgerec.model.integers import F32
from edgerec.model.items import Items
from edgerec.model.ops import Op
from edgerec.model.table import Table

__all__ = ["from_embeddings", "matrix", "popular_rows_of"]

#: The exponent p of each pooling: past items are summed and divided by n^p.
_POOLING = {"mean": 1.0, "sqrt": 0.5, "sum": 0.0}


def from_embeddings(
    ids: Iterable[object],
    items: Any,
    past: Any = None,
    *,
    pooling: Literal["mean", "sqrt", "sum"] = "mean",
    head: Literal["dot", "cosine", "sigmoid"] = "dot",
    titles: Iterable[str] | None = None,
    past_ids: Iterable[object] | None = None,
    popular: Sequence[object] = (),
    history_length: int = 200,
    **settings: Any,
) -> DeviceModel:
    r"""Make a model of item rows: u = n^-p Σ_{i in history} past_i, scored against ``items``.

    Args:
        ids: an id per row of ``items``, in order.
        items: float[n, d], the rows that are scored; an array, a tensor, or nested lists.
        past: float[n, d], the rows that a history adds up; ``items`` by default.
        pooling: ``mean`` (p = 1), ``sqrt`` (p = 1/2, as in LightGCN) or ``sum`` (p = 0).
        head: how a user vector scores a row: ``dot``, ``cosine``, or ``sigmoid`` of the product.
        titles: a readable title per id.
        past_ids: an id per row of ``past``, if histories are of other items than ``ids``.
        popular: ids by falling popularity, recommended for an empty history.
        history_length: H, the maximum number of past items that are read.
        settings: further fields of DeviceModel, such as ``recency``, ``repeats``, ``drop_seen`` or
            ``weighted``.

    Raises:
        ModelError: the parts do not fit together, or a number is not finite.
    """
    if pooling not in _POOLING:
        raise ModelError(f"pooling: expected mean, sqrt or sum, got {pooling!r}")
    catalogue = Items.of(ids, titles)
    tables = {"items": matrix(items, "items", len(catalogue))}
    histories = None if past_ids is None else Items.of(past_ids)
    if past is not None:
        height = len(catalogue if histories is None else histories)
        tables["past"] = matrix(past, "past", height)
        if tables["past"].shape[1] != tables["items"].shape[1]:
            raise ModelError(
                f"past: expected rows as wide as those of items, {tables['items'].shape[1]}, got "
                f"{tables['past'].shape[1]}"
            )
    elif past_ids is not None:
        raise ModelError("past_ids: expected rows for them in past, got none")
    return DeviceModel(
        items=catalogue,
        tables={name: Table.encode(rows, Fp32()) for name, rows in tables.items()},
        encoder=(
            Op("Gather", ("items" if past is None else "past", "history"), "rows"),
            Op("Mul", ("rows", "weights"), "weighted"),
            Op("ReduceSum", ("weighted",), "user"),
        ),
        head=Head("items", head),
        history_length=history_length,
        normalization=_POOLING[pooling],
        past=histories,
        popular=popular_rows_of(catalogue, popular),
        **({"metadata": {"imported": "embeddings"}} | settings),
    )


def matrix(values: Any, name: str, height: int | None = None) -> F32:
    """Return float32[n, d] of an array, a torch tensor, or nested lists.

    Args:
        values: the numbers.
        name: what to call them in messages.
        height: n, if it is known.

    Raises:
        ModelError: they are no such matrix, or not finite.
    """
    detach = getattr(values, "detach", None)  # a torch tensor, without importing torch
    try:
        array = np.asarray(values if detach is None else detach().cpu().float().numpy())
        found = np.ascontiguousarray(array, np.float32)
    except (TypeError, ValueError) as error:
        raise ModelError(f"{name}: expected a matrix of numbers: {error}") from None
    if found.ndim != 2 or not found.size:
        raise ModelError(f"{name}: expected a matrix [rows, width], got the shape {[*found.shape]}")
    if height is not None and len(found) != height:
        raise ModelError(f"{name}: expected {height:,} rows, one per id, got {len(found):,}")
    if not np.isfinite(found).all():
        row = int(np.flatnonzero(~np.isfinite(found).all(axis=1))[0])
        raise ModelError(f"{name}: row {row} has a number that is NaN, infinite, or beyond float32")
    return found


def popular_rows_of(items: Items, popular: Iterable[object]) -> NDArray[np.int32]:
    """The rows of popular ids.

    Raises:
        ModelError: one is not in the catalogue, or occurs twice.
    """
    rows = [items.find(item) for item in popular]
    if None in rows or len(set(rows)) < len(rows):
        raise ModelError("popular: expected different ids of the catalogue")
    return np.array(rows, np.int32)
