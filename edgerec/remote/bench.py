"""Bench a bundle on a device: this machine, or one behind ssh, adb or qemu.

    from edgerec.remote.bench import bench_on
    bench_on("ssh://pi@raspberrypi", "films.edgerec").p95_ms

The device needs Python, numpy and the bundle's runtime; edgerec itself is carried there.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Sequence
from pathlib import Path

from edgerec.device.bench import measure
from edgerec.device.figures import Figures
from edgerec.device.histories import History, as_json
from edgerec.device.threads import thread_variables
from edgerec.errors import DataError, OptionError, RemoteError
from edgerec.remote.archive import FILES
from edgerec.remote.connection import Connection

__all__ = ["bench_on", "connect"]

#: The class of each scheme, in the module of that name.
_SCHEMES = {"ssh": "Ssh", "adb": "Adb", "qemu": "Qemu"}
_FORMS = "local, ssh://[user@]host[:port], adb://[serial] or qemu:aarch64"


def connect(address: str) -> Connection:
    """Parse the address of a device.

    Raises:
        OptionError: the address is malformed, or its scheme is unknown.
        RemoteError: this machine lacks something that the connection needs.
    """
    scheme, colon, _ = address.partition(":")
    if not colon or scheme not in _SCHEMES:
        raise OptionError(f"on: expected {_FORMS}; got {address!r}")
    module = importlib.import_module(f"edgerec.remote.{scheme}")
    connection: Connection = getattr(module, _SCHEMES[scheme])(address)
    return connection


def bench_on(
    address: str,
    bundle: str | Path,
    histories: Sequence[History] | None = None,
    *,
    runtime: str | None = None,
    threads: int = 1,
    timeout: float = 600,
    lists: bool = False,
    trust: bool = False,
) -> Figures:
    """Measure a bundle on a device.

    Args:
        address: ``local``, ``ssh://[user@]host[:port]``, ``adb://[serial]`` or
            ``qemu:aarch64``; see ``docs/devices.md``.
        bundle: the bundle.
        histories: the histories to recommend for; random ones by default.
        runtime: the runtime; the best one that the device has by default.
        threads: the number of threads of the runtime and of the libraries that it computes with.
        timeout: seconds after which to give up.
        lists: whether to return the recommended ids, too.
        trust: whether to run a payload that needs trust (see ``Scorer``).

    Returns:
        What ``edgerec.device.bench.measure`` returns, with ``on``, the address. Where
        ``emulated`` is true, times and memory mean nothing.

    Raises:
        OptionError: the address is malformed, or the number of threads is not positive.
        RemoteError: the device cannot be reached, lacks something, or the run failed.
        TargetError: the run failed on this machine.
    """
    path, variables = Path(bundle), thread_variables(threads)
    if address == "local":
        figures = measure(
            path, histories, runtime=runtime, threads=threads, timeout=timeout, trust=trust
        )
        return figures.replace(on=address, lists=figures.lists if lists else None)
    connection = connect(address)
    arguments = [f"{FILES}/{path.name}", "--threads", str(threads)]
    files = {}
    if trust:
        arguments.append("--trust")
    if lists:
        arguments += ["--lists", "-"]
    if runtime is not None:
        arguments += ["--runtime", runtime]
    if histories is not None:
        arguments += ["--histories", f"{FILES}/histories.json"]
        files["histories.json"] = json.dumps(as_json(histories)).encode("utf-8")
    printed = connection.run("edgerec.device.bench", arguments, [path], files, variables, timeout)
    try:
        figures = Figures.from_json(json.loads(printed))
    except (ValueError, AttributeError, DataError):
        raise RemoteError(f"{address}: expected figures in JSON, got {printed[:200]!r}") from None
    return figures.replace(on=address, emulated=connection.emulated, **connection.describe())
