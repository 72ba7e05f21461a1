"""Write a TFLite model op by op, with full control over the bytes in the file.

A converter folds, requantizes and copies constants, and takes minutes and gigabytes for a large
table. The format itself is simple: a FlatBuffer of buffers, tensors that view them, and ops that
connect tensors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

__all__ = ["File", "Graph", "Shape", "Tensor", "buffers"]

Shape = tuple[int, ...]

#: Runtimes map constants in place, and the format guarantees this alignment.
ALIGNMENT = 16

#: The options table of each op in the schema, and the first version of the op that supports the
#: types used here, so that old runtimes accept the file.
_OPS: dict[str, tuple[str | None, int]] = {
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

_TYPES: dict[str, int] = {
    "float32": schema.TensorType.FLOAT32,
    "float16": schema.TensorType.FLOAT16,
    "int32": schema.TensorType.INT32,
    "int8": schema.TensorType.INT8,
    "uint8": schema.TensorType.UINT8,
    "int4": schema.TensorType.INT4,
    "bool": schema.TensorType.BOOL,
}


@dataclass(frozen=True)
class Tensor:
    """A value of the graph: its index in the file, its shape and its type."""

    index: int
    shape: Shape
    dtype: str


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

    def build(self, graphs: Sequence[Graph], description: str) -> bytes:
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


class Graph:
    """One function of a TFLite model under construction.

    Args:
        file: what it shares with other functions.
        name: the key of its signature.
    """

    def __init__(self, file: File, name: str) -> None:
        self._file, self._name = file, name
        self._tensors: list[Any] = []
        self._operators: list[Any] = []
        self._inputs: dict[str, Tensor] = {}
        self._outputs: dict[str, Tensor] = {}
        self._scalars: dict[tuple[str, Any], Tensor] = {}

    def input(self, name: str, shape: Shape, dtype: str) -> Tensor:
        """Add an input of the function."""
        self._inputs[name] = self._tensor(f"{self._name}_{name}", shape, dtype, 0)
        return self._inputs[name]

    def output(self, name: str, value: Tensor) -> None:
        """Name a value that is an output of the function."""
        self._outputs[name] = value

    def constant(
        self,
        array: NDArray[Any],
        shape: Shape | None = None,
        dtype: str | None = None,
        key: Any = None,
    ) -> Tensor:
        """Add a view of an array, which is stored once however many views it has."""
        buffer = self._file.buffer(array, key)
        return self._tensor(None, shape or array.shape, dtype or array.dtype.name, buffer)

    def small(self, values: Sequence[int] | float) -> Tensor:
        """Add a scalar float or a list of int32, such as axes, shapes or counts."""
        array = np.asarray(values, np.float32 if isinstance(values, float) else np.int32)
        key = (array.dtype.name, array.tobytes())
        if key not in self._scalars:
            self._scalars[key] = self.constant(array, array.shape)
        return self._scalars[key]

    def scalar(self, value: int) -> Tensor:
        """Add an int32 without axes, such as the k of TOPK_V2."""
        return self.constant(np.array(value, np.int32), ())

    def reshape(self, value: Tensor, shape: Shape) -> Tensor:
        """Reshape a value; nothing is added if it has that shape already."""
        if value.shape == shape:
            return value
        return self.op(
            "RESHAPE", [value, self.small(list(shape))], shape, value.dtype, newShape=list(shape)
        )

    def top(self, values: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """The k highest along the last axis, and their places; of equal ones, the first first."""
        shape = (*values.shape[:-1], k)
        outputs = [(shape, values.dtype), (shape, "int32")]
        highest, places = self.ops("TOPK_V2", [values, self.scalar(k)], outputs)
        return highest, places

    def gather(self, table: Tensor, rows: Tensor, axis: int = 0) -> Tensor:
        """Gather rows of a table by int32[rows], or slices along another axis."""
        shape = (*table.shape[:axis], *rows.shape, *table.shape[axis + 1 :])
        return self.op("GATHER", [table, rows], shape, table.dtype, axis=axis)

    def fully_connected(self, x: Tensor, weights: Tensor) -> Tensor:
        """X Wᵀ, float[1, d] by [n, d]."""
        return self.op("FULLY_CONNECTED", [x, weights], (x.shape[0], weights.shape[0]))

    def op(
        self,
        kind: str,
        inputs: Sequence[Tensor],
        shape: Shape,
        dtype: str = "float32",
        **options: Any,
    ) -> Tensor:
        """Add an op with one output."""
        return self.ops(kind, inputs, [(shape, dtype)], **options)[0]

    def ops(
        self,
        kind: str,
        inputs: Sequence[Tensor],
        outputs: Sequence[tuple[Shape, str]],
        **options: Any,
    ) -> list[Tensor]:
        """Add an op with several outputs."""
        made = [self._tensor(None, *o, 0) for o in outputs]
        table, _ = _OPS[kind]
        operator = schema.OperatorT(
            opcodeIndex=self._file.codes.setdefault(kind, len(self._file.codes)),
            inputs=[t.index for t in inputs],
            outputs=[t.index for t in made],
        )
        if table is not None:
            operator.builtinOptionsType = getattr(schema.BuiltinOptions, table)
            operator.builtinOptions = getattr(schema, f"{table}T")(**options)
        self._operators.append(operator)
        return made

    def subgraph(self) -> Any:
        """The ops, as the file stores them."""
        return schema.SubGraphT(
            tensors=self._tensors,
            inputs=[t.index for t in self._inputs.values()],
            outputs=[t.index for t in self._outputs.values()],
            operators=self._operators,
            name=self._name,
        )

    def signature(self, place: int) -> Any:
        """The names of inputs and outputs, for the subgraph at a place in the file."""
        return schema.SignatureDefT(
            inputs=[schema.TensorMapT(name, t.index) for name, t in self._inputs.items()],
            outputs=[schema.TensorMapT(name, t.index) for name, t in self._outputs.items()],
            signatureKey=self._name,
            subgraphIndex=place,
        )

    def _tensor(self, name: str | None, shape: Shape, dtype: str, buffer: int) -> Tensor:
        tensor = schema.TensorT(shape=list(shape), type=_TYPES[dtype], buffer=buffer, name=name)
        if dtype in ("int8", "int4"):
            # The codes are used as plain integers; ops apply the scale of each row.
            tensor.quantization = schema.QuantizationParametersT(scale=[1.0], zeroPoint=[0])
        self._tensors.append(tensor)
        return Tensor(len(self._tensors) - 1, shape, dtype)


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
        deprecatedBuiltinCode=min(code, 127), builtinCode=code, version=_OPS[kind][1]
    )
