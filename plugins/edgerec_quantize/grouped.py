"""Grouped int4: a range per group of numbers in a row, for rows with uneven columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from edgerec.plugin import F32, Affine, Arrays, Codec, CodecError, Int4, Structure


@dataclass(frozen=True)
class Int4Group(Codec):
    """``Int4`` with a float16 scale per ``group`` numbers: d/2 + 2 d/group bytes per row.

    The affine form has as many offsets. Codes are stored as those of int4, and scales as
    float16[n, d/group], the form of ONNX's blockwise quantization.
    """

    name: ClassVar[str] = "int4_group"
    group: int = 16
    symmetric: bool = True
    range: Literal["minmax", "mse"] = "minmax"

    def encode(self, matrix: F32) -> dict[str, NDArray[Any]]:
        """Quantize each group like a row.

        Raises:
            CodecError: the group is odd or does not divide the width.
        """
        n, d = matrix.shape
        if self.group < 2 or self.group % 2 or d % self.group:
            raise CodecError(
                f"codec int4_group: expected an even group that divides the width {d}, "
                f"got {self.group}"
            )
        groups = np.ascontiguousarray(matrix).reshape(-1, self.group)
        arrays = self._of_rows().encode(groups)
        return {name: array.reshape(n, -1) for name, array in arrays.items()}

    def decode(self, arrays: Arrays, rows: NDArray[Any] | slice) -> F32:
        """Unpack and dequantize rows, group by group."""
        return self.structure(arrays).rows(rows)

    def structure(self, arrays: Arrays) -> Structure:
        """Affine, with packed 4-bit codes and a scale per group."""
        return Affine(arrays["codes"], 4, arrays["scale"], arrays.get("offset"))

    def layout(self, n: int, d: int) -> dict[str, tuple[str, tuple[int, ...]]]:
        """Packed codes, scales and, if affine, offsets."""
        layout: dict[str, tuple[str, tuple[int, ...]]] = {"codes": ("|u1", (n, d // 2))}
        for name in ("scale",) if self.symmetric else ("scale", "offset"):
            layout[name] = ("<f2", (n, d // self.group))
        return layout

    def _of_rows(self) -> Int4:
        return Int4(self.symmetric, self.range)
