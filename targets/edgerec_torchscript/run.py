"""Run a ``.ptl`` artefact in PyTorch's lite interpreter, on the device."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

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

    scores = bundle.signature.version > 1
    return (ScoringLiteArtefact if scores else LiteArtefact)(module)


class LiteArtefact:
    """A loaded module, and its function that recommends."""

    def __init__(self, module: Any) -> None:
        self._module = module

    def __call__(self, *inputs: NDArray[Any]) -> tuple[NDArray[Any], ...]:
        """Recommend: ids int32[R], scores float32[R] and, in signature 2, user float32[d]."""
        found: tuple[NDArray[Any], ...] = self._run("forward", inputs)
        return found

    def _run(self, function: str, inputs: Sequence[NDArray[Any]]) -> Any:
        with torch.inference_mode():
            found = self._module.run_method(function, *map(torch.from_numpy, inputs))
        if isinstance(found, tuple):
            return tuple(one.numpy() for one in found)
        return found.numpy()


class ScoringLiteArtefact(LiteArtefact):
    """Both functions of a module."""

    def score(self, *inputs_and_rows: NDArray[Any]) -> F32:
        """Score the rows int32[C] that follow the inputs."""
        scores: F32 = self._run("score", inputs_and_rows)
        return scores
