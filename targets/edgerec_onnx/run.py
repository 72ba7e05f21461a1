"""Run an ONNX artefact in onnxruntime, on the device."""

from __future__ import annotations

import ctypes
import functools
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from edgerec.plugin import CANDIDATES, F32, Artefact, Bundle, TargetError
from edgerec_onnx.external import relocate
from edgerec_onnx.graph_check import check_graph

#: onnxruntime's severity "error", because hints about graphs do not belong in a device's log.
ERROR = 3

#: The option for the folder with the files of external data.
FOLDER = "session.model_external_initializers_file_folder_path"


def load(bundle: Bundle, threads: int) -> Artefact:
    """Return the loaded graph of a bundle; its tables stay in the memory-mapped file."""
    scores = "score.onnx" in bundle.payload
    return (ScoringOnnxArtefact if scores else OnnxArtefact)(bundle, threads)


class OnnxArtefact:
    """The graph of a bundle that recommends."""

    def __init__(self, bundle: Bundle, threads: int) -> None:
        self._bundle, self._threads = bundle, threads
        self._version = bundle.signature.version
        self._session = self._open("model.onnx")
        # A dimension that has a name may have any size.
        self._shorten = isinstance(self._session.get_inputs()[0].shape[0], str)
        self._names = [one.name for one in self._session.get_inputs()]
        self._outputs = ["ids", "scores", "user"] if self._version > 1 else ["ids", "scores"]

    def __call__(self, history: NDArray[np.int32], *inputs: F32) -> tuple[NDArray[Any], ...]:
        """Recommend: ids int32[R], scores float32[R] and, in signature 2, user float32[d]."""
        found = self._session.run(self._outputs, self._feed(history, inputs))
        return tuple(found)

    def _feed(
        self, history: NDArray[np.int32], inputs: Sequence[NDArray[Any]]
    ) -> dict[str, NDArray[Any]]:
        """The inputs by name; padding is dropped where the graph does without it."""
        feed = {"history": history, **dict(zip(self._names[1:], inputs, strict=True))}
        if self._shorten:
            real = np.flatnonzero(history >= 0)
            kept = real if len(real) else slice(0, 1)
            feed |= {name: feed[name][kept] for name in ("history", "weights") if name in feed}
        return feed

    def _open(self, part: str) -> onnxruntime.InferenceSession:
        """Open a graph.

        Raises:
            TargetError: it is damaged, or its inputs and outputs are not those of the manifest.
        """
        bundle = self._bundle
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = self._threads
        options.log_severity_level = ERROR
        options.enable_mem_pattern = False  # a pattern would hold the memory of two runs at once
        # onnxruntime maps external data itself, whereas it copies arrays that are passed to it.
        places = {
            name: (bundle.offset(name), bundle.nbytes_of(name))
            for name in bundle.payload
            if not name.endswith(".onnx")
        }
        with bundle.container.as_file() as path:
            options.add_session_config_entry(FOLDER, str(path.parent))
            try:
                graph = bundle.read(part)
                check_graph(graph, max(len(bundle.items), len(bundle.past)))
                graph = relocate(graph, path.name, places)
            except (ValueError, KeyError) as error:
                raise TargetError(f"{bundle.path}: {part}: {error}; the file is damaged") from None
            if b"MatMulNBits" not in graph:
                # Other kernels read tables in place just as fast, and packing would copy them.
                options.add_session_config_entry("session.disable_prepacking", "1")
            session = onnxruntime.InferenceSession(
                graph, options, providers=["CPUExecutionProvider"]
            )
        _trim()
        self._check_call(session, part)
        return session

    def _check_call(self, session: onnxruntime.InferenceSession, part: str) -> None:
        """Check the inputs and outputs of a graph.

        Raises:
            TargetError: they are not those that the manifest of the bundle describes.
        """
        signature = self._bundle.signature
        length = signature.history_length
        declared = dict(signature.inputs) if self._version > 1 else {"weights": length}
        expected: dict[str, tuple[str, int]] = {"history": ("tensor(int32)", length)}
        expected |= {name: ("tensor(float)", size) for name, size in declared.items()}
        outputs = {"ids": "tensor(int32)", "scores": "tensor(float)"}
        if self._version > 1:
            outputs["user"] = "tensor(float)"
        if part == "score.onnx":
            expected["rows"] = "tensor(int32)", CANDIDATES
            outputs = {"scores": "tensor(float)"}
        found = {one.name: (one.type, one.shape) for one in session.get_inputs()}
        right = found.keys() == expected.keys() and all(
            kind == expected[name][0]
            and len(shape) == 1
            and (shape[0] == expected[name][1] or isinstance(shape[0], str))
            for name, (kind, shape) in found.items()
        )
        if not right or {one.name: one.type for one in session.get_outputs()} != outputs:
            inputs = ", ".join(f"{name} [{size}]" for name, (_, size) in expected.items())
            raise TargetError(
                f"{self._bundle.path}: {part}: expected the inputs {inputs}, and the outputs "
                f"{', '.join(outputs)}; the file is damaged"
            )


class ScoringOnnxArtefact(OnnxArtefact):
    """Both graphs. The one that scores given rows is opened when it is needed."""

    def score(self, history: NDArray[np.int32], *inputs_and_rows: NDArray[Any]) -> F32:
        """Score the rows int32[C] that follow the inputs."""
        *inputs, rows = inputs_and_rows
        feed = self._feed(history, inputs) | {"rows": rows}
        scores: F32 = self._scoring.run(["scores"], feed)[0]
        return scores

    @functools.cached_property
    def _scoring(self) -> onnxruntime.InferenceSession:
        return self._open("score.onnx")


def _trim() -> None:
    """Return memory that onnxruntime has freed after loading, which glibc would keep."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)
