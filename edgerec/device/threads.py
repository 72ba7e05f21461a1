"""Thread limits, for a runtime and for the libraries that it computes with."""

from __future__ import annotations

from edgerec.errors import OptionError

__all__ = ["check_threads", "thread_variables"]

#: The variables that OpenMP and the BLAS libraries of numpy and torch read when they are loaded.
_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)


def check_threads(threads: int) -> int:
    """Return the number of threads after checking it.

    Raises:
        OptionError: it is not positive.
    """
    if threads < 1:
        raise OptionError(f"threads: expected at least 1, got {threads}")
    return threads


def thread_variables(threads: int) -> dict[str, str]:
    """Environment variables that limit a new process to the given number of threads."""
    return dict.fromkeys(_VARIABLES, str(check_threads(threads)))
