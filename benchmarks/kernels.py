"""A runtime's own integer kernel, alone: a graph of one op, without top 20 or scoring again.

It shows how much of our scan's time is the runtime's. Codes are those of our codecs, and scales are
left out.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgerec.model.codecs import F32, Int4, Int8
from edgerec.model.table import Table
from edgerec_tflite import RUNTIMES

__all__ = ["KERNELS", "kernel", "session_of"]

KERNELS = tuple(
    f"kernel:{runtime} {codec}"
    for codec in ("int8", "int4")
    for runtime in ("onnxruntime", *RUNTIMES)
)


def kernel(table: F32, runtime: str, codec: str) -> tuple[Any, int]:
    """A function that runs the kernel for a user vector, and the bytes of the codes."""
    coded = Table.encode(table, Int8() if codec == "int8" else Int4())
    codes = coded.arrays["codes"]
    if runtime == "onnxruntime":
        return _onnx(codes, codec, table.shape[1]), codes.nbytes
    return _tflite(codes, codec, table.shape, runtime), codes.nbytes


def session_of(graph: Any) -> Any:
    """An onnxruntime session for a graph, with one thread."""
    import onnxruntime
    from onnx import helper

    opsets = [helper.make_opsetid("", 13), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def _onnx(codes: NDArray[Any], codec: str, width: int) -> Any:
    """MatMulInteger or MatMulNBits."""
    from onnx import helper, numpy_helper

    value, n = helper.make_tensor_value_info, len(codes)
    if codec == "int8":
        constants = [numpy_helper.from_array(np.ascontiguousarray(codes.T), "codes")]
        node = helper.make_node("MatMulInteger", ["user", "codes"], ["scores"])
        types = 2, 6
    else:
        stored = (codes ^ np.uint8(0x88)).reshape(n, 1, width // 2)
        scales = np.ones(n, np.float32)
        constants = [
            numpy_helper.from_array(array, name)
            for name, array in (("codes", stored), ("scales", scales))
        ]
        sizes = {"K": width, "N": n, "bits": 4, "block_size": width, "accuracy_level": 4}
        node = helper.make_node(
            "MatMulNBits", ["user", "codes", "scales"], ["scores"], domain="com.microsoft", **sizes
        )
        types = 1, 1
    graph = helper.make_graph(
        [node],
        "kernel",
        [value("user", types[0], [1, width])],
        [value("scores", types[1], [1, n])],
        constants,
    )
    session = session_of(graph)

    def run(u: F32) -> Any:
        fed = np.rint(u * 20 + 128).clip(0, 255).astype(np.uint8) if codec == "int8" else u
        return session.run(None, {"user": fed[None]})

    return run


def _tflite(codes: NDArray[Any], codec: str, shape: tuple[int, ...], runtime: str) -> Any:
    """FULLY_CONNECTED with integer weights; the runtime rounds the user vector."""
    from edgerec_tflite.run import interpreter_of
    from edgerec_tflite.tflite_file import File
    from edgerec_tflite.tflite_graph import Graph

    graph = Graph(file := File(), "serving_default")
    user = graph.input("user", (1, shape[1]), "float32")
    graph.output("scores", graph.fully_connected(user, graph.constant(codes, shape, codec)))
    content = file.build([graph], "kernel")
    interpreter = interpreter_of(content, RUNTIMES[runtime], runtime.endswith("+xnnpack"), 1)
    interpreter.allocate_tensors()
    place = interpreter.get_input_details()[0]["index"]

    def run(u: F32) -> None:
        interpreter.set_tensor(place, u[None])
        interpreter.invoke()

    return run
