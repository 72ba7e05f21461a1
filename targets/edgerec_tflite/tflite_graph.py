"""Write a TFLite model op by op, with full control over the bytes in the file.

A converter folds, requantizes and copies constants, and takes minutes and gigabytes for a large
table. The format itself is simple: a FlatBuffer of buffers, tensors that view them, and ops that
connect tensors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from edgerec_tflite.tflite_file import OPS, File

__all__ = ["Graph", "Shape", "Tensor"]

Shape = tuple[int, ...]

_TYPES: dict[str, int] = {
    "float32": schema.TensorType.FLOAT32,
    "float16": schema.TensorType.FLOAT16,
    "int32": schema.TensorType.INT32,
    "int16": schema.TensorType.INT16,
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

    def floats(self, array: NDArray[Any], shape: Shape | None = None) -> Tensor:
        """Add a view of an array of floats; those of half precision are widened on loading."""
        stored = self.constant(array, shape)
        if stored.dtype == "float32":
            return stored
        return self.op("DEQUANTIZE", [stored], stored.shape)

    def slice(self, value: Tensor, start: int, count: int) -> Tensor:
        """A few consecutive entries along the first axis."""
        shape = (count, *value.shape[1:])
        if shape == value.shape:
            return value
        first = self.small([start, *[0] * len(shape[1:])])
        return self.op("SLICE", [value, first, self.small([*shape])], shape, value.dtype)

    def concatenate(self, values: Sequence[Tensor], axis: int) -> Tensor:
        """Concatenate along an axis; nothing is added for a single value."""
        first = values[0]
        if len(values) == 1:
            return first
        length = sum(value.shape[axis] for value in values)
        shape = (*first.shape[:axis], length, *first.shape[axis + 1 :])
        return self.op("CONCATENATION", values, shape, first.dtype, axis=axis)

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
        table, _ = OPS[kind]
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
