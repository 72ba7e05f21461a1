"""Checks of the parts of a DeviceModel; each failure names the part and what was expected."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from edgerec.errors import ModelError
from edgerec.model.head import Head
from edgerec.model.items import Items
from edgerec.model.ops import Op
from edgerec.model.table import Table

__all__ = ["MAX_EXPONENT", "MAX_HISTORY", "check_parts", "check_types"]

#: The longest history that a model can read, and the greatest exponent of a weight.
MAX_HISTORY, MAX_EXPONENT = 16_384, 8

#: The most items whose numbers float32 tells apart.
_MAX_NUMBERED = 2**24


def check_types(model: Any) -> None:
    """Check that each field of a DeviceModel is of its type, so that later checks can rely on it.

    Raises:
        ModelError: one is not.
    """
    expected: dict[str, type | tuple[type, ...]] = {
        "items": Items,
        "tables": Mapping,
        "encoder": (tuple, list),
        "head": Head,
        "constants": Mapping,
        "popular": np.ndarray,
        "metadata": Mapping,
    }
    for name, kind in expected.items():
        value = getattr(model, name)
        if not isinstance(value, kind):
            names = [k.__name__ for k in (kind if isinstance(kind, tuple) else (kind,))]
            raise ModelError(f"{name}: expected {' or '.join(names)}, got {type(value).__name__}")
    for kind_name, values, wanted in (
        ("tables", model.tables.values(), Table),
        ("encoder", model.encoder, Op),
        ("constants", model.constants.values(), np.ndarray),
    ):
        for value in values:
            if not isinstance(value, wanted):
                raise ModelError(
                    f"{kind_name}: expected {wanted.__name__} values, got {type(value).__name__}"
                )
    if type(model.history_length) is not int:
        raise ModelError(f"history_length: expected an integer, got {model.history_length!r}")
    if model.popular.ndim != 1 or (model.popular.size and model.popular.dtype != np.int32):
        raise ModelError(
            f"popular: expected int32[rows], got {model.popular.dtype}{list(model.popular.shape)}"
        )


def check_parts(model: Any) -> None:
    """Check that numbers of a DeviceModel are in range, names plain, and tables of equal height.

    Raises:
        ModelError: something is not as it should be.
    """
    if not 1 <= model.history_length <= MAX_HISTORY:
        raise ModelError(
            f"history_length: expected 1 to {MAX_HISTORY:,}, got {model.history_length:,}"
        )
    for name in ("normalization", "recency"):
        # This is false for NaN, too.
        if not abs(getattr(model, name)) <= MAX_EXPONENT:
            raise ModelError(
                f"{name}: expected a number from -{MAX_EXPONENT} to {MAX_EXPONENT}, got "
                f"{getattr(model, name)}"
            )
    if model.repeats not in ("merge", "keep"):
        raise ModelError(f"repeats: expected merge or keep, got {model.repeats!r}")
    for name in ("drop_seen", "weighted"):
        if not isinstance(getattr(model, name), bool):
            raise ModelError(f"{name}: expected true or false, got {getattr(model, name)!r}")
    own = {*model.constants, *(op.output for op in model.encoder)}
    read = "context" not in own and any("context" in op.inputs for op in model.encoder)
    if type(model.context_width) is not int or model.context_width < 0:
        raise ModelError(f"context_width: expected an integer from 0, got {model.context_width!r}")
    if read != (model.context_width > 0):
        expected = (
            "at least 1, because the encoder reads context"
            if read
            else "0, because the encoder does not read context"
        )
        raise ModelError(f"context_width: expected {expected}, got {model.context_width}")
    _ = model.context  # which fails if the metadata describe another one
    for kind, names in (("tables", model.tables), ("constants", model.constants)):
        for name in names:
            # The name becomes part of a file name.
            if not re.fullmatch(r"[\w.-]+", name):
                raise ModelError(
                    f"{kind}: expected a name of letters, digits and _ . -, got {name!r}"
                )
    numbered = any("row_number" in op.inputs for op in model.encoder)
    if numbered and len(model.history_items) > _MAX_NUMBERED:
        raise ModelError(
            f"encoder: row_number counts up to {_MAX_NUMBERED:,} exactly, and there are "
            f"{len(model.history_items):,} items"
        )
    if model.head.table not in model.tables:
        raise ModelError(
            f"head.table: no table {model.head.table!r}; tables: {', '.join(model.tables)}"
        )
    blocks, n = model.head.blocks, len(model.items)
    if blocks is not None and blocks.read >= blocks.count(n):
        raise ModelError(
            f"head.blocks.read: expected fewer than the {blocks.count(n):,} blocks of {n:,} items, "
            f"got {blocks.read:,}; without blocks, all rows are scored"
        )
    if model.past is not None and not isinstance(model.past, Items):
        raise ModelError(f"past: expected Items or None, got {type(model.past).__name__}")
    if model.past is not None and model.head.table in model.gathered:
        raise ModelError(
            f"past: table {model.head.table!r} cannot have rows of both past items and candidates"
        )
    for name, table in model.tables.items():
        items = model.history_items if name in model.gathered else model.items
        if table.shape[0] != len(items):
            kind = "items" if items is model.items else "past items"
            raise ModelError(f"tables.{name}: {table.shape[0]} rows for {len(items)} {kind}")
    for name, constant in model.constants.items():
        if constant.ndim != 2 or constant.dtype != np.float32:
            raise ModelError(
                f"constants.{name}: expected a float32 matrix, got "
                f"{constant.dtype}{list(constant.shape)}"
            )
    if model.popular.size and not (
        int(model.popular.min()) >= 0 and int(model.popular.max()) < len(model.items)
    ):
        raise ModelError("popular: a row is outside the catalogue")
