"""Chains whose files are too slow, with a step that makes a device read fewer rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from edgerec.building.search.chains import Chain, Tried, label
from edgerec.building.search.trials import Search, try_chain
from edgerec.contracts.compressor import Progress
from edgerec.contracts.host import Host

__all__ = ["faster", "too_slow"]


def too_slow(violations: Mapping[str, Sequence[str]]) -> bool:
    """Whether some files break limits, and none breaks any but that of time."""
    said = [one for those in violations.values() for one in those]
    return bool(said) and all(one.startswith("budget.max_p95_ms:") for one in said)


def faster(slow: Sequence[Tried], search: Search, number: int, progress: Progress) -> list[Tried]:
    """Run chains with such a step in front of the last one, and return what came of each.

    The last step writes the rows that are read, and may depend on their order.

    Args:
        slow: the chains.
        search: what runs them.
        number: the number of the first one.
        progress: called with (done, total, what).
    """
    chains = [chain for one in slow for chain in _with_a_step(one.chain, search.host)]
    found = []
    for place, chain in enumerate(chains):
        progress(place, len(chains), f"trying {label(chain)}")
        found.append(try_chain(number + place, chain, search))
    return found


def _with_a_step(chain: Chain, host: Host) -> list[Chain]:
    """The chain with each such step that it does not have."""
    return [
        (*chain[:-1], (name, options), *chain[-1:])
        for name, kind in sorted(host.compressors.items())
        if all(name != step for step, _ in chain)
        for options in kind.quicker
    ]
