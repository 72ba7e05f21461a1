"""Chains of compressors, what the search found out about them, and their Pareto front."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from edgerec.data.interval import of_ratio

__all__ = ["Chain", "Tried", "by_preference", "front", "key_of", "label", "points"]

#: Compressors in order, each (name, options), as in a recipe.
Chain = tuple[tuple[str, Mapping[str, Any]], ...]


@dataclass(frozen=True)
class Tried:
    """One chain that the search considered.

    Args:
        number: its trial in the study. Chains that are tried afterwards, because files were too
            slow, have the numbers that follow.
        chain: the compressors; an empty chain is the uncompressed model.
        bundle_bytes: the computed size of the smallest bundle, or of the largest one if all targets
            were named; none if unknown.
        table_bytes: the size of the item tables alone.
        quality: NDCG@20 kept on validation or, without a data set, the overlap; none for a chain
            that was not run to its end.
        half: half of the 95 % interval of ``quality``, paired over validation users.
        ndcgs: the NDCG@20 of each validation user, or the overlap of each history.
        overlap: the top-20 overlap with the uncompressed model.
        steps: the options, bytes, quality, overlap and seconds of each step that ran.
        reason: why the chain was abandoned; none for one that ran.
        too_large: whether it was abandoned for its size alone.
        skipped: whether it was not worth a trial, because it fails or undoes its own work.
        targets: the targets, among those searched for, that take the resulting model.
    """

    number: int
    chain: Chain
    bundle_bytes: int | None = None
    table_bytes: int | None = None
    quality: float | None = None
    half: float | None = None
    ndcgs: Sequence[float] = field(default=(), repr=False)
    overlap: float | None = None
    steps: Sequence[Mapping[str, Any]] = field(default_factory=list)
    reason: str | None = None
    too_large: bool = False
    skipped: bool = False
    targets: Sequence[str] = ()

    @property
    def label(self) -> str:
        """The chain in the form of ``edgerec build --compress``."""
        return label(self.chain)

    def fits(self, limit: int | None) -> bool:
        """Whether its size is known and at most ``limit``."""
        return self.bundle_bytes is not None and (limit is None or self.bundle_bytes <= limit)


def label(chain: Chain) -> str:
    """Format a chain as ``prune:share=0.5 → quantize:codec=int8``."""
    specs = []
    for name, options in chain:
        # None stands for an option that is left out.
        given = ",".join(f"{o}={value}" for o, value in options.items() if value is not None)
        specs.append(f"{name}:{given}" if given else name)
    return " → ".join(specs) or "uncompressed"


def front(tried: Iterable[Tried]) -> list[Tried]:
    """The chains that no other chain beats in both bytes and quality, smallest first."""
    found: list[Tried] = []
    for one in sorted(points(tried), key=lambda t: (t.bundle_bytes, -(t.quality or 0))):
        if not found or (one.quality or 0) > (found[-1].quality or 0):
            found.append(one)
    return found


def points(tried: Iterable[Tried]) -> list[Tried]:
    """The chains whose size and quality are both known."""
    return [t for t in tried if t.quality is not None and t.bundle_bytes is not None]


def key_of(chain: Chain) -> str:
    """A text that two chains share only if they are the same."""
    return json.dumps(chain, sort_keys=True)


def by_preference(tried: Sequence[Tried], enough: float | None = None) -> list[Tried]:
    """Chains in the order in which they should be built.

    Those whose quality is within noise of the best come first, the smallest one first: where the
    95 % interval of the ratio of both NDCGs, paired over validation users, contains 1. The others
    follow by quality.

    Args:
        tried: the chains.
        enough: a quality from which a chain counts as being within noise of the best.
    """
    if not tried:
        return []
    best = max(tried, key=lambda t: t.quality or 0)

    def rank(one: Tried) -> tuple[float, float]:
        if enough is not None and (one.quality or 0) >= enough:
            return 0.0, float(one.bundle_bytes or 0)
        ratio = of_ratio(np.array(one.ndcgs), np.array(best.ndcgs))
        if one is best or ratio.high >= 1:
            return 0.0, float(one.bundle_bytes or 0)
        return 1.0, -(one.quality or 0)

    return sorted(tried, key=rank)
