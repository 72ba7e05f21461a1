"""Measure a bundle on this device: bytes, time to open, latency, memory.

    python -m edgerec.device.bench BUNDLE [--histories FILE] [--runtime NAME] [--k K]
        [--threads N] [--trust] [--lists FILE]

It needs only numpy and the bundle's runtime, and prints one line of JSON. ``measure`` runs it in
a fresh process, so that the memory is that of a program which does nothing else.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import json
import math
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from edgerec.contracts.bundle import target_of
from edgerec.contracts.host import Host
from edgerec.device.bandwidth import time_alternately
from edgerec.device.figures import Figures
from edgerec.device.histories import (
    History,
    as_json,
    random_histories,
    read_histories,
    recommend_for,
)
from edgerec.device.machine import describe_machine
from edgerec.device.scorer import Scorer
from edgerec.device.threads import thread_variables
from edgerec.errors import DataError, EdgerecError, TargetError
from edgerec.files.atomic import write_text
from edgerec.files.staging import staging

__all__ = ["History", "last_error", "measure", "peak_rss_bytes"]

#: Each of so many histories is run so many times; its quickest run counts.
_REPEATED, _ROUNDS = 200, 3


def measure(
    path: str | Path,
    histories: Sequence[History] | None = None,
    *,
    runtime: str | None = None,
    k: int = 20,
    threads: int = 1,
    timeout: float | None = None,
    trust: bool = False,
) -> Figures:
    """Measure a bundle in a fresh process.

    Args:
        path: the bundle.
        histories: the histories to recommend for; random ones by default.
        runtime: the runtime; the target's best one by default.
        k: the length of the lists.
        threads: the number of threads of the runtime and of the libraries that it computes with.
        timeout: seconds after which to give up; 600 and a quarter per history by default.
        trust: whether to run a payload that needs trust (see ``Scorer``).

    Returns:
        What was measured, and the ids recommended for each history.

    Raises:
        OptionError: the number of threads is not positive.
        TargetError: the process failed; the message is the one that it printed.
    """
    variables = thread_variables(threads)
    limit = 600 + len(histories or ()) / 4 if timeout is None else timeout
    with staging() as drafts:
        folder = drafts.folder
        lists = folder / "lists.json"
        command = [sys.executable, "-m", "edgerec.device.bench", str(path), "--lists", str(lists)]
        command += ["--k", str(k), "--threads", str(threads)]
        command += ["--trust"] if trust else []
        if runtime is not None:
            command += ["--runtime", runtime]
        if histories is not None:
            given = folder / "histories.json"
            given.write_text(json.dumps(as_json(histories)), "utf-8")
            command += ["--histories", str(given)]
        try:
            done = subprocess.run(
                command,  # our own module
                capture_output=True,
                text=True,
                timeout=limit,
                check=False,
                env=os.environ | variables,
            )
        except subprocess.TimeoutExpired:
            raise TargetError(f"{path}: did not finish within {limit:g} s") from None
        if done.returncode:
            said = last_error(done.stderr.strip().splitlines(), done.returncode)
            raise TargetError(f"{path}: measuring it failed: {said}")
        figures = Figures.from_json(json.loads(done.stdout.strip().splitlines()[-1]))
        return figures.replace(lists=json.loads(lists.read_text("utf-8")))


def last_error(said: Sequence[str], code: int) -> str:
    """Why a process failed, from its standard error: our last error message, or the last line."""
    errors = [line.removeprefix("error: ") for line in said if line.startswith("error: ")]
    return [f"exit code {code}", *said[-1:], *errors][-1]


def peak_rss_bytes() -> int:
    """Peak resident memory of this process, in bytes.

    On Linux it is VmHWM, because ``ru_maxrss`` is inherited over fork and exec: the child of a
    large process would report its parent's memory.
    """
    try:
        for line in Path("/proc/self/status").read_text("ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    import resource  # not on Windows

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _run(
    path: str,
    histories: Sequence[History] | None,
    runtime: str | None,
    k: int,
    threads: int,
    trust: bool,
) -> Figures:
    """Measure in this process; see ``measure``."""
    # The name alone, because what a bundle maps belongs to the bundle.
    name = target_of(path)
    target = Host.installed().target(name)
    chosen = runtime or (target.runtimes() or [name])[0]
    start = time.perf_counter()
    version = _import_runtime(chosen, type(target).__module__)
    import_ms = (time.perf_counter() - start) * 1e3
    baseline = peak_rss_bytes()
    start = time.perf_counter()
    scorer = Scorer.open(path, runtime, threads, trust=trust)
    open_ms = (time.perf_counter() - start) * 1e3
    bundle = scorer.bundle  # mapped only once, because pages count in each mapping
    if histories is None:
        histories = random_histories(bundle)
    k = min(k, bundle.signature.top_k)
    first_ms = 0.0
    lists: list[list[str]] = []
    known: list[History] = []
    for history in histories:
        start = time.perf_counter()
        found = recommend_for(scorer, history, k)
        took = (time.perf_counter() - start) * 1e3
        lists.append([r.id for r in found])
        if not found.fallback:  # a fallback does not run the model
            first_ms = first_ms or took
            known.append(history)
    if not known:
        raise DataError(
            f"{path}: knows no item of the histories; use those of the data it was built from"
        )
    quickest = _quickest(lambda history: recommend_for(scorer, history, k), known)
    peak = peak_rss_bytes()
    reads, scans = time_alternately(
        bundle.table_bytes, lambda i: recommend_for(scorer, known[i % len(known)], k)
    )
    floor, from_memory = (float(np.percentile(each, 50)) for each in (reads, scans))
    return Figures(
        bundle=Path(path).name,
        target=bundle.target,
        runtime=chosen,
        runtime_version=version,
        python=platform.python_version(),
        numpy=np.__version__,
        **describe_machine(),
        emulated=False,
        bundle_bytes=bundle.nbytes,
        items=len(bundle.items),
        k=k,
        histories=len(histories),
        fallbacks=len(histories) - len(known),
        import_ms=import_ms,
        open_ms=open_ms,
        first_ms=first_ms,
        p50_ms=float(np.percentile(quickest, 50)),
        p95_ms=float(np.percentile(quickest, 95)),
        baseline_rss_bytes=baseline,
        peak_rss_bytes=peak,
        floor_ms=floor,
        from_memory_ms=from_memory,
        times_floor=from_memory / floor,
        lists=lists,
    )


def _quickest(run: Callable[[History], object], histories: Sequence[History]) -> list[float]:
    """Milliseconds of the quickest of several runs of each history.

    What else a busy machine does only makes runs slower, and rarely all runs of one history.
    """
    chosen = [histories[place % len(histories)] for place in range(_REPEATED)]
    quickest = [math.inf] * len(chosen)
    for _ in range(_ROUNDS):
        for place, history in enumerate(chosen):
            start = time.perf_counter()
            run(history)
            quickest[place] = min(quickest[place], (time.perf_counter() - start) * 1e3)
    return quickest


def _import_runtime(name: str, package: str) -> str:
    """Import a runtime ahead of time and return its version.

    Its memory and time then count as the baseline. What a target's ``load`` imports is in its
    module ``run``, if it has one.
    """
    # "ai-edge-litert+xnnpack" is a way to run that distribution.
    distribution = name.partition("+")[0]
    for module in (distribution.replace("-", "_"), f"{package}.run"):
        with contextlib.suppress(ImportError):  # opening the bundle reports what is missing
            importlib.import_module(module)
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line: print one line of JSON."""
    parser = argparse.ArgumentParser(prog="python -m edgerec.device.bench", description=__doc__)
    parser.add_argument("bundle")
    parser.add_argument(
        "--histories",
        help="JSON: a list of lists of item ids, of pairs of an id and its weight, or of objects "
        "with the arguments of a recommendation",
    )
    parser.add_argument("--runtime")
    parser.add_argument("--k", type=int, default=20)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--trust", action="store_true")
    parser.add_argument(
        "--lists", help="a file for the recommended ids, as JSON; - adds them to the line"
    )
    given = parser.parse_args(arguments)
    try:
        histories = read_histories(Path(given.histories)) if given.histories else None
        figures = _run(given.bundle, histories, given.runtime, given.k, given.threads, given.trust)
    except EdgerecError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    values = figures.to_json()
    if given.lists == "-":
        values["lists"] = figures.lists
    elif given.lists:
        write_text(given.lists, json.dumps(figures.lists))
    print(json.dumps(values))
    return 0


if __name__ == "__main__":
    sys.exit(main())
