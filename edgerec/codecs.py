"""Codecs: how a matrix of item rows is written, byte for byte.

A codec is a frozen dataclass of its options. ``encode`` turns float32[n, d] into named
arrays, ``decode`` turns chosen rows back into float32, and ``nbytes`` is the exact size
of those arrays, known before anything is encoded, so that a search can compute bytes
instead of trying.

The integer ones are linear in the row: a row decodes to ``scale * codes + offset``, so a
target may scan the codes with an integer kernel and apply the scales to the scores.
"""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from edgerec.errors import CodecError

__all__ = ["CODECS", "F32", "Arrays", "Codec", "Fp16", "Fp32", "Int4", "Int8", "pack4", "unpack4"]

F32 = NDArray[np.float32]
Arrays = Mapping[str, NDArray[Any]]

#: A row's range: all of it, or the part that gives the least squared error.
Range = Literal["minmax", "mse"]

#: Rows quantized at a time.
BLOCK = 65536

#: Parts of a row's range that are tried for the least squared error.
SHRINK = (1.0, 0.95, 0.9, 0.85, 0.8, 0.75, 0.7)


#: (rows, bound) -> places within the slice of the scores above the bound, and those scores.
Above = Callable[[slice, float], tuple[NDArray[np.int64], F32]]


def above(score: Callable[[slice], F32]) -> Above:
    """Score all rows of a slice, and leave out what is not above the bound."""

    def found(rows: slice, bound: float) -> tuple[NDArray[np.int64], F32]:
        scores = score(rows)
        places = np.flatnonzero(scores > bound)
        return places, scores[places]

    return found


class Codec(abc.ABC):
    """How rows are written. Subclasses are frozen dataclasses; their fields are options.

    ``name`` is what a bundle calls the codec; it is unique among installed codecs.
    """

    name: ClassVar[str]

    #: Whether zeros are not written, so that a table grows when one of them changes.
    leaves_zeros_out: ClassVar[bool] = False

    #: Rows that a scan scores at a time: 1 MiB of floats at d = 64, which stays in the cache.
    block: ClassVar[int] = 4096

    def fit(self, matrix: F32) -> Codec:
        """Return the codec with options that depend on the matrix filled in; itself mostly."""
        return self

    def holding(self, codec: Codec) -> Codec:
        """Return what a table in this codec becomes when it is quantized with ``codec``.

        ``codec`` itself, unless this one is about structure and can hold its numbers.
        """
        return codec

    @abc.abstractmethod
    def encode(self, matrix: F32) -> dict[str, NDArray[Any]]:
        """Encode float32[n, d] into named arrays.

        Raises:
            CodecError: the codec cannot hold this matrix.
        """

    @abc.abstractmethod
    def decode(self, arrays: Arrays, rows: NDArray[Any] | slice) -> F32:
        """Decode the given rows to float32[len(rows), d]."""

    def scorer(self, arrays: Arrays, user: F32) -> Callable[[slice], F32]:
        """Return a function from a slice of rows, start to stop, to their products with float32[d].

        A scan calls it block by block, so what depends on the user alone is done here, once.
        By default a block is decoded; a codec that can do with less overrides it.
        """
        return lambda rows: self.decode(arrays, rows) @ user

    def above(self, arrays: Arrays, user: F32) -> Above:
        """Return a function from a slice of rows and a bound to what scores higher than that.

        By default all of them are scored; a codec that can rule rows out for less overrides it.
        """
        return above(self.scorer(arrays, user))

    def take(self, arrays: Arrays, rows: NDArray[Any]) -> tuple[Codec, dict[str, NDArray[Any]]]:
        """Keep the given rows, in their order: the codec, its options fitted, and the arrays.

        By default the rows are encoded again, which may lose something a second time; a codec
        whose rows don't depend on each other takes them as they are.
        """
        matrix = self.decode(arrays, rows)
        codec = self.fit(matrix)
        return codec, codec.encode(matrix)

    @abc.abstractmethod
    def layout(self, n: int, d: int) -> dict[str, tuple[str, tuple[int, ...]]]:
        """Name, dtype and shape of each array for a matrix of n rows and d columns."""

    def nbytes(self, n: int, d: int) -> int:
        """Exact bytes of an encoded matrix of n rows and d columns."""
        return sum(
            np.dtype(dtype).itemsize * int(np.prod(shape))
            for dtype, shape in self.layout(n, d).values()
        )

    def options(self) -> dict[str, Any]:
        """Return the codec's fields, as JSON values."""
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}  # type: ignore[arg-type]  # every subclass is a dataclass

    def check(self, arrays: Arrays, n: int, d: int) -> None:
        """Check that arrays have the layout of an n by d matrix.

        Raises:
            CodecError: an array is missing, unknown, or of another dtype or shape.
        """
        layout = self.layout(n, d)
        if set(layout) != set(arrays):
            raise CodecError(
                f"codec {self.name}: expected arrays {sorted(layout)}, got {sorted(arrays)}"
            )
        for name, (dtype, shape) in layout.items():
            got = arrays[name]
            if got.dtype != np.dtype(dtype) or got.shape != shape:
                raise CodecError(
                    f"codec {self.name}: {name} should be {np.dtype(dtype)}{list(shape)}, "
                    f"got {got.dtype}{list(got.shape)}"
                )


