"""Run bundles elsewhere: over ssh, on an Android device, under emulation.

    from edgerec.remote import bench_on
    bench_on("ssh://pi@raspberrypi", "films.edgerec")["p95_ms"]

Nothing of edgerec has to be installed there: Python, numpy and the bundle's runtime.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgerec.bench import measure
from edgerec.errors import OptionError, RemoteError
from edgerec.remote.carry import FILES
from edgerec.remote.place import Place
from edgerec.threads import thread_variables

__all__ = ["bench_on", "find_place"]

#: A module a scheme, and its class.
SCHEMES = {"ssh": "Ssh", "adb": "Adb", "qemu": "Qemu"}
FORMS = "local, ssh://[user@]host[:port], adb://[serial] or qemu:aarch64"


def find_place(where: str) -> Place:
    """Parse the address of a device.

    Raises:
        OptionError: it is malformed, or of no known scheme.
        RemoteError: what it needs on this machine is missing.
    """
    scheme, colon, _ = where.partition(":")
    if not colon or scheme not in SCHEMES:
        raise OptionError(f"on: expected {FORMS}; got {where!r}")
    module = importlib.import_module(f"edgerec.remote.{scheme}")
    place: Place = getattr(module, SCHEMES[scheme])(where)
    return place


def bench_on(
    where: str,
    bundle: str | Path,
    histories: Sequence[Sequence[str]] | None = None,
    *,
    runtime: str | None = None,
    threads: int = 1,
    timeout: float = 600,
    lists: bool = False,
) -> dict[str, Any]:
    """Measure a bundle on a device.

    Args:
        where: ``local``, ``ssh://[user@]host[:port]``, ``adb://[serial]`` or
            ``qemu:aarch64``; see ``docs/devices.md``.
        bundle: the bundle.
        histories: ids of past items, most recent last; random ones by default.
        runtime: which runtime; the best that the device has by default.
        threads: for the runtime, and for the libraries that it computes with.
        timeout: seconds after which to give up.
        lists: whether to bring the lists back, too.

    Returns:
        What ``edgerec.bench.measure`` returns, and ``on``, the address.
        Where ``emulated`` is true, times and memory mean nothing.

    Raises:
        OptionError: the address is malformed, or the number of threads is not positive.
        RemoteError: the device cannot be reached, lacks something, or the run failed.
        TargetError: the run failed, on this machine.
    """
    path, variables = Path(bundle), thread_variables(threads)
    if where == "local":
        figures = measure(path, histories, runtime=runtime, threads=threads, timeout=timeout)
        if not lists:
            del figures["lists"]
        return {"on": where, **figures}
    place = find_place(where)
    arguments = [f"{FILES}/{path.name}", "--threads", str(threads)]
    files = {}
    if lists:
        arguments += ["--lists", "-"]
    if runtime is not None:
        arguments += ["--runtime", runtime]
    if histories is not None:
        arguments += ["--histories", f"{FILES}/histories.json"]
        files["histories.json"] = json.dumps([list(h) for h in histories]).encode("utf-8")
    printed = place.run("edgerec.bench", arguments, [path], files, variables, timeout)
    try:
        figures = json.loads(printed)
    except ValueError:
        raise RemoteError(f"{where}: expected figures in JSON, got {printed[:200]!r}") from None
    return {"on": where, **figures, **place.describe(), "emulated": place.emulated}
