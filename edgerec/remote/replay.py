"""Replay a bundle's test vectors on this machine or on a device."""

from __future__ import annotations

import json
from pathlib import Path

from edgerec.device.scorer import Scorer
from edgerec.device.threads import thread_variables
from edgerec.device.vectors import replay
from edgerec.errors import RemoteError
from edgerec.remote.archive import FILES
from edgerec.remote.bench import connect

__all__ = ["replay_on"]


def replay_on(
    address: str,
    bundle: str | Path,
    *,
    runtime: str | None = None,
    trust: bool = False,
    timeout: float = 600,
) -> list[str]:
    """Recommend for the test vectors of a bundle, and compare with the lists that it has.

    Args:
        address: as for ``bench_on``.
        bundle: the bundle.
        runtime: the runtime; the best one that the device has by default.
        trust: whether to run a payload that needs trust (see ``Scorer``).
        timeout: seconds after which to give up.

    Returns:
        What differs; an empty list if nothing does.

    Raises:
        BundleError: the bundle has no test vectors.
        OptionError: the address is malformed.
        RemoteError: the device cannot be reached, lacks something, or the run failed.
    """
    path = Path(bundle)
    if address == "local":
        with Scorer.open(path, runtime, trust=trust) as scorer:
            return replay(scorer)
    arguments = [f"{FILES}/{path.name}", *(["--trust"] if trust else [])]
    arguments += [] if runtime is None else ["--runtime", runtime]
    printed = connect(address).run(
        "edgerec.device.vectors", arguments, [path], {}, thread_variables(1), timeout
    )
    try:
        found = json.loads(printed)
    except ValueError:
        found = None
    if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
        raise RemoteError(f"{address}: expected a list of differences, got {printed[:200]!r}")
    return found
