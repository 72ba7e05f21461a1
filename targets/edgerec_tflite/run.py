"""Run a TFLite artefact, on the device, in tflite-runtime or LiteRT."""

from __future__ import annotations

import functools
import importlib
import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgerec.plugin import CANDIDATES, F32, Artefact, Bundle, TargetError
from edgerec_tflite.graph_check import check_graph


def load(bundle: Bundle, package: str, xnnpack: bool, threads: int) -> Artefact:
    """Return the loaded model of a bundle."""
    content = bundle.read("model.tflite")
    try:
        check_graph(content)
    except ValueError as error:
        raise TargetError(f"{bundle.path}: model.tflite: {error}; the file is damaged") from None
    interpreter = interpreter_of(content, package, xnnpack, threads)
    scores = "score" in interpreter.get_signature_list()
    return (ScoringTFLiteArtefact if scores else TFLiteArtefact)(bundle, interpreter)


def interpreter_of(content: bytes, package: str, xnnpack: bool, threads: int) -> Any:
    """An interpreter of a runtime's package for the bytes of a file."""
    module = importlib.import_module(f"{package}.interpreter")
    resolvers = module.OpResolverType
    return module.Interpreter(
        model_content=content,
        num_threads=threads,
        experimental_op_resolver_type=resolvers.BUILTIN
        if xnnpack
        else resolvers.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )


class TFLiteArtefact:
    """The function that recommends. An interpreter has one set of tensors, so calls take turns."""

    def __init__(self, bundle: Bundle, interpreter: Any) -> None:
        self._interpreter, self._lock = interpreter, threading.Lock()
        signature = bundle.signature
        length = signature.history_length
        declared = dict(signature.inputs) if signature.version > 1 else {"weights": length}
        self._outputs = ("ids", "scores", "user")[: signature.version + 1]
        #: The names and shapes of the inputs, in order.
        expected: dict[str, tuple[list[int], Any]] = {"history": ([length], np.int32)}
        expected |= {name: ([size], np.float32) for name, size in declared.items()}
        self._names = list(expected)
        functions = interpreter.get_signature_list()
        wanted = {"serving_default": (expected, self._outputs)}
        if "score" in functions:
            wanted["score"] = ({**expected, "rows": ([CANDIDATES], np.int32)}, ("scores",))
        for name, (inputs, outputs) in wanted.items():
            found = functions.get(name, {"inputs": [], "outputs": []})
            details = self._details(name) if name in functions else {}
            if set(found["outputs"]) != {*outputs} or details != inputs:
                raise TargetError(
                    f"{bundle.path}: model.tflite: expected the inputs "
                    f"{', '.join(f'{one}{size}' for one, (size, _) in inputs.items())} and the "
                    f"outputs {', '.join(outputs)} of {name}; the file is damaged"
                )
        self._recommend = interpreter.get_signature_runner("serving_default")

    def __call__(self, *inputs: NDArray[Any]) -> tuple[NDArray[Any], ...]:
        """Recommend: ids int32[R], scores float32[R] and, in signature 2, user float32[d]."""
        with self._lock:
            found = self._recommend(**dict(zip(self._names, inputs, strict=True)))
        return tuple(found[name] for name in self._outputs)

    def _details(self, name: str) -> dict[str, tuple[list[int], Any]]:
        """The shape and the type of each input of a function."""
        details = self._interpreter.get_signature_runner(name).get_input_details()
        return {one: (list(entry["shape"]), entry["dtype"]) for one, entry in details.items()}


class ScoringTFLiteArtefact(TFLiteArtefact):
    """Both functions."""

    def score(self, *inputs_and_rows: NDArray[Any]) -> F32:
        """Score the rows int32[C] that follow the inputs."""
        names = [*self._names, "rows"]
        with self._lock:
            scores: F32 = self._scoring(**dict(zip(names, inputs_and_rows, strict=True)))["scores"]
        return scores

    @functools.cached_property
    def _scoring(self) -> Any:
        return self._interpreter.get_signature_runner("score")
