"""Run an ONNX artefact in onnxruntime, on the device."""

from __future__ import annotations

import ctypes
import sys

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from edgerec.plugin import F32, Bundle, Runner, without_padding
from edgerec_onnx.external import relocate

#: onnxruntime's severity "error": a device's log is no place for hints on graphs.
ERROR = 3

#: Where the files of external data lie.
FOLDER = "session.model_external_initializers_file_folder_path"


def load(bundle: Bundle, threads: int) -> Runner:
    """Return a runner of the bundle's graph; tables stay in the mapped file."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = threads
    options.log_severity_level = ERROR
    if bundle.codec != "int4":
        # Kernels read these tables as fast where they lie; packing would copy them.
        options.add_session_config_entry("session.disable_prepacking", "1")
    options.enable_mem_pattern = False  # a pattern takes memory for two runs at once
    # External data is mapped by onnxruntime itself; what is handed over it copies.
    path = bundle.path.resolve()
    options.add_session_config_entry(FOLDER, str(path.parent))
    places = {part: bundle.offset(part) for part in bundle.payload if part != "model.onnx"}
    session = onnxruntime.InferenceSession(
        relocate(bundle.read("model.onnx"), path.name, places),
        options,
        providers=["CPUExecutionProvider"],
    )
    _trim()
    # A length that is a name may be any.
    shorten = isinstance(session.get_inputs()[0].shape[0], str)

    def run(history: NDArray[np.int32], weights: F32) -> tuple[NDArray[np.int32], F32]:
        if shorten:
            history, weights = without_padding(history, weights)
        ids, scores = session.run(["ids", "scores"], {"history": history, "weights": weights})
        return ids, scores

    return run


def _trim() -> None:
    """Give back what onnxruntime has freed after loading; glibc would hold on to it."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)
