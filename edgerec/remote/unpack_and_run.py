"""The first program on a device: unpack standard input, run a module of it, and clean up.

    python -c THIS_FILE START TIMEOUT MODULE [ARGUMENT ...] < ARCHIVE

START is JSON. Its "launcher" is a list, the command of the Python that runs the module, empty for
this one; its "variables" are for the module's environment. Only the standard library is used, in
syntax that Python 3.7 can parse, so that an old Python can report that it is too old. Each failure
is one line on standard error that starts with "error: ", with exit code 2.
"""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import tarfile
import tempfile
from typing import Any, NoReturn


def _stop(message: str) -> NoReturn:
    """Exit with an error message."""
    sys.stderr.write(f"error: {message}\n")
    sys.exit(2)


def _run(folder: str, start: dict[str, Any], timeout: float, command: list[str]) -> int:
    """Unpack into a folder, run ``python -m COMMAND`` there, and return its exit code."""
    with tarfile.open(fileobj=sys.stdin.buffer, mode="r|") as archive:
        safe: dict[str, Any] = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
        archive.extractall(folder, **safe)  # noqa: S202  # the archive is our own
    path = [folder] + [p for p in os.environ.get("PYTHONPATH", "").split(os.pathsep) if p]
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(path), **start["variables"])
    try:
        return subprocess.call(
            [*(start["launcher"] or [sys.executable]), "-m", *command],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            timeout=timeout,
        )
    except subprocess.TimeoutExpired:
        _stop(f"did not finish within {timeout:g} s")


def main(how: str, timeout: str, *command: str) -> NoReturn:
    """Check this Python, run the command, and exit with its exit code."""
    start = json.loads(how)
    native = not start["launcher"]
    if native and sys.version_info < (3, 11):
        _stop(f"Python {'.'.join(map(str, sys.version_info[:2]))}; edgerec needs 3.11 or newer")
    if native and importlib.util.find_spec("numpy") is None:
        _stop(f"{sys.executable} has no numpy; install numpy and the bundle's runtime")
    # A lost connection then leaves the block below in the regular way, which removes the folder.
    for name in ("SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), lambda *_: sys.exit(2))
    try:
        with tempfile.TemporaryDirectory(prefix="edgerec-") as folder:
            code = _run(folder, start, float(timeout), list(command))
    except (OSError, tarfile.TarError) as problem:
        _stop(f"cannot unpack and start: {problem}")
    if code < 0:
        too_new, too_large = "it built for newer processors than this one", "there enough memory"
        _stop(f"ended by signal {-code}; is {too_new if -code == signal.SIGILL else too_large}?")
    sys.exit(code)


if __name__ == "__main__":
    main(*sys.argv[1:])
