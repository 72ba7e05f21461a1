"""Run an ONNX artefact in onnxruntime, on the device."""

from __future__ import annotations

import ctypes
import sys

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from edgerec.plugin import F32, Artefact, Bundle, TargetError, without_padding
from edgerec_onnx.external import relocate
from edgerec_onnx.graph_check import check_graph

#: onnxruntime's severity "error", because hints about graphs do not belong in a device's log.
ERROR = 3

#: The option for the folder with the files of external data.
FOLDER = "session.model_external_initializers_file_folder_path"


def load(bundle: Bundle, threads: int) -> Artefact:
    """Return the loaded graph of a bundle; its tables stay in the memory-mapped file."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = threads
    options.log_severity_level = ERROR
    if bundle.codec != "int4":
        # Kernels read these tables in place just as fast, and packing would copy them.
        options.add_session_config_entry("session.disable_prepacking", "1")
    options.enable_mem_pattern = False  # a pattern would hold the memory of two runs at once
    # onnxruntime maps external data itself, whereas it copies arrays that are passed to it.
    places = {
        part: (bundle.offset(part), bundle.nbytes_of(part))
        for part in bundle.payload
        if part != "model.onnx"
    }
    with bundle.container.as_file() as path:
        options.add_session_config_entry(FOLDER, str(path.parent))
        try:
            graph = bundle.read("model.onnx")
            check_graph(graph, bundle.signature.items)
            graph = relocate(graph, path.name, places)
        except (ValueError, KeyError) as error:
            raise TargetError(f"{bundle.path}: model.onnx: {error}; the file is damaged") from None
        session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    _trim()
    _check_call(session, bundle)
    # A dimension that has a name may have any size.
    shorten = isinstance(session.get_inputs()[0].shape[0], str)

    def run(history: NDArray[np.int32], weights: F32) -> tuple[NDArray[np.int32], F32]:
        if shorten:
            history, weights = without_padding(history, weights)
        ids, scores = session.run(["ids", "scores"], {"history": history, "weights": weights})
        return ids, scores

    return run


def _check_call(session: onnxruntime.InferenceSession, bundle: Bundle) -> None:
    """Check the inputs and outputs of a graph.

    Raises:
        TargetError: they are not those that the manifest of the bundle describes.
    """
    length = bundle.signature.history_length
    inputs = {one.name: (one.type, one.shape) for one in session.get_inputs()}
    outputs = {one.name: one.type for one in session.get_outputs()}
    types = {"history": "tensor(int32)", "weights": "tensor(float)"}
    right = inputs.keys() == types.keys() and all(
        kind == types[name]
        and len(shape) == 1
        and (shape[0] == length or isinstance(shape[0], str))
        for name, (kind, shape) in inputs.items()
    )
    if not right or outputs != {"ids": "tensor(int32)", "scores": "tensor(float)"}:
        raise TargetError(
            f"{bundle.path}: model.onnx: expected the inputs history int32[{length}] and weights "
            f"float32[{length}], and the outputs ids and scores; the file is damaged"
        )


def _trim() -> None:
    """Return memory that onnxruntime has freed after loading, which glibc would keep."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)
