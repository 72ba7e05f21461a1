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


#: More threads than any processor has cores; each takes memory.
_MOST = 1024


def check_threads(threads: int) -> int:
    """Return the number of threads after checking it.

    Raises:
        OptionError: it is not an integer from 1 to 1,024.
    """
    if type(threads) is not int or not 1 <= threads <= _MOST:
        raise OptionError(f"threads: expected an integer from 1 to {_MOST:,}, got {threads!r}")
    return threads


def thread_variables(threads: int) -> dict[str, str]:
    """Environment variables that limit a new process to the given number of threads."""
    return dict.fromkeys(_VARIABLES, str(check_threads(threads)))
