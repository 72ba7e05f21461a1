"""Attribute what a plugin raises to that plugin."""

from __future__ import annotations

import contextlib
import importlib.metadata
import traceback
from collections.abc import Iterator

from edgerec.errors import EdgerecError

__all__ = ["attribute_errors", "raised_in"]


@contextlib.contextmanager
def attribute_errors(who: str, kind: type[EdgerecError]) -> Iterator[None]:
    """Raise ``kind``, with a message that names ``who``, instead of a foreign exception.

    The foreign exception becomes its cause, so a traceback still shows where it came from.
    edgerec's own errors pass unchanged. A plugin that calls ``sys.exit`` does not end the process.
    """
    try:
        yield
    except EdgerecError:
        raise
    except (Exception, SystemExit) as error:
        text = f"{who}: {type(error).__name__}: {error}{raised_in(error)}"
        raise kind(text) from error


def raised_in(error: BaseException) -> str:
    """The distribution of the plugin that raised an error, in parentheses; empty for ours."""
    modules = (
        str(frame.f_globals.get("__name__", ""))
        for frame, _ in traceback.walk_tb(error.__traceback__)
    )
    package = next((m.partition(".")[0] for m in modules if not m.startswith("edgerec.")), "")
    for plugin in importlib.metadata.entry_points(group="edgerec"):
        if plugin.module.partition(".")[0] == package and plugin.dist is not None:
            ours = plugin.dist.name == "edgerec"
            return "" if ours else f" (in {plugin.dist.name} {plugin.dist.version})"
    return ""
