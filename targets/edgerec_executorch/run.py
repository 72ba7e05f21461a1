"""Run a ``.pte`` artefact in ExecuTorch's runtime, on the device."""

from __future__ import annotations

import tempfile
import weakref
from pathlib import Path

import numpy as np
import torch  # the runtime's library links to it

# The module behind executorch.runtime, which would import the exporter (seconds, 130 MB).
from executorch.extension.pybindings import _portable_lib as runtime
from numpy.typing import NDArray

from edgerec.plugin import F32, Bundle, OptionError, Runner, TargetError

#: Runners that are in use; they hold on to the pool of threads they were made with.
_in_use: weakref.WeakSet[Runner] = weakref.WeakSet()


def load(bundle: Bundle, threads: int) -> Runner:
    """Return a runner of the bundle's program.

    Raises:
        OptionError: other runners are in use with another number of threads.
        TargetError: the runtime does not take the program.
    """
    pool = runtime._threadpool_get_thread_count()
    if pool != threads:
        if _in_use:
            raise OptionError(
                f"threads: ExecuTorch has one pool of threads for the whole process, {pool} now, "
                f"got {threads}; open this bundle with threads={pool}"
            )
        runtime._unsafe_reset_threadpool(threads)
        torch.set_num_threads(threads)
    data = b""
    try:
        if bundle.codec == "fp32":
            # Read where it lies. The runtime maps a file, but a whole one, not a part of a bundle.
            with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
                path = Path(folder) / "model.pte"
                bundle.extract("model.pte", path)
                program = runtime._load_program(str(path))
        else:
            # XNNPACK packs these into memory of its own. Mapped, they would count twice beside
            # it: as constants and as its data, both of which the runtime locks in memory.
            data = bundle.read("model.pte")
            program = runtime._load_program_from_buffer(data)
        kept = data, program.load_method("forward")  # which doesn't keep the bytes that it reads
    except RuntimeError as error:
        raise TargetError(
            f"{bundle.path}: ExecuTorch does not take this program ({error}); it needs the "
            "XNNPACK backend, fp16 tables a CPU with half float arithmetic"
        ) from None

    def run(history: NDArray[np.int32], weights: F32) -> tuple[NDArray[np.int32], F32]:
        _, method = kept
        ids, scores = method((torch.from_numpy(history), torch.from_numpy(weights)))
        return ids.numpy(), scores.numpy()

    _in_use.add(run)
    return run