class _RowByRow(Codec):
    """A codec all of whose arrays have an entry a row."""

    def take(self, arrays: Arrays, rows: NDArray[Any]) -> tuple[Codec, dict[str, NDArray[Any]]]:
        """Take the rows as they are written."""
        return self, {name: array[rows] for name, array in arrays.items()}


@dataclass(frozen=True)
class Fp32(_RowByRow):
    """32-bit floats: 4 d bytes a row."""

    name: ClassVar[str] = "fp32"

    def encode(self, matrix: F32) -> dict[str, NDArray[Any]]:
        """Keep the matrix as it is."""
        return {"values": np.ascontiguousarray(matrix, np.float32)}

    def decode(self, arrays: Arrays, rows: NDArray[Any] | slice) -> F32:
        """Read rows."""
        return np.asarray(arrays["values"][rows], np.float32)

    def layout(self, n: int, d: int) -> dict[str, tuple[str, tuple[int, ...]]]:
        """One array."""
        return {"values": ("<f4", (n, d))}


@dataclass(frozen=True)
class Fp16(_RowByRow):
    """IEEE 754 half floats: 2 d bytes a row."""

    name: ClassVar[str] = "fp16"

    def encode(self, matrix: F32) -> dict[str, NDArray[Any]]:
        """Round to half floats; values beyond ±65,504 are an error, not infinity."""
        if matrix.size and float(np.abs(matrix).max()) > 65504:
            raise CodecError("codec fp16: a value is beyond ±65504; scale the table or use int8")
        return {"values": np.ascontiguousarray(matrix, np.float16)}

    def decode(self, arrays: Arrays, rows: NDArray[Any] | slice) -> F32:
        """Widen rows."""
        return arrays["values"][rows].astype(np.float32)

    def layout(self, n: int, d: int) -> dict[str, tuple[str, tuple[int, ...]]]:
        """One array."""
        return {"values": ("<f2", (n, d))}


