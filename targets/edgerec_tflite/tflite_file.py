"""Write a TFLite file: what the functions of a model share, and the FlatBuffer itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

__all__ = ["OPS", "File", "buffers"]

#: Runtimes map constants in place, and the format guarantees this alignment.
ALIGNMENT = 16

#: The options table of each op in the schema, and the first version of the op that supports the
#: types used here, so that old runtimes accept the file.
OPS: dict[str, tuple[str | None, int]] = {
    "ADD": ("AddOptions", 1),
    "BATCH_MATMUL": ("BatchMatMulOptions", 1),
    "CAST": ("CastOptions", 1),
    "CONCATENATION": ("ConcatenationOptions", 1),
    "CUMSUM": ("CumsumOptions", 1),
    "DEQUANTIZE": ("DequantizeOptions", 3),
    "DIV": ("DivOptions", 1),
    "EQUAL": ("EqualOptions", 1),
    "EXP": (None, 1),
    "FILL": (None, 1),
    "FLOOR": (None, 1),
    "FLOOR_DIV": ("FloorDivOptions", 1),
    "FULLY_CONNECTED": ("FullyConnectedOptions", 6),
    "GATHER": ("GatherOptions", 2),
    "GELU": ("GeluOptions", 1),
    "GREATER": ("GreaterOptions", 1),
    "LEAKY_RELU": ("LeakyReluOptions", 1),
    "LESS": ("LessOptions", 1),
    "LOGICAL_AND": ("LogicalAndOptions", 1),
    "LOGISTIC": (None, 1),
    "MAXIMUM": ("MaximumMinimumOptions", 1),
    "MEAN": ("ReducerOptions", 1),
    "MINIMUM": ("MaximumMinimumOptions", 1),
    "MUL": ("MulOptions", 1),
    "NEG": (None, 1),
    "NOT_EQUAL": ("NotEqualOptions", 1),
    "POW": ("PowOptions", 1),
    "REDUCE_MAX": ("ReducerOptions", 1),
    "RELU": (None, 1),
    "RESHAPE": ("ReshapeOptions", 1),
    "REVERSE_V2": ("ReverseV2Options", 1),
    "SCATTER_ND": ("ScatterNdOptions", 1),
    "SELECT_V2": (None, 1),
    "SLICE": ("SliceOptions", 1),
    "SOFTMAX": ("SoftmaxOptions", 1),
    "SQRT": (None, 1),
    "SUB": ("SubOptions", 1),
    "SUM": ("ReducerOptions", 1),
    "TANH": (None, 1),
    "TOPK_V2": ("TopKV2Options", 1),
    "TRANSPOSE": ("TransposeOptions", 1),
}

#: Arrays of at most this many bytes are compared by their contents.
_SMALL = 4096


class Function(Protocol):
    """A function of a model, as the file stores it."""

    def subgraph(self) -> Any:
        """Its tensors and ops."""
        ...

    def signature(self, place: int) -> Any:
        """The names of its inputs and outputs, for a place in the file."""
        ...


class File:
    """What the functions of a model share: arrays, and the codes of ops."""

    def __init__(self) -> None:
        self.codes: dict[str, int] = {}
        # By convention, buffer 0 is empty and stands for computed tensors.
        self.buffers: list[NDArray[Any] | None] = [None]
        self._buffer_of: dict[Any, int] = {}

    def buffer(self, array: NDArray[Any], key: Any = None) -> int:
        """The buffer of an array, which is stored once however often it is used.

        Arrays that were made anew of the same one are known by a common ``key``.
        """
        # The list keeps a large array alive, so its id stays unique.
        if key is None:
            key = id(array) if array.nbytes > _SMALL else (array.dtype.name, array.tobytes())
        if key not in self._buffer_of:
            self._buffer_of[key] = len(self.buffers)
            self.buffers.append(array)
        return self._buffer_of[key]

    def build(self, graphs: Sequence[Function], description: str) -> bytes:
        """The bytes of a file with a subgraph and a signature per function."""
        model = schema.ModelT(
            version=3,
            operatorCodes=[_operator_code(kind) for kind in self.codes],
            subgraphs=[graph.subgraph() for graph in graphs],
            description=description,
            buffers=[_Buffer(array) for array in self.buffers],
            signatureDefs=[graph.signature(place) for place, graph in enumerate(graphs)],
        )
        size = sum(b.nbytes + 64 for b in self.buffers if b is not None)
        # The builder doubles as it grows, so enough room from the start avoids copies.
        builder = flatbuffers.Builder(size + 65536)
        builder.Finish(model.Pack(builder), b"TFL3")
        return bytes(memoryview(builder.Bytes)[builder.Head() :])


class _Buffer(schema.BufferT):  # type: ignore[misc]  # the schema is untyped
    """A buffer that writes an array in one aligned piece, unlike the generated code."""

    def Pack(self, builder: Any) -> Any:
        offset = None
        if self.data is not None:
            raw = np.ascontiguousarray(self.data).reshape(-1).view(np.uint8).data
            builder.StartVector(1, len(raw), ALIGNMENT)
            builder.head -= len(raw)
            builder.Bytes[builder.head : builder.head + len(raw)] = raw
            builder.vectorNumElems = len(raw)
            offset = builder.EndVector()
        schema.BufferStart(builder)
        if offset is not None:
            schema.BufferAddData(builder, offset)
        return schema.BufferEnd(builder)


def buffers(data: bytes) -> list[NDArray[np.uint8]]:
    """Read the buffers of a file in place."""
    model = schema.Model.GetRootAs(data, 0)
    found = (model.Buffers(i) for i in range(model.BuffersLength()))
    return [buffer.DataAsNumpy() for buffer in found if not buffer.DataIsNone()]


def _operator_code(kind: str) -> Any:
    code = getattr(schema.BuiltinOperator, kind)
    # Runtimes older than code 127 read the first field, and newer ones use the larger value.
    return schema.OperatorCodeT(
        deprecatedBuiltinCode=min(code, 127), builtinCode=code, version=OPS[kind][1]
    )
