"""Run a TFLite artefact, on the device, in tflite-runtime or LiteRT."""

from __future__ import annotations

import importlib
import threading

import numpy as np
from numpy.typing import NDArray

from edgerec.plugin import F32, Artefact, Bundle, TargetError
from edgerec_tflite.graph_check import check_graph


def load(bundle: Bundle, package: str, xnnpack: bool, threads: int) -> Artefact:
    """Return the loaded model of a bundle."""
    module = importlib.import_module(f"{package}.interpreter")
    resolvers = module.OpResolverType
    content = bundle.read("model.tflite")
    try:
        check_graph(content)
    except ValueError as error:
        raise TargetError(f"{bundle.path}: model.tflite: {error}; the file is damaged") from None
    interpreter = module.Interpreter(
        model_content=content,
        num_threads=threads,
        experimental_op_resolver_type=resolvers.BUILTIN
        if xnnpack
        else resolvers.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()
    length = bundle.signature.history_length
    if [(list(d["shape"]), d["dtype"]) for d in inputs] != [
        ([length], np.int32),
        ([length], np.float32),
    ] or len(outputs) != 2:
        raise TargetError(
            f"{bundle.path}: model.tflite: expected the inputs int32[{length}] and "
            f"float32[{length}] and two outputs; the file is damaged"
        )
    interpreter.allocate_tensors()
    (history_index, weights_index), (ids_index, scores_index) = (
        [d["index"] for d in details] for details in (inputs, outputs)
    )
    # An interpreter has one set of tensors.
    lock = threading.Lock()

    def run(history: NDArray[np.int32], weights: F32) -> tuple[NDArray[np.int32], F32]:
        with lock:
            interpreter.set_tensor(history_index, history)
            interpreter.set_tensor(weights_index, weights)
            interpreter.invoke()
            return interpreter.get_tensor(ids_index), interpreter.get_tensor(scores_index)

    return run
