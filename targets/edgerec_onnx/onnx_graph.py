"""Build an ONNX graph node by node."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

__all__ = ["MICROSOFT", "Dims", "Graph"]

#: Dimensions; one that is a name may have any size.
Dims = list[int | str]

#: onnxruntime's own op set, which only int4 needs.
MICROSOFT = "com.microsoft"

#: The oldest op set with ReduceSum's axes as an input, long supported by phones' runtimes.
OPSET = 13

#: The format version that was introduced with that op set.
IR_VERSION = 7


class Graph:
    """A graph under construction: its nodes and initializers. Values are named after their ops.

    The body of a loop is a graph whose constants are those of the enclosing one, ``outer``; a
    prefix distinguishes the names of its nodes.
    """

    def __init__(
        self,
        prefix: str = "",
        files: dict[str, NDArray[Any]] | None = None,
        outer: Graph | None = None,
    ) -> None:
        self._prefix, self._outer = prefix, outer
        self._nodes: list[Any] = []
        self._initializers: dict[str, Any] = {}
        #: Arrays stored next to the graph, by file name.
        self.files: dict[str, NDArray[Any]] = {} if files is None else files
        self._domains: set[str] = set()

    @property
    def size(self) -> int:
        """The number of its nodes."""
        return len(self._nodes)

    def add(
        self, kind: str, *inputs: str, outputs: int = 1, domain: str = "", **attributes: Any
    ) -> Any:
        """Add a node; return the name of its output, or names if there are several."""
        place = len(self._nodes)
        # Short, because a name is in the file wherever the value is read.
        stem = f"{self._prefix}{place}"
        names = [f"{stem}_{i}" for i in range(outputs)] if outputs > 1 else [stem]
        self._nodes.append(helper.make_node(kind, list(inputs), names, domain=domain, **attributes))
        self._domains.add(domain)
        return names if outputs > 1 else names[0]

    def constant(self, value: NDArray[Any] | list[int] | float, name: str = "") -> str:
        """Store an array once under its name; lists are int64, numbers float32."""
        if self._outer is not None:
            return self._outer.constant(value, name)
        if isinstance(value, float):
            value = np.array(value, np.float32)
        array = np.asarray(value, np.int64) if isinstance(value, list) else np.asarray(value)
        name = name or f"{array.dtype.name}_{'_'.join(map(str, array.reshape(-1).tolist()))}"
        if name not in self._initializers:
            self._initializers[name] = numpy_helper.from_array(np.asarray(array, order="C"), name)
        return name

    def count(self, n: int) -> str:
        """0, 1, … n - 1, int64[n], computed on loading."""
        ends = [self.constant(np.array(end, np.int64), f"scalar_{end}") for end in (0, n, 1)]
        return str(self.add("Range", *ends))

    def table(self, array: NDArray[Any], name: str) -> str:
        """Refer to an array in a separate file, so that a runtime can use it in place."""
        if name not in self._initializers:
            # Another graph may have stored the same array.
            if name not in self.files:
                self.files[name] = np.ascontiguousarray(array)
            self._initializers[name] = _external(name, self.files[name], name, 0)
        return name

    def part(self, table: str, start: int, stop: int) -> str:
        """Refer to rows of a table's file, as a separate value unless they are all of its rows."""
        name, array = f"{table}[{start}:{stop}]", self.files[table]
        if (start, stop) == (0, len(array)):
            return table
        if name not in self._initializers:
            rows, offset = array[start:stop], start * array[0].nbytes
            self._initializers[name] = _external(name, rows, table, offset)
        return name

    def rename(self, value: str, name: str) -> None:
        """Name a value that is an output of the graph."""
        self._nodes.append(helper.make_node("Identity", [value], [name]))

    def body(self, inputs: list[Any], outputs: list[Any]) -> Any:
        """Return the nodes as a subgraph, which may read constants of the enclosing graph."""
        return helper.make_graph(self._nodes, f"{self._prefix}body", inputs, outputs)

    def build(
        self, inputs: dict[str, tuple[Any, Dims]], outputs: dict[str, tuple[Any, Dims]]
    ) -> bytes:
        """Check the whole model and return its bytes; ``files`` belong next to it.

        Raises:
            onnx.checker.ValidationError, onnx.shape_inference.InferenceError: the graph is
                not valid ONNX.
        """

        def described(values: dict[str, tuple[Any, Dims]]) -> list[Any]:
            types = {np.int32: TensorProto.INT32, np.float32: TensorProto.FLOAT}
            return [
                helper.make_tensor_value_info(name, types[dtype], shape)
                for name, (dtype, shape) in values.items()
            ]

        graph = helper.make_graph(
            self._nodes,
            "edgerec",
            described(inputs),
            described(outputs),
            list(self._initializers.values()),
        )
        opsets = [helper.make_opsetid("", OPSET)]
        if MICROSOFT in self._domains:
            opsets.append(helper.make_opsetid(MICROSOFT, 1))
        model = helper.make_model(
            graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="edgerec"
        )
        data: bytes = model.SerializeToString()
        with tempfile.TemporaryDirectory() as folder:
            # The checker expects files of the right sizes, but does not read them.
            for name, array in self.files.items():
                (Path(folder) / name).parent.mkdir(parents=True, exist_ok=True)
                with (Path(folder) / name).open("wb") as file:
                    file.truncate(array.nbytes)
            path = Path(folder) / "model.onnx"
            path.write_bytes(data)
            onnx.checker.check_model(str(path), full_check=True)
        return data


def _external(name: str, array: NDArray[Any], file: str, offset: int) -> Any:
    """A tensor whose data is in a file."""
    kind = helper.np_dtype_to_tensor_dtype(array.dtype)
    tensor = TensorProto(name=name, data_type=kind, dims=array.shape)
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", file), ("offset", offset), ("length", array.nbytes)):
        tensor.external_data.add(key=key, value=str(value))
    return tensor