@dataclass(frozen=True)
class Int8(_RowByRow):
    """8-bit integers with a float32 scale a row: d + 4 bytes (d + 8 if affine).

    Symmetric: ``x ≈ scale · q``, q in [-127, 127], scale = max|x| / 127. Affine:
    ``x ≈ scale · q + offset``, same q, scale = (max - min) / 254. (LiteRT's own int8 kernel goes
    wrong on -128.) Jacob et al.,
    "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
    Inference", CVPR 2018, with one range a row instead of one a tensor.
    """

    name: ClassVar[str] = "int8"
    symmetric: bool = True
    range: Range = "minmax"

    def encode(self, matrix: F32) -> dict[str, NDArray[Any]]:
        """Quantize each row by its own range."""
        codes, scale, offset = quantize_rows(matrix, 8, self.symmetric, self.range)
        arrays: dict[str, NDArray[Any]] = {"codes": codes, "scale": scale}
        return arrays if self.symmetric else arrays | {"offset": offset}

    def decode(self, arrays: Arrays, rows: NDArray[Any] | slice) -> F32:
        """Dequantize rows."""
        return dequantize_rows(arrays["codes"][rows], arrays, rows)

    def scorer(self, arrays: Arrays, user: F32) -> Callable[[slice], F32]:
        """Widen codes, and apply scales to the scores."""
        codes = arrays["codes"]
        return _ranged(lambda rows: codes[rows].astype(np.float32) @ user, arrays, user)

    def layout(self, n: int, d: int) -> dict[str, tuple[str, tuple[int, ...]]]:
        """Codes, scales and, if affine, offsets."""
        return {"codes": ("|i1", (n, d))} | _ranges(n, self.symmetric, "<f4")


