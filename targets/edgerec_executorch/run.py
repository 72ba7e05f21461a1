"""Run a ``.pte`` artefact in ExecuTorch's runtime, on the device."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import torch  # the runtime's library links to it

# The module behind executorch.runtime, which would import the exporter (seconds, 130 MB).
from executorch.extension.pybindings import _portable_lib as runtime
from numpy.typing import NDArray

from edgerec.plugin import F32, Bundle, Runner


def load(bundle: Bundle, threads: int) -> Runner:
    """Return a runner of the bundle's program."""
    runtime._unsafe_reset_threadpool(threads)
    torch.set_num_threads(threads)
    # The runtime maps a file, but a whole one, not a part of a bundle.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        path = Path(folder) / "model.pte"
        bundle.extract("model.pte", path)
        program = runtime._load_program(str(path))
        method = program.load_method("forward")

    def run(history: NDArray[np.int32], weights: F32) -> tuple[NDArray[np.int32], F32]:
        ids, scores = method((torch.from_numpy(history), torch.from_numpy(weights)))
        return ids.numpy(), scores.numpy()

    return run
