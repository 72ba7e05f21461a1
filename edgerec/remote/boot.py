"""What a device runs first: unpack standard input, run a module of it, leave nothing behind.

    python -c THIS_FILE START TIMEOUT MODULE [ARGUMENT ...] < ARCHIVE

START is JSON: "launcher", a list, the command of the Python that runs the module, empty for this
one; "variables", of the module's environment.
Standard library only, in words that Python 3.7 can parse, so that an old one can say so.
Each failure is one line on standard error that begins with "error: ", and exit code 2.
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


def stop(message: str) -> NoReturn:
    """End with a message."""
    sys.stderr.write(f"error: {message}\n")
    sys.exit(2)


def run(folder: str, start: dict[str, Any], timeout: float, command: list[str]) -> int:
    """Unpack into a folder and run ``python -m COMMAND`` in it; return its exit code."""
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
        stop(f"did not finish within {timeout:g} s")


def main(how: str, timeout: str, *command: str) -> NoReturn:
    """Check this Python, run the command, and end with its exit code."""
    start = json.loads(how)
    native = not start["launcher"]
    if native and sys.version_info < (3, 11):
        stop(f"Python {'.'.join(map(str, sys.version_info[:2]))}; edgerec needs 3.11 or newer")
    if native and importlib.util.find_spec("numpy") is None:
        stop(f"{sys.executable} has no numpy; install numpy and the bundle's runtime")
    # A lost connection ends the block below in order, and so removes the folder.
    for name in ("SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), lambda *_: sys.exit(2))
    try:
        with tempfile.TemporaryDirectory(prefix="edgerec-") as folder:
            code = run(folder, start, float(timeout), list(command))
    except (OSError, tarfile.TarError) as problem:
        stop(f"cannot unpack and start: {problem}")
    if code < 0:
        too_new, too_large = "it built for newer processors than this one", "there enough memory"
        stop(f"ended by signal {-code}; is {too_new if -code == signal.SIGILL else too_large}?")
    sys.exit(code)


if __name__ == "__main__":
    main(*sys.argv[1:])
