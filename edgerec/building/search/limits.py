"""Limits: by how much figures exceed those of a budget, and a limit that they keep."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from edgerec.contracts.device import Budget

__all__ = ["excess", "excesses", "relaxed"]


def excesses(budget: Budget, figures: Mapping[str, Any]) -> dict[str, float]:
    """The share of itself by which each limit is broken; negative if it is kept."""
    found = {}
    for name, limit in asdict(budget).items():
        if limit is not None:
            bound, figure = name.split("_", 1)
            share = figures[figure] / limit - 1
            found[name] = share if bound == "max" else -share
    return found


def excess(budget: Budget, figures: Mapping[str, Any]) -> float:
    """The share of itself by which the limit that is broken most is exceeded."""
    return max(excesses(budget, figures).values(), default=0.0)


def relaxed(name: str, measured: float) -> str:
    """A limit that a measured figure keeps, rounded to the safe side."""
    if name == "min_quality":
        return f"{name} = {math.floor(measured * 1e4) / 1e4:g}"
    if name == "max_p95_ms":
        return f"{name} = {math.ceil(measured * 10) / 10:g}"
    return f"{name} = {measured:,.0f}"
