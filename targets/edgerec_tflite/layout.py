"""The layout of scores in a graph, and the check that a file contains its tables."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgerec.plugin import (
    Affine,
    Dense,
    DeviceModel,
    Lookup,
    Partition,
    Sparse,
    Structure,
    Table,
    TargetError,
    group_size,
)
from edgerec_tflite.codes import stored_codes
from edgerec_tflite.tflite_file import buffers
from edgerec_tflite.tflite_graph import Shape

__all__ = ["check", "height_of", "rows_per_group", "score_layout"]


def height_of(model: DeviceModel, name: str) -> int:
    """The number of rows in a block of a table that is read in blocks; 0 for any other."""
    blocks = model.head.blocks
    return blocks.height if blocks is not None and name == model.head.table else 0


def rows_per_group(n: int, k: int) -> int:
    """The number of rows per group, which divides n if a large divisor exists."""
    most = group_size(n, k)
    return next((size for size in range(most, most // 2, -1) if n % size == 0), most)


def score_layout(table: Table, k: int) -> Shape:
    """The layout of scores of n rows: whole groups, [size, n / size], or flat, [1, n].

    Half-precision values are widened on loading, once per shape in which they are read.
    """
    n, _ = table.shape
    size = rows_per_group(n, k)
    halves = any(
        table.arrays[a].dtype == np.float16 for a in ("scale", "offset") if a in table.arrays
    )
    return (1, n) if halves or size < 2 or n % size else (size, n // size)


def check(data: bytes, model: DeviceModel) -> None:
    """Check that the file contains each array of a used table except lines, byte for byte.

    A second copy of a large array is ruled out by ``check_size``.

    Raises:
        TargetError: an array is missing.
    """
    stored = buffers(data)
    for name in model.used_tables:
        table = model.tables[name]
        structure = table.codec.structure(table.arrays)
        for array in _stored(structure, height_of(model, name)):
            raw = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
            if not any(np.array_equal(raw, buffer) for buffer in stored):
                raise TargetError(
                    f"tflite: the file does not hold {array.dtype}{list(array.shape)} of table "
                    f"{name!r}"
                )


def _stored(structure: Structure | None, height: int = 0) -> list[NDArray[Any]]:
    """The arrays of a structure, except lines, as the file stores them."""
    match structure:
        case Dense(values=values):
            return [values]
        case Affine(codes=codes, scale=scale, offset=offset):
            return [codes, scale] if offset is None else [codes, scale, offset]
        case Lookup() as lookup:
            return stored_codes(lookup, height)
        case Sparse(starts=starts, columns=columns, values=values, scale=scale):
            arrays = [starts, columns, values] + ([] if scale is None else [scale])
            return [array for array in arrays if len(array)]
        case Partition(parts=parts):
            return [array for part in parts for array in _stored(part)]
    return []
