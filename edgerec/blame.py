"""Turn what a plugin raises into an error that says whose it is."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from edgerec.errors import EdgerecError

__all__ = ["blame"]


@contextlib.contextmanager
def blame(who: str, kind: type[EdgerecError]) -> Iterator[None]:
    """Raise ``kind`` in place of an exception that is not edgerec's own.

    The exception is its cause, so that a traceback still shows where it came from.
    """
    try:
        yield
    except EdgerecError:
        raise
    except Exception as error:
        raise kind(f"{who}: {type(error).__name__}: {error}") from error