@dataclass(frozen=True)
class Int4(_RowByRow):
    """4-bit integers, two a byte, with a float16 scale a row: d/2 + 2 bytes (+ 2 if affine).

    As ``Int8``, with q in [-7, 7] in both forms: tflite-runtime's 4-bit kernel goes wrong
    on -8. Column 2j is the low half of byte j, the order that ONNX and TFLite use.
    """

    name: ClassVar[str] = "int4"
    symmetric: bool = False
    range: Range = "minmax"

    def encode(self, matrix: F32) -> dict[str, NDArray[Any]]:
        """Quantize each row by its own range and pack two codes a byte."""
        if matrix.shape[1] % 2:
            raise CodecError(f"codec int4: an even width is needed, got {matrix.shape[1]}")
        codes, scale, offset = quantize_rows(matrix, 4, self.symmetric, self.range, np.float16)
        arrays: dict[str, NDArray[Any]] = {"codes": pack4(codes), "scale": scale}
        return arrays if self.symmetric else arrays | {"offset": offset}

    def decode(self, arrays: Arrays, rows: NDArray[Any] | slice) -> F32:
        """Unpack and dequantize rows."""
        return dequantize_rows(unpack4(arrays["codes"][rows]), arrays, rows)

    def scorer(self, arrays: Arrays, user: F32) -> Callable[[slice], F32]:
        """Score the low and the high halves of the bytes, and apply scales to the scores."""
        packed = arrays["codes"].view(np.int8)
        # A low half moved up is 16 times its code, with its sign.
        low, high = np.ascontiguousarray(user[0::2] / 16), np.ascontiguousarray(user[1::2])

        def products(rows: slice) -> F32:
            block = packed[rows]
            scores: F32 = (block << 4).astype(np.float32) @ low
            scores += (block >> 4).astype(np.float32) @ high
            return scores

        return _ranged(products, arrays, user)

    def layout(self, n: int, d: int) -> dict[str, tuple[str, tuple[int, ...]]]:
        """Packed codes, scales and, if affine, offsets."""
        return {"codes": ("|u1", (n, d // 2))} | _ranges(n, self.symmetric, "<f2")


#: The codecs that core brings. The host adds those of plugins.
CODECS: Mapping[str, type[Codec]] = {c.name: c for c in (Fp32, Fp16, Int8, Int4)}


def quantize_rows(
    matrix: F32,
    bits: int,
    symmetric: bool,
    range_: Range = "minmax",
    dtype: type[np.floating[Any]] = np.float32,
) -> tuple[NDArray[np.int8], NDArray[Any], NDArray[Any]]:
    """Quantize each row by its own range: (codes int8[n, d], scale[n], offset[n]).

    Scales are rounded to ``dtype`` before the codes are chosen, so that what is stored is
    what the codes were made for. An ``mse`` range is narrower where clipping the ends
    costs less than the finer steps save (Choukroun et al., ICCV Workshops 2019).
    """
    # Block by block, for the sake of the floats in between: several times the matrix.
    blocks = range(0, max(len(matrix), 1), BLOCK)
    parts = [
        _quantize_block(matrix[start : start + BLOCK], bits, symmetric, range_, dtype)
        for start in blocks
    ]
    codes, scale, offset = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return codes, scale, offset


def _quantize_block(
    matrix: F32, bits: int, symmetric: bool, range_: Range, dtype: type[np.floating[Any]]
) -> tuple[NDArray[np.int8], NDArray[Any], NDArray[Any]]:
    best = _quantize_part(matrix, bits, symmetric, 1.0, dtype)
    if range_ == "mse":
        error = _square_error(matrix, *best)
        for part in SHRINK[1:]:
            other = _quantize_part(matrix, bits, symmetric, part, dtype)
            other_error = _square_error(matrix, *other)
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
    # A row without a range has codes 0 and divides by anything.
    divisor = np.where(scale > 0, scale, 1).astype(np.float32)[:, None]
    offset = np.zeros(len(matrix), dtype)
    if not symmetric:
        start = matrix.min(axis=1) + (1 - part) / 2 * span
        offset = (start - low * scale.astype(np.float32)).astype(dtype)
    shifted = (matrix - offset.astype(np.float32)[:, None]) / divisor
    codes = np.clip(np.rint(shifted), low, high).astype(np.int8)
    return codes, scale, offset


def _square_error(
    matrix: F32, codes: NDArray[np.int8], scale: NDArray[Any], offset: NDArray[Any]
) -> F32:
    decoded = dequantize_rows(codes, {"scale": scale, "offset": offset}, slice(None))
    error: F32 = np.square(decoded - matrix).sum(axis=1)
    return error


def dequantize_rows(codes: NDArray[Any], arrays: Arrays, rows: NDArray[Any] | slice) -> F32:
    """Return ``scale · codes + offset`` as float32."""
    values = codes.astype(np.float32)
    values *= arrays["scale"][rows].astype(np.float32)[:, None]
    if "offset" in arrays:
        values += arrays["offset"][rows].astype(np.float32)[:, None]
    return values


def _ranged(products: Callable[[slice], F32], arrays: Arrays, user: F32) -> Callable[[slice], F32]:
    """Apply rows' scales and offsets to their codes' products: u · (s q + o) = s (u · q) + o Σu."""
    total = user.sum()

    def score(rows: slice) -> F32:
        scores = products(rows)
        scores *= arrays["scale"][rows]
        if "offset" in arrays:
            scores += arrays["offset"][rows].astype(np.float32) * total
        return scores

    return score


def pack4(codes: NDArray[np.integer[Any]]) -> NDArray[np.uint8]:
    """Pack codes [..., d] of 4 bits into uint8[..., d / 2], low half first; an odd d ends in 0."""
    *others, d = codes.shape
    nibbles = np.zeros((*others, d + d % 2), np.uint8)
    nibbles[..., :d] = codes & 0x0F
    return np.ascontiguousarray(nibbles[..., 0::2] | (nibbles[..., 1::2] << 4))


def unpack4(packed: NDArray[np.uint8]) -> NDArray[np.int8]:
    """Undo ``pack4`` of codes in [-8, 7], int8[..., d]; ``& 15`` gives those in [0, 15]."""
    *others, half = packed.shape
    codes = np.empty((*others, 2 * half), np.int8)
    codes[..., 0::2] = (packed << 4).view(np.int8) >> 4
    codes[..., 1::2] = packed.view(np.int8) >> 4
    return codes


def _ranges(n: int, symmetric: bool, dtype: str) -> dict[str, tuple[str, tuple[int, ...]]]:
    names = ("scale",) if symmetric else ("scale", "offset")
    return dict.fromkeys(names, (dtype, (n,)))
