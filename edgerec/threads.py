"""How many threads a run may take: what a runtime is told, and what the libraries below it read."""

from __future__ import annotations

from edgerec.errors import OptionError

__all__ = ["check_threads", "thread_variables"]

#: What OpenMP and the BLAS libraries of numpy and torch read when they are loaded.
VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)


def check_threads(threads: int) -> int:
    """Return the number.

    Raises:
        OptionError: it is not positive.
    """
    if threads < 1:
        raise OptionError(f"threads: expected at least 1, got {threads}")
    return threads


def thread_variables(threads: int) -> dict[str, str]:
    """Environment variables that hold a new process to so many threads."""
    return dict.fromkeys(VARIABLES, str(check_threads(threads)))
