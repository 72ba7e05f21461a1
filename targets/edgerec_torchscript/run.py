"""Run a ``.ptl`` artefact in PyTorch's lite interpreter, on the device."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch.jit.mobile import _load_for_lite_interpreter

from edgerec.plugin import F32, Artefact, Bundle


def load(bundle: Bundle, threads: int) -> Artefact:
    """Return the loaded module of a bundle."""
    torch.set_num_threads(threads)
    # The interpreter makes two more copies of bytes in memory, but a single copy of a file.
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.ptl"
        bundle.extract("model.ptl", path)
        module = _load_for_lite_interpreter(str(path))  # type: ignore[no-untyped-call]  # torch leaves it untyped

    def run(history: NDArray[np.int32], weights: F32) -> tuple[NDArray[np.int32], F32]:
        with torch.inference_mode():
            ids, scores = module(torch.from_numpy(history), torch.from_numpy(weights))
        return ids.numpy(), scores.numpy()

    return run
