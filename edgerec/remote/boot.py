"""What a device runs first: unpack standard input, run a module of it, leave nothing behind.

    python -c THIS_FILE LAUNCHER TIMEOUT MODULE [ARGUMENT ...] < ARCHIVE

LAUNCHER is a JSON list, the command of the Python that runs the module; empty for this one.
Standard library only, and in words that any Python 3 can parse, so that an old one can say so.
Each failure is one line on standard error that begins with "error: ", and exit code 2.
"""

import importlib.util
import json
import os
import signal
import subprocess
import sys
import tarfile
import tempfile


def stop(message):
    sys.stderr.write("error: " + message + "\n")
    sys.exit(2)


def run(folder, launcher, timeout, command):
    with tarfile.open(fileobj=sys.stdin.buffer, mode="r|") as archive:
        safe = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
        archive.extractall(folder, **safe)
    path = [folder] + [p for p in os.environ.get("PYTHONPATH", "").split(os.pathsep) if p]
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(path))
    try:
        return subprocess.call(
            (launcher or [sys.executable]) + ["-m"] + command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            timeout=timeout,
        )
    except subprocess.TimeoutExpired:
        stop("did not finish within %g s" % timeout)


def main(launcher, timeout, *command):
    launcher = json.loads(launcher)
    if not launcher and sys.version_info < (3, 11):
        stop("Python %d.%d there; edgerec needs 3.11 or newer" % sys.version_info[:2])
    if not launcher and importlib.util.find_spec("numpy") is None:
        stop("no numpy in %s there; install numpy and the bundle's runtime" % sys.executable)
    # A lost connection ends the block below in order, and so removes the folder.
    for name in ("SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), lambda *_: sys.exit(2))
    try:
        with tempfile.TemporaryDirectory(prefix="edgerec-") as folder:
            code = run(folder, launcher, float(timeout), list(command))
    except (OSError, tarfile.TarError) as problem:
        stop("cannot unpack and start there: %s" % problem)
    if code < 0:
        stop("ended there by signal %d; is there enough memory?" % -code)
    sys.exit(code)


if __name__ == "__main__":
    main(*sys.argv[1:])
