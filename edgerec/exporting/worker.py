"""A worker process that runs artefacts, so that a crashing runtime does not end the caller.

A runtime is native code. It may abort its process on a file that it does not accept, and two builds
of TensorFlow Lite in one process disturb each other. A worker is therefore started on first use and
kept between exports. It loads bundles of installed targets and runs them on the histories that it
receives. In both directions, a message is a line of JSON followed by an ``.npz`` archive.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import io
import json
import os
import signal
import subprocess
import sys
import threading
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from edgerec.contracts.bundle import Bundle
from edgerec.contracts.host import Host
from edgerec.errors import EdgerecError, TargetError
from edgerec.exporting.answers import Answer, ask

__all__ = ["LoadError", "Worker", "shared_worker"]

#: The variable with the file descriptor for answers; standard output of libraries is discarded.
_OUT = "EDGEREC_WORKER_OUT"


class LoadError(TargetError):
    """A runtime could not load an artefact, or crashed while running it."""


class Worker:
    """A process that loads bundles and runs them.

    Args:
        timeout: seconds after which a request is abandoned and the process is killed.
    """

    def __init__(self, timeout: float = 600) -> None:
        self.timeout = timeout
        self._process: subprocess.Popen[bytes] | None = None
        self._from: IO[bytes] | None = None
        self._lock = threading.Lock()

    def run(
        self,
        path: Path,
        target: str,
        options: Mapping[str, Any],
        runtime: str,
        inputs: Sequence[Sequence[NDArray[Any]]],
        candidates: Sequence[NDArray[np.int32]],
    ) -> list[Answer]:
        """Load a bundle in a runtime, run it on padded histories, and score candidates.

        Args:
            path: the bundle.
            target: the name of its target, which must be installed.
            options: the options of that target.
            runtime: a name of the target's ``runtimes()``.
            inputs: what to call the artefact with, for each history.
            candidates: rows int32[C] to score for each history, if the artefact can.

        Raises:
            LoadError: the runtime cannot load the bundle, or crashed.
            TargetError: a run failed, or returned something that is not a tuple of arrays.
        """
        request = {
            "bundle": str(path.resolve()),
            "target": target,
            "options": dict(options),
            "runtime": runtime,
        }
        arrays = {
            f"input_{place}": np.stack(each) for place, each in enumerate(zip(*inputs, strict=True))
        } | {"candidates": np.stack(candidates)}
        with self._lock:
            reply, found = self._exchange(request, arrays, runtime)
        if reply["error"]:
            raise (LoadError if reply["loading"] else TargetError)(reply["error"])
        ends = found["ends"][:-1]
        lists = [np.split(found[f"output_{place}"], ends) for place in range(2)]
        others = [list(found[name]) for name in sorted(found) if name.startswith("output_")][2:]
        return list(zip(*lists, *others, strict=True))

    def close(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
        for stream in (self._from, process.stdin if process else None):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()
        self._from = None

    def _exchange(
        self, request: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]], runtime: str
    ) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        if self._process is None or self._process.poll() is not None:
            self.close()
            self._start()
        process, stream = self._process, self._from
        assert process is not None and process.stdin is not None and stream is not None  # noqa: S101, PT018  # for mypy: they were just made
        timer = threading.Timer(self.timeout, process.kill)
        timer.start()
        try:
            _send(process.stdin, request, arrays)
            return _receive(stream)
        except (OSError, EOFError, ValueError):
            code = process.wait()
            timed_out = not timer.is_alive()
            self.close()
            why = f"did not finish within {self.timeout:g} s" if timed_out else _ending(code)
            raise LoadError(f"the runtime {why}") from None
        finally:
            timer.cancel()

    def _start(self) -> None:
        reading, writing = os.pipe()
        os.set_inheritable(writing, True)
        # The worker imports from the same paths as this process, which may include a checkout.
        path = os.pathsep.join(p for p in sys.path if p)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "edgerec.exporting.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=[writing],
            env=os.environ | {_OUT: str(writing), "PYTHONPATH": path},
        )
        os.close(writing)
        self._from = os.fdopen(reading, "rb")


@functools.lru_cache(maxsize=1)
def shared_worker() -> Worker:
    """The worker that this process shares between exports, closed when the process ends."""
    worker = Worker()
    atexit.register(worker.close)
    return worker


def _ending(code: int) -> str:
    """Describe how a process ended."""
    if code >= 0:
        return f"ended the process with exit code {code}"
    with contextlib.suppress(ValueError):
        return f"crashed ({signal.Signals(-code).name})"
    return f"crashed (signal {-code})"


def _send(
    stream: IO[bytes], message: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]
) -> None:
    content = io.BytesIO()
    np.savez(content, **arrays)
    data = content.getvalue()
    stream.write(json.dumps({**message, "size": len(data)}).encode() + b"\n" + data)
    stream.flush()


def _receive(stream: IO[bytes]) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    line = stream.readline()
    if not line:
        raise EOFError
    message: dict[str, Any] = json.loads(line)
    data = stream.read(message.pop("size"))
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as found:
            return message, {name: found[name] for name in found}
    except zipfile.BadZipFile:
        raise EOFError from None


def _answer(
    request: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]
) -> dict[str, NDArray[Any]]:
    """Load a bundle and run it; errors that the artefact raises are passed on.

    Raises:
        LoadError: the bundle cannot be loaded.
        TargetError: the artefact returned something that is not a tuple of arrays.
    """
    try:
        host = Host.installed()
        target = host.target(request["target"], **request["options"])
        bundle = Bundle.open(request["bundle"], codecs=host.codecs)
        artefact = target.load(bundle, runtime=request["runtime"])
    except Exception as error:
        if isinstance(error, EdgerecError):
            raise LoadError(str(error)) from error
        raise LoadError(f"{type(error).__name__}: {error}") from error
    inputs = [arrays[name] for name in sorted(arrays) if name.startswith("input_")]
    runs = zip(*inputs, arrays["candidates"], strict=True)
    found = [ask(artefact, one, rows) for *one, rows in runs]
    outputs = list(zip(*found, strict=True))
    # A list may be shorter than others; the other outputs have one length.
    joined = [np.concatenate(lists) for lists in outputs[:2]]
    joined += [np.stack(others) for others in outputs[2:]]
    return {f"output_{place}": array for place, array in enumerate(joined)} | {
        "ends": np.cumsum([len(ids) for ids in outputs[0]])
    }


def main() -> None:
    """Answer requests until the input ends."""
    out = os.fdopen(int(os.environ.pop(_OUT)), "wb")
    while True:
        try:
            request, arrays = _receive(sys.stdin.buffer)
        except EOFError:
            return
        reply: dict[str, Any] = {"error": "", "loading": False}
        found: dict[str, NDArray[Any]] = {}
        try:
            found = _answer(request, arrays)
        except (Exception, SystemExit) as error:  # noqa: BLE001  # a plugin may raise anything
            text = str(error) if isinstance(error, EdgerecError) else ""
            reply["error"] = text or f"{type(error).__name__}: {error}"
            reply["loading"] = isinstance(error, LoadError)
        _send(out, reply, found)


if __name__ == "__main__":
    main()
