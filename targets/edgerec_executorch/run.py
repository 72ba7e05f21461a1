"""Run a ``.pte`` artefact in ExecuTorch's runtime, on the device."""

from __future__ import annotations

import tempfile
import threading
import weakref
from pathlib import Path

import numpy as np
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
        kept = data, program.load_method("forward")  # the program does not keep the bytes alive
    except RuntimeError as error:
        raise TargetError(
            f"{bundle.path}: ExecuTorch does not accept this program ({error}); it needs the "
            "XNNPACK backend, and fp16 tables also need a CPU with half-precision arithmetic"
        ) from None

    lock = threading.Lock()

    def run(history: NDArray[np.int32], weights: F32) -> tuple[NDArray[np.int32], F32]:
        _, method = kept
        with lock:
            ids, scores = method((torch.from_numpy(history), torch.from_numpy(weights)))
            # The next run writes to the same memory.
            return ids.numpy().copy(), scores.numpy().copy()

    _in_use.add(run)
    return run
