"""Run a TFLite artefact, on the device, in tflite-runtime or LiteRT."""

from __future__ import annotations

import importlib

import numpy as np
from numpy.typing import NDArray

from edgerec.plugin import F32, Artefact, Bundle


def load(bundle: Bundle, package: str, xnnpack: bool, threads: int) -> Artefact:
    """Return the loaded model of a bundle."""
    module = importlib.import_module(f"{package}.interpreter")
    resolvers = module.OpResolverType
    interpreter = module.Interpreter(
        model_content=bundle.read("model.tflite"),
        num_threads=threads,
        experimental_op_resolver_type=resolvers.BUILTIN
        if xnnpack
        else resolvers.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    interpreter.allocate_tensors()
    history_index, weights_index = (d["index"] for d in interpreter.get_input_details())
    ids_index, scores_index = (d["index"] for d in interpreter.get_output_details())

    def run(history: NDArray[np.int32], weights: F32) -> tuple[NDArray[np.int32], F32]:
        interpreter.set_tensor(history_index, history)
        interpreter.set_tensor(weights_index, weights)
        interpreter.invoke()
        return interpreter.get_tensor(ids_index), interpreter.get_tensor(scores_index)

    return run
