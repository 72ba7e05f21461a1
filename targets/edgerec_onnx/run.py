"""Run an ONNX artefact in onnxruntime, on the device."""

from __future__ import annotations

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from edgerec.plugin import F32, Bundle, Runner

#: onnxruntime's severity "error": a device's log is no place for hints on graphs.
ERROR = 3


def load(bundle: Bundle, threads: int) -> Runner:
    """Return a runner of the bundle's graph."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = threads
    options.log_severity_level = ERROR
    if bundle.codec == "int8":
        # The kernel reads an int8 table as fast where it lies; packing would copy it.
        options.add_session_config_entry("session.disable_prepacking", "1")
    session = onnxruntime.InferenceSession(
        bundle.read("model.onnx"), options, providers=["CPUExecutionProvider"]
    )
    # onnxruntime keeps the file for a change of provider, which never comes: a second table.
    session._model_bytes = None

    def run(history: NDArray[np.int32], weights: F32) -> tuple[NDArray[np.int32], F32]:
        ids, scores = session.run(["ids", "scores"], {"history": history, "weights": weights})
        return ids, scores

    return run
