"""A process that opens mutated files: what comes of each, and what it costs."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import itertools
import json
import math
import os
import resource
import signal
import traceback
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgerec.contracts.opening import load_model
from edgerec.device import scorer
from edgerec.device.scorer import Scorer
from edgerec.errors import EdgerecError
from edgerec.model.device_model import DeviceModel
from edgerec.model.oracle import Oracle
from tests.fuzz.corpus import Seed
from tests.fuzz.mutate import mutation

__all__ = ["Outcome", "serve", "try_file"]

#: Seconds, and bytes beyond three times the file, that are allowed.
SECONDS, SPARE = 2.0, 64 * 2**20

#: Address space that a victim may take beyond what it has; more is an error, not a swapped machine.
SPACE = 2**31


@dataclass(frozen=True)
class Outcome:
    """What came of one mutated file.

    Args:
        number: of the mutation.
        what: what was changed.
        verdict: ``refused``, ``answered``, or what is wrong: ``foreign``, ``bad answer``,
            ``memory``, ``slow`` or ``crash``.
        reached: whether the runtime was given the payload.
        detail: the exception and where it was raised.
    """

    number: int
    what: str
    verdict: str
    reached: bool
    detail: str = ""


def try_file(number: int, what: str, path: Path, model: bool) -> Outcome:
    """Open a file and recommend from it."""
    reached = False

    def find(name: str, host: Any = None) -> Any:
        runner = find_runner(name, host)
        load = runner.load

        def loads(*arguments: Any, **options: Any) -> Any:
            nonlocal reached
            reached = True
            return load(*arguments, **options)

        object.__setattr__(runner, "load", loads)
        return runner

    find_runner, scorer.find_runner = scorer.find_runner, find  # type: ignore[attr-defined]  # it is imported there
    before = _reset_peak()
    try:
        if model:
            model_of_file = load_model(path)
            reached = True
            wrong = _run_model(model_of_file)
        else:
            wrong = _run_bundle(path)
        verdict, detail = ("bad answer", wrong) if wrong else ("answered", "")
    except EdgerecError as error:
        named = str(path) in str(error) or "history" in str(error)
        verdict, detail = ("refused", "") if named else ("foreign", f"unnamed file: {error!s:.80}")
    except (Exception, SystemExit) as error:  # noqa: BLE001  # what is looked for
        frame = traceback.extract_tb(error.__traceback__)[-1]
        verdict = "foreign"
        detail = f"{type(error).__name__} {Path(frame.filename).name}:{frame.lineno}"
    finally:
        scorer.find_runner = find_runner  # type: ignore[attr-defined]  # as above
    used = _peak() - before - 3 * path.stat().st_size
    if used > SPARE and verdict in ("refused", "answered"):
        verdict, detail = "memory", f"{used / 2**20:.0f} MB"
    return Outcome(number, what, verdict, reached, detail)


def _run_bundle(path: Path) -> str:
    with Scorer.open(path, trust=True) as opened:
        ids = opened.bundle.items.ids
        for history in ([ids[0]], [ids[len(ids) // 2], ids[-1], "unknown"], list(ids)[:40]):
            found = opened.recommend(history, min(5, opened.signature.top_k))
            scores = [r.score for r in found if not math.isnan(r.score)]
            if len({r.id for r in found}) < len(found) or {r.id for r in found} & {*history}:
                return "an item twice, or one from the history"
            if not found.fallback and not found.truncated and len(scores) < len(found):
                return "no scores"
            # Neighbors may swap places by rounding.
            spread = max(map(abs, scores), default=0) * 1e-3
            if any(b > a + spread for a, b in itertools.pairwise(scores)):
                return "out of order"
    return ""


def _run_model(model: DeviceModel) -> str:
    if {"user_vector", "context"} & model.inputs.keys():
        return ""
    oracle = Oracle(model)
    history, weights = oracle.pad(np.arange(min(3, len(model.items))))
    with np.errstate(all="ignore"):
        oracle.recommend(history, weights, 5)
    return ""


def _reset_peak() -> int:
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", "ascii")
    return _peak()


def _peak() -> int:
    for line in Path("/proc/self/status").read_text("ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0


def serve(seeds: list[Seed], numbers: list[int], salt: int, folder: Path) -> Iterator[Outcome]:
    """Try mutations in forked processes; a new one follows after each crash or delay."""
    waiting, again = list(numbers), set[int]()
    while waiting:
        reading, writing = os.pipe()
        child = os.fork()
        if not child:
            os.close(reading)
            try:
                _work(seeds, waiting[:500], salt, folder, os.fdopen(writing, "w"))
            finally:
                os._exit(0)  # the child must never return into its parent's code
        os.close(writing)
        try:
            with os.fdopen(reading) as lines:
                for line in lines:
                    yield (outcome := Outcome(**json.loads(line)))
                    waiting.remove(outcome.number)
        except GeneratorExit:
            os.kill(child, signal.SIGKILL)
            raise
        finally:
            _, status = os.waitpid(child, 0)
        if os.WIFSIGNALED(status):
            number, what = json.loads((folder / "current").read_text())
            ending = signal.Signals(os.WTERMSIG(status))
            if ending == signal.SIGALRM and number not in again:
                again.add(number)  # the machine may have been busy
                continue
            waiting.remove(number)
            verdict = "slow" if ending == signal.SIGALRM else "crash"
            yield Outcome(number, what, verdict, True, ending.name)


def _work(
    seeds: list[Seed], numbers: list[int], salt: int, folder: Path, out: io.TextIOBase
) -> None:
    """Try mutations, a line of JSON for each; SIGALRM ends the process if one takes too long."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    size = int(Path("/proc/self/statm").read_text("ascii").split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + SPACE, resource.RLIM_INFINITY))
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)
    warnings.simplefilter("ignore")
    for number in numbers:
        seed = seeds[number % len(seeds)]
        what, content = mutation(seed, number, salt)
        path = folder / "mutated"
        path.unlink(missing_ok=True)
        path.write_bytes(content)
        (folder / "current").write_text(json.dumps([number, what]))
        _alarm(SECONDS)
        outcome = try_file(number, what, path, seed.target == "model")
        _alarm(0)
        out.write(json.dumps(dataclasses.asdict(outcome)) + "\n")
        out.flush()


def _alarm(seconds: float) -> None:
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, seconds)
