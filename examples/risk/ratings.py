"""Ratings of traders in order of time, and what is known about traders at a moment."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Ratings", "facts", "read_ratings"]

DAY = 86_400.0


@dataclass(frozen=True)
class Ratings:
    """Who rated whom, how (-10 to 10, never 0) and when (seconds), in order of time."""

    raters: NDArray[np.int64]
    traders: NDArray[np.int64]
    values: NDArray[np.float64]
    times: NDArray[np.float64]
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.values)

    def part(self, start: float, end: float) -> Ratings:
        """The ratings between two shares of all of them."""
        a, b = round(start * len(self)), round(end * len(self))
        parts = (self.raters, self.traders, self.values, self.times)
        return Ratings(*(part[a:b] for part in parts), self.names)

    @property
    def warnings(self) -> NDArray[np.bool_]:
        """Whether each rating is a warning, which is what a negative one is."""
        return self.values < 0

    def by_rater(self) -> Iterator[tuple[int, NDArray[np.int64]]]:
        """Each rater, with the places of their ratings, oldest first."""
        order = np.argsort(self.raters, kind="stable")
        starts = np.flatnonzero(np.diff(self.raters[order], prepend=-1))
        for start, end in zip(starts, [*starts[1:], len(order)], strict=True):
            yield int(self.raters[order[start]]), order[start:end]


def read_ratings(folder: Path) -> Ratings:
    """Read Bitcoin OTC, as SNAP publishes it: rater, trader, rating and time on each line."""
    with gzip.open(folder / "soc-sign-bitcoinotc.csv.gz", "rt") as stream:
        lines = [line for line in csv.reader(stream) if line and line[0].strip().isdigit()]
    lines.sort(key=lambda line: float(line[3]))
    names = sorted({line[place] for line in lines for place in (0, 1)}, key=int)
    row = {name: number for number, name in enumerate(names)}
    raters, traders = (np.array([row[line[place]] for line in lines]) for place in (0, 1))
    values, times = (np.array([float(line[place]) for line in lines]) for place in (2, 3))
    return Ratings(raters, traders, values, times, tuple(names))


def facts(past: Ratings) -> NDArray[np.float32]:
    """What past ratings say about each trader, float32[n, 12], each of mean 0 and deviation 1."""
    n, now = len(past.names), past.times[-1]
    columns: list[NDArray[Any]] = []
    for who in (past.traders, past.raters):
        for sign in (1, -1):
            chosen = past.values * sign > 0
            columns.append(np.log1p(np.bincount(who[chosen], minlength=n)))
            strength = np.abs(past.values[chosen])
            columns.append(np.log1p(np.bincount(who[chosen], strength, minlength=n)))
        count = np.bincount(who, minlength=n)
        columns.append(np.bincount(who, past.values, minlength=n) / np.maximum(count, 1))
        latest = np.full(n, past.times[0])
        np.maximum.at(latest, who, past.times)
        columns.append(np.log1p((now - latest) / DAY))
    found = np.stack(columns, 1)
    scale = found.std(0)
    return ((found - found.mean(0)) / np.where(scale > 0, scale, 1)).astype(np.float32)
