"""Table: a matrix of item rows, encoded by a codec."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgerec.errors import CodecError, ModelError
from edgerec.files.pages import release
from edgerec.model.codecs import F32, Arrays, Codec
from edgerec.model.frozen import frozen_array, frozen_mapping

__all__ = ["Table"]


@dataclass(frozen=True, eq=False)
class Table:
    """A matrix of item rows, [n, d], encoded by a codec. Its arrays are read-only.

    Raises:
        ModelError: the codec, the shape or an array is of the wrong type.
        CodecError: the arrays do not have the codec's layout.
    """

    codec: Codec
    shape: tuple[int, int]
    arrays: Arrays = field(repr=False)

    def __post_init__(self) -> None:
        if not isinstance(self.codec, Codec):
            raise ModelError(f"table: codec: expected a Codec, got {self.codec!r}")
        if not isinstance(self.arrays, Mapping) or not all(
            isinstance(array, np.ndarray) for array in self.arrays.values()
        ):
            raise ModelError(
                f"table: arrays: expected numpy arrays by name, got {type(self.arrays).__name__}"
            )
        if len(self.shape) != 2 or not all(isinstance(n, int | np.integer) for n in self.shape):
            raise ModelError(f"table: shape: expected (items, width), got {self.shape!r}")
        self.codec.check(self.arrays, *self.shape)
        arrays = {name: frozen_array(array) for name, array in self.arrays.items()}
        object.__setattr__(self, "arrays", frozen_mapping(arrays))

    @classmethod
    def encode(cls, matrix: F32, codec: Codec) -> Table:
        """Encode float32[n, d] with a codec.

        Raises:
            ModelError: the matrix is not two-dimensional or not finite.
            CodecError: the codec cannot hold it.
        """
        matrix = np.ascontiguousarray(matrix, np.float32)
        if matrix.ndim != 2:
            raise ModelError(f"table: expected a matrix [items, width], got shape {matrix.shape}")
        if not np.isfinite(matrix).all():
            raise ModelError("table: contains NaN or infinity; the training may have diverged")
        n, d = matrix.shape
        codec = codec.fit(matrix)
        with np.errstate(over="ignore", invalid="ignore"):  # checked below
            arrays: Any = codec.encode(matrix)
        if not isinstance(arrays, Mapping) or not all(
            isinstance(array, np.ndarray) for array in arrays.values()
        ):
            raise CodecError(
                f"codec {codec.name}: encode returned {type(arrays).__name__}, not arrays by name"
            )
        table = cls(codec, (n, d), arrays)
        for name, array in table.arrays.items():
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                raise CodecError(
                    f"codec {codec.name}: {name!r} contains a number that does not fit "
                    f"{array.dtype}; scale the table down"
                )
        return table

    def decode(self, rows: NDArray[Any] | slice = slice(None)) -> F32:
        """Decode rows to float32[len(rows), d]; all of them by default."""
        return self.codec.decode(self.arrays, rows)

    def take(self, rows: NDArray[Any]) -> Table:
        """Keep the given rows, in the given order."""
        codec, arrays = self.codec.take(self.arrays, rows)
        return Table(codec, (len(rows), self.shape[1]), arrays)

    def replace(self, matrix: F32) -> Table:
        """Encode another matrix with the same codec."""
        return Table.encode(matrix, self.codec)

    def release(self) -> None:
        """Return the pages of a memory-mapped table to the system; they are read again on use."""
        for array in self.arrays.values():
            release(array)

    @property
    def nbytes(self) -> int:
        """Exact size of the encoded rows in bytes."""
        return sum(a.nbytes for a in self.arrays.values())
