"""Run a ``.pte`` artefact in ExecuTorch's runtime, on the device."""

from __future__ import annotations

import functools
import tempfile
import threading
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch  # the runtime's library links to it

# The module behind executorch.runtime, which would import the exporter (seconds, 130 MB).
from executorch.extension.pybindings import _portable_lib as runtime
from numpy.typing import NDArray

from edgerec.plugin import F32, Artefact, Bundle, OptionError, TargetError

#: Artefacts in use, which keep the thread pool that they were loaded with.
_in_use: weakref.WeakSet[Artefact] = weakref.WeakSet()


def load(bundle: Bundle, threads: int) -> Artefact:
    """Return the loaded program of a bundle.

    Raises:
        OptionError: other bundles are open with another number of threads.
        TargetError: the runtime does not accept the program.
    """
    pool = runtime._threadpool_get_thread_count()
    if pool != threads:
        if _in_use:
            raise OptionError(
                f"threads: expected {pool}, because ExecuTorch has one thread pool per process and "
                f"other bundles are open, got {threads}; open this bundle with threads={pool}"
            )
        runtime._unsafe_reset_threadpool(threads)
        torch.set_num_threads(threads)
    data, check = b"", runtime.Verification.InternalConsistency
    try:
        if bundle.codec == "fp32":
            # Read in place. The runtime maps a whole file, but not a part of a bundle.
            with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
                path = Path(folder) / "model.pte"
                bundle.extract("model.pte", path)
                program = runtime._load_program(str(path), program_verification=check)
        else:
            # XNNPACK packs these into its own memory. If they were mapped, they would count twice
            # more, as constants and as its data, both of which the runtime locks in memory.
            data = bundle.read("model.pte")
            program = runtime._load_program_from_buffer(data, program_verification=check)
        kind = ScoringProgramArtefact if bundle.signature.version > 1 else ProgramArtefact
        artefact = kind(program, data)
    except RuntimeError as error:
        raise TargetError(
            f"{bundle.path}: ExecuTorch does not accept this program ({error}); it needs the "
            "XNNPACK backend, and fp16 tables also need a CPU with half-precision arithmetic"
        ) from None

    _in_use.add(artefact)
    return artefact


class ProgramArtefact:
    """The method that recommends. Calls take turns, because the next one writes to the same memory.

    Args:
        program: the loaded program.
        data: its bytes, which it does not keep alive.
    """

    def __init__(self, program: Any, data: bytes) -> None:
        self._program, self._data, self._lock = program, data, threading.Lock()
        self._forward = program.load_method("forward")

    def __call__(self, *inputs: NDArray[Any]) -> tuple[NDArray[Any], ...]:
        """Recommend: ids int32[R], scores float32[R] and, in signature 2, user float32[d]."""
        return self._run(self._forward, inputs)

    def _run(self, method: Any, inputs: Sequence[NDArray[Any]]) -> tuple[NDArray[Any], ...]:
        with self._lock:
            found = method(tuple(map(torch.from_numpy, inputs)))
            return tuple(one.numpy().copy() for one in found)


class ScoringProgramArtefact(ProgramArtefact):
    """Both methods of a program."""

    def score(self, *inputs_and_rows: NDArray[Any]) -> F32:
        """Score the rows int32[C] that follow the inputs."""
        scores: F32 = self._run(self._scoring, inputs_and_rows)[0]
        return scores

    @functools.cached_property
    def _scoring(self) -> Any:
        return self._program.load_method("score")
