"""The sparse codec, which stores only numbers that are not zero."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from edgerec.plugin import F32, Arrays, Codec, CodecError, Structure
from edgerec.plugin import Sparse as SparseRows


@dataclass(frozen=True)
class Sparse(Codec):
    """Compressed sparse rows with one byte per column index.

    fp16 values take 3 bytes per non-zero number and 4 per row. int8 values, with a float16 scale
    per row, take 2 bytes per number and 6 per row. At d = 64, that is smaller than dense int8 if
    about 70 % of the numbers are zero.
    """

    name: ClassVar[str] = "sparse"
    keeps_floats: ClassVar[bool] = True
    leaves_zeros_out: ClassVar[bool] = True
    values: Literal["fp16", "int8"] = "fp16"
    nonzeros: int = 0
    width: int = 0

    def fit(self, matrix: F32) -> Sparse:
        """Record the width and the number of non-zeros."""
        return dataclasses.replace(
            self, nonzeros=int(np.count_nonzero(matrix)), width=matrix.shape[1]
        )

    def holding(self, codec: Codec) -> Codec:
        """Quantizing a sparse table quantizes its values, and the table stays sparse."""
        if codec.name == "fp16":
            return dataclasses.replace(self, values="fp16")
        if codec.name == "int8":
            return dataclasses.replace(self, values="int8")
        raise CodecError(f"codec sparse: values can be fp16 or int8, not {codec.name}")

    def encode(self, matrix: F32) -> dict[str, NDArray[Any]]:
        """Write row starts, column indices and values."""
        if matrix.shape[1] > 256:
            raise CodecError(f"codec sparse: at most 256 columns, got {matrix.shape[1]}")
        rows, columns = np.nonzero(matrix)
        values = matrix[rows, columns]
        starts = np.zeros(len(matrix) + 1, np.uint32)
        np.cumsum(np.bincount(rows, minlength=len(matrix)), out=starts[1:])
        arrays: dict[str, NDArray[Any]] = {"starts": starts, "columns": columns.astype(np.uint8)}
        if self.values == "fp16":
            if values.size and float(np.abs(values).max()) > 65504:
                raise CodecError("codec sparse: a value is beyond ±65504; scale the table down")
            return arrays | {"values": values.astype(np.float16)}
        scale = (np.abs(matrix).max(axis=1) / 127).astype(np.float16)
        divisor = np.maximum(scale.astype(np.float32), 1e-30)[rows]
        codes = np.clip(np.rint(values / divisor), -127, 127).astype(np.int8)
        return arrays | {"values": codes, "scale": scale}

    def decode(self, arrays: Arrays, rows: NDArray[Any] | slice) -> F32:
        """Scatter rows into a dense block."""
        return self.structure(arrays).rows(rows)

    def structure(self, arrays: Arrays) -> Structure:
        """Sparse, with a scale per row for int8 values."""
        return SparseRows(
            arrays["starts"], arrays["columns"], arrays["values"], self.width, arrays.get("scale")
        )

    def check(self, arrays: Arrays, n: int, d: int) -> None:
        """Check the layout, and that rows and columns lie inside the table."""
        super().check(arrays, n, d)
        starts, columns = arrays["starts"].astype(np.int64), arrays["columns"]
        if starts[0] != 0 or starts[-1] != self.nonzeros or (np.diff(starts) < 0).any():
            raise CodecError(f"codec sparse: starts should rise from 0 to {self.nonzeros:,}")
        if self.width != d or (columns.size and int(columns.max()) >= d):
            raise CodecError(f"codec sparse: a column is beyond the {d} of the table")

    def layout(self, n: int, d: int) -> dict[str, tuple[str, tuple[int, ...]]]:
        """Row starts, column indices and values; the sizes depend on the number of non-zeros."""
        layout: dict[str, tuple[str, tuple[int, ...]]] = {
            "starts": ("<u4", (n + 1,)),
            "columns": ("|u1", (self.nonzeros,)),
            "values": ("<f2" if self.values == "fp16" else "|i1", (self.nonzeros,)),
        }
        return layout if self.values == "fp16" else layout | {"scale": ("<f2", (n,))}
