"""The layout of scores in a graph, and the check that a file contains its tables."""

from __future__ import annotations

import numpy as np

from edgerec.plugin import DeviceModel, Lookup, RunLines, Table, TargetError, group_size
from edgerec_tflite.tflite_graph import Shape, buffers

__all__ = ["check", "rows_per_group", "score_layout"]


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
    """Check that the file contains each array of a used table, byte for byte.

    A second copy of a large array is ruled out by ``check_size``.

    Raises:
        TargetError: an array is missing.
    """
    stored = buffers(data)
    for name in model.used_tables:
        table = model.tables[name]
        structure = table.codec.structure(table.arrays)
        arrays = table.arrays
        if isinstance(structure, Lookup):
            arrays = {"codes": structure.codes.T}
        elif isinstance(structure, RunLines):
            continue
        for key, array in arrays.items():
            raw = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
            if not any(np.array_equal(raw, buffer) for buffer in stored):
                raise TargetError(f"tflite: the file does not hold table {name!r}: {key}")
