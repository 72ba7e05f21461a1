"""Chains whose files are too slow, with a step that makes a device read fewer rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from edgerec.building.search.chains import Tried
from edgerec.building.search.trials import Search, try_chain

__all__ = ["faster", "too_slow"]


def too_slow(violations: Mapping[str, Sequence[str]]) -> bool:
    """Whether some files break limits, and none breaks any but that of time."""
    said = [one for those in violations.values() for one in those]
    return bool(said) and all(one.startswith("budget.max_p95_ms:") for one in said)


def faster(tried: Tried, search: Search, number: int) -> Iterator[Tried]:
    """Run the chain with such a step in front of its last one, and yield what came of it.

    The last step writes the rows that are read, and may depend on their order.

    Args:
        tried: the chain.
        search: what runs it.
        number: the number of the next trial.
    """
    before, last = tried.chain[:-1], tried.chain[-1:]
    for name, kind in sorted(search.host.compressors.items()):
        if any(name == step for step, _ in tried.chain):
            continue
        for options in kind.quicker:
            found = try_chain(number, (*before, (name, options), *last), search)
            if found.reason is None:
                number += 1
                yield found
