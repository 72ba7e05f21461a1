"""Codecs: how a matrix of item rows is written, byte for byte.

A codec is a frozen dataclass of its options. ``encode`` turns float32[n, d] into named arrays,
``decode`` turns chosen rows back into float32, and ``nbytes`` is the exact size of those arrays.
The size is known before anything is encoded, so a search can compute bytes instead of trying.
"""

from __future__ import annotations

import abc
import dataclasses
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from edgerec.errors import CodecError
from edgerec.model.integers import (
    F32,
    Arrays,
    Range,
    dequantize_rows,
    pack4,
    quantize_rows,
    unpack4,
)
from edgerec.model.options import plain
from edgerec.model.structure import Affine, Dense, Structure

__all__ = ["F32", "Arrays", "Codec", "Fp16", "Fp32", "Int4", "Int8"]


class Codec(abc.ABC):
    """A way to write rows. Subclasses are frozen dataclasses; their fields are options.

    ``name`` identifies the codec in a bundle and is unique among installed codecs.
    """

    name: ClassVar[str]

    #: Whether encoding learns what it stores, such as codebooks. Encoding such a table anew is
    #: expensive and loses quality, so a search does not let a step do it.
    learns: ClassVar[bool] = False

    #: Whether numbers stay floats, so that any step may follow in a search.
    keeps_floats: ClassVar[bool] = False

    #: Whether zeros are omitted, so that a table grows when one of them changes.
    leaves_zeros_out: ClassVar[bool] = False

    @property
    def parts(self) -> tuple[Codec, ...]:
        """The codecs that this one consists of; by default there are none."""
        return ()

    def kinds(self) -> set[type[Codec]]:
        """The class of this codec, and those of its parts."""
        return {type(self)}.union(*(part.kinds() for part in self.parts))

    def fit(self, matrix: F32) -> Codec:
        """Return the codec with the options that depend on the matrix filled in.

        Most codecs have no such options and return themselves.
        """
        return self

    def holding(self, codec: Codec) -> Codec:
        """Return the codec of a table in this codec once it is quantized with ``codec``.

        This is ``codec`` itself, unless this codec describes a structure (such as sparsity) that
        can hold the numbers of ``codec``.
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

    def structure(self, arrays: Arrays) -> Structure | None:
        """Describe how rows follow from the arrays, for targets that scan without decoding.

        By default nothing is declared, and only a target that decodes rows with numpy runs it.
        """
        return None

    def take(self, arrays: Arrays, rows: NDArray[Any]) -> tuple[Codec, dict[str, NDArray[Any]]]:
        """Keep the given rows, in the given order; return the fitted codec and the arrays.

        By default the rows are encoded again, which may lose precision a second time. A codec
        whose rows are independent of each other overrides this and copies them unchanged.
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
        """Return the codec's fields as JSON values; a field that is a codec is its spec."""
        fields = dataclasses.fields(self)  # type: ignore[arg-type]  # every subclass is a dataclass
        return {f.name: plain(getattr(self, f.name)) for f in fields}

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
    """A codec whose arrays all have one entry per row."""

    def take(self, arrays: Arrays, rows: NDArray[Any]) -> tuple[Codec, dict[str, NDArray[Any]]]:
        """Copy the encoded rows."""
        return self, {name: array[rows] for name, array in arrays.items()}


@dataclass(frozen=True)
class Fp32(_RowByRow):
    """32-bit floats: 4 d bytes per row."""

    name: ClassVar[str] = "fp32"
    keeps_floats: ClassVar[bool] = True

    def encode(self, matrix: F32) -> dict[str, NDArray[Any]]:
        """Store the matrix unchanged."""
        return {"values": np.ascontiguousarray(matrix, np.float32)}

    def decode(self, arrays: Arrays, rows: NDArray[Any] | slice) -> F32:
        """Read rows."""
        return np.asarray(arrays["values"][rows], np.float32)

    def structure(self, arrays: Arrays) -> Structure:
        """Dense."""
        return Dense(arrays["values"])

    def layout(self, n: int, d: int) -> dict[str, tuple[str, tuple[int, ...]]]:
        """One array."""
        return {"values": ("<f4", (n, d))}


