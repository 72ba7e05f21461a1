"""Run a ``.ptl`` artefact in PyTorch's lite interpreter, on the device."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch.jit.mobile import _load_for_lite_interpreter

from edgerec.plugin import F32, Bundle, Runner


def load(bundle: Bundle, threads: int) -> Runner:
    """Return a runner of the bundle's module."""
    torch.set_num_threads(threads)
    # Of bytes in memory the interpreter makes two more copies; of a file it reads one.
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.ptl"
        bundle.extract("model.ptl", path)
        module = _load_for_lite_interpreter(str(path))  # type: ignore[no-untyped-call]  # torch leaves it untyped

    def run(history: NDArray[np.int32], weights: F32) -> tuple[NDArray[np.int32], F32]:
        with torch.inference_mode():
            ids, scores = module(torch.from_numpy(history), torch.from_numpy(weights))
        return ids.numpy(), scores.numpy()

    return run
