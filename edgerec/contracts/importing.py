"""Import plugins, so that none of them can hang, end or garble the program that imports it."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import sys
import threading
from typing import Any

from edgerec.errors import PluginError

__all__ = ["import_plugin"]

#: Seconds that the import of one plugin may take; the variable that changes it.
_SECONDS, _VARIABLE = 60.0, "EDGEREC_PLUGIN_SECONDS"


def import_plugin(entry_point: importlib.metadata.EntryPoint) -> Any:
    """Import the module of a plugin in a thread, with its standard output on standard error.

    Raises:
        PluginError: the import does not end in time, and goes on in the background; or the plugin
            raised something that would end the program, such as a KeyboardInterrupt.
        Exception: whatever else the plugin raised.
    """
    ended: list[Any] = []
    raised: list[BaseException] = []

    def work() -> None:
        try:
            ended.append(entry_point.load())
        except BaseException as error:  # noqa: BLE001  # raised again below
            raised.append(error)

    seconds = float(os.environ.get(_VARIABLE) or _SECONDS)
    thread = threading.Thread(target=work, name=f"import {entry_point.name}", daemon=True)
    with contextlib.redirect_stdout(sys.stderr):
        thread.start()
        thread.join(seconds)
    if raised:
        error = raised[0]
        if isinstance(error, Exception):
            raise error
        raise PluginError(f"{type(error).__name__}: {error}") from error
    if not ended:
        raise PluginError(
            f"its import did not end within {seconds:g} s; set {_VARIABLE} if it needs longer"
        )
    return ended[0]
