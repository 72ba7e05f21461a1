"""Row-wise quantization to small integers, and the packing of two 4-bit codes per byte."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edgerec.errors import CodecError

__all__ = [
    "F32",
    "Arrays",
    "Range",
    "dequantize_rows",
    "pack4",
    "quantize_rows",
    "unpack1",
    "unpack4",
]

#: A float32 array.
F32 = NDArray[np.float32]

#: The named arrays that a codec writes.
Arrays = Mapping[str, NDArray[Any]]

#: Which range of a row is mapped to integers: all of it, or the part with the least squared error.
Range = Literal["minmax", "mse"]

#: Rows that are quantized at a time.
_BLOCK = 65536

#: Shares of a row's range that are tried for the least squared error.
_SHRINK = (1.0, 0.95, 0.9, 0.85, 0.8, 0.75, 0.7)


def quantize_rows(
    matrix: F32,
    bits: int,
    symmetric: bool,
    range_: Range = "minmax",
    dtype: type[np.floating[Any]] = np.float32,
) -> tuple[NDArray[np.int8], NDArray[Any], NDArray[Any]]:
    """Quantize each row by its own range.

    Scales are rounded to ``dtype`` before the codes are chosen, so the codes fit the scales that
    are stored. An ``mse`` range is narrower wherever clipping the extremes costs less than the
    finer steps save (Choukroun et al., ICCV Workshops 2019).

    Returns:
        Codes int8[n, d], and scales and offsets, ``dtype``[n] each.

    Raises:
        CodecError: a row's range does not fit ``dtype``.
    """
    # Block by block, because the intermediate floats take several times the matrix.
    blocks = range(0, max(len(matrix), 1), _BLOCK)
    parts = [
        _quantize_block(matrix[start : start + _BLOCK], bits, symmetric, range_, dtype)
        for start in blocks
    ]
    codes, scale, offset = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return codes, scale, offset


def dequantize_rows(codes: NDArray[Any], arrays: Arrays, rows: NDArray[Any] | slice) -> F32:
    """Return ``scale · codes + offset`` as float32."""
    values = codes.astype(np.float32)
    values *= arrays["scale"][rows].astype(np.float32)[:, None]
    if "offset" in arrays:
        values += arrays["offset"][rows].astype(np.float32)[:, None]
    return values


def pack4(codes: NDArray[np.integer[Any]]) -> NDArray[np.uint8]:
    """Pack 4-bit codes [..., d] into uint8[..., d / 2], low half first; an odd d gets a 0."""
    *others, d = codes.shape
    nibbles = np.zeros((*others, d + d % 2), np.uint8)
    nibbles[..., :d] = codes & 0x0F
    return np.ascontiguousarray(nibbles[..., 0::2] | (nibbles[..., 1::2] << 4))


def unpack4(packed: NDArray[np.uint8]) -> NDArray[np.int8]:
    """Undo ``pack4`` for codes in [-8, 7], as int8[..., d]; ``& 15`` gives codes in [0, 15]."""
    *others, half = packed.shape
    codes = np.empty((*others, 2 * half), np.int8)
    codes[..., 0::2] = (packed << 4).view(np.int8) >> 4
    codes[..., 1::2] = packed.view(np.int8) >> 4
    return codes


def unpack1(packed: NDArray[np.uint8]) -> NDArray[np.int8]:
    """The bits of uint8[..., w], the lowest first, as int8[..., 8 w]: 1 if set, and -1 if not."""
    bits = np.unpackbits(packed, axis=-1, bitorder="little").view(np.int8)
    return 2 * bits - np.int8(1)


def _quantize_block(
    matrix: F32, bits: int, symmetric: bool, range_: Range, dtype: type[np.floating[Any]]
) -> tuple[NDArray[np.int8], NDArray[Any], NDArray[Any]]:
    best = _quantize_part(matrix, bits, symmetric, 1.0, dtype)
    if range_ == "mse":
        error = _squared_error(matrix, *best)
        for part in _SHRINK[1:]:
            other = _quantize_part(matrix, bits, symmetric, part, dtype)
            other_error = _squared_error(matrix, *other)
            better = other_error < error
            error[better] = other_error[better]
            for array, replacement in zip(best, other, strict=True):
                array[better] = replacement[better]
    return best


def _quantize_part(
    matrix: F32, bits: int, symmetric: bool, part: float, dtype: type[np.floating[Any]]
) -> tuple[NDArray[np.int8], NDArray[Any], NDArray[Any]]:
    high = 2 ** (bits - 1) - 1
    if symmetric:
        span, steps, low = np.abs(matrix).max(axis=1), high, -high
    else:
        span, steps, low = np.ptp(matrix, axis=1), 2 * high, -high
    scale = (part * span / steps).astype(dtype)
    if not np.all(np.isfinite(scale)):
        raise CodecError(f"a row's range does not fit {np.dtype(dtype).name}; scale the table down")
    # A constant row has the code 0 everywhere, so any divisor will do.
    divisor = np.where(scale > 0, scale, 1).astype(np.float32)[:, None]
    offset = np.zeros(len(matrix), dtype)
    if not symmetric:
        start = matrix.min(axis=1) + (1 - part) / 2 * span
        offset = (start - low * scale.astype(np.float32)).astype(dtype)
    shifted = (matrix - offset.astype(np.float32)[:, None]) / divisor
    codes = np.clip(np.rint(shifted), low, high).astype(np.int8)
    return codes, scale, offset


def _squared_error(
    matrix: F32, codes: NDArray[np.int8], scale: NDArray[Any], offset: NDArray[Any]
) -> F32:
    decoded = dequantize_rows(codes, {"scale": scale, "offset": offset}, slice(None))
    error: F32 = np.square(decoded - matrix).sum(axis=1)
    return error