@dataclass(frozen=True)
class Fp16(_RowByRow):
    """IEEE 754 half-precision floats: 2 d bytes per row."""

    name: ClassVar[str] = "fp16"
    keeps_floats: ClassVar[bool] = True

    def encode(self, matrix: F32) -> dict[str, NDArray[Any]]:
        """Round to half precision; a value beyond ±65,504 is an error, not infinity."""
        if matrix.size and float(np.abs(matrix).max()) > 65504:
            raise CodecError(
                "codec fp16: a value is beyond ±65504; scale the table down or use int8"
            )
        return {"values": np.ascontiguousarray(matrix, np.float16)}

    def decode(self, arrays: Arrays, rows: NDArray[Any] | slice) -> F32:
        """Widen rows."""
        return arrays["values"][rows].astype(np.float32)

    def structure(self, arrays: Arrays) -> Structure:
        """Dense."""
        return Dense(arrays["values"])

    def layout(self, n: int, d: int) -> dict[str, tuple[str, tuple[int, ...]]]:
        """One array."""
        return {"values": ("<f2", (n, d))}


@dataclass(frozen=True)
class Int8(_RowByRow):
    """8-bit integers with a float32 scale per row: d + 4 bytes (d + 8 if affine).

    Symmetric: ``x ≈ scale · q``, q in [-127, 127], scale = max|x| / 127. Affine:
    ``x ≈ scale · q + offset``, same q, scale = (max - min) / 254. (LiteRT's int8 kernel computes
    wrong results for -128, so it is not used.) Jacob et al., "Quantization and Training of Neural
    Networks for Efficient Integer-Arithmetic-Only Inference", CVPR 2018, with one range per row
    instead of one per tensor.
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

    def structure(self, arrays: Arrays) -> Structure:
        """Affine, with 8-bit codes."""
        return Affine(arrays["codes"], 8, arrays["scale"], arrays.get("offset"))

    def layout(self, n: int, d: int) -> dict[str, tuple[str, tuple[int, ...]]]:
        """Codes, scales and, if affine, offsets."""
        return {"codes": ("|i1", (n, d))} | _ranges(n, self.symmetric, "<f4")


@dataclass(frozen=True)
class Int4(_RowByRow):
    """4-bit integers, two per byte, with a float16 scale per row: d/2 + 2 bytes (+ 2 if affine).

    Like ``Int8``, with q in [-7, 7] in both forms, because tflite-runtime's 4-bit kernel computes
    wrong results for -8. Column 2j is the low half of byte j, the order that ONNX and TFLite use.
    """

    name: ClassVar[str] = "int4"
    symmetric: bool = False
    range: Range = "minmax"

    def encode(self, matrix: F32) -> dict[str, NDArray[Any]]:
        """Quantize each row by its own range and pack two codes per byte."""
        if matrix.shape[1] % 2:
            raise CodecError(f"codec int4: an even width is needed, got {matrix.shape[1]}")
        codes, scale, offset = quantize_rows(matrix, 4, self.symmetric, self.range, np.float16)
        arrays: dict[str, NDArray[Any]] = {"codes": pack4(codes), "scale": scale}
        return arrays if self.symmetric else arrays | {"offset": offset}

    def decode(self, arrays: Arrays, rows: NDArray[Any] | slice) -> F32:
        """Unpack and dequantize rows."""
        return dequantize_rows(unpack4(arrays["codes"][rows]), arrays, rows)

    def structure(self, arrays: Arrays) -> Structure:
        """Affine, with packed 4-bit codes."""
        return Affine(arrays["codes"], 4, arrays["scale"], arrays.get("offset"))

    def layout(self, n: int, d: int) -> dict[str, tuple[str, tuple[int, ...]]]:
        """Packed codes, scales and, if affine, offsets."""
        return {"codes": ("|u1", (n, d // 2))} | _ranges(n, self.symmetric, "<f2")


def _ranges(n: int, symmetric: bool, dtype: str) -> dict[str, tuple[str, tuple[int, ...]]]:
    names = ("scale",) if symmetric else ("scale", "offset")
    return dict.fromkeys(names, (dtype, (n,)))
