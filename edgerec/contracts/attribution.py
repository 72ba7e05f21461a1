"""Attribute what a plugin raises to that plugin."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from edgerec.errors import EdgerecError

__all__ = ["attribute_errors"]


@contextlib.contextmanager
def attribute_errors(who: str, kind: type[EdgerecError]) -> Iterator[None]:
    """Raise ``kind``, with a message that names ``who``, instead of a foreign exception.

    The foreign exception becomes its cause, so a traceback still shows where it came from.
    edgerec's own errors pass unchanged.
    """
    try:
        yield
    except EdgerecError:
        raise
    except Exception as error:
        raise kind(f"{who}: {type(error).__name__}: {error}") from error
