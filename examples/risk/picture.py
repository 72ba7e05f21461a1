"""The reliability diagram: how often warnings happen that a probability was given for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["draw_reliability"]


def draw_reliability(truth: NDArray[np.bool_], found: NDArray[Any], path: Path) -> None:
    """Draw ten groups of equal size: the mean probability, and the share of warnings."""
    from matplotlib.figure import Figure

    groups = np.array_split(np.argsort(found, kind="stable"), 10)
    given = [found[group].mean() for group in groups]
    share = [truth[group].mean() for group in groups]
    figure = Figure(figsize=(5, 4), layout="constrained")
    axes = figure.subplots()
    top = max(*given, *share) * 1.05
    axes.plot([0, top], [0, top], color="0.7", label="perfect")
    axes.plot(given, share, marker="o", label="the bundle")
    axes.set(xlabel="probability given", ylabel="share that were warnings", xlim=0, ylim=0)
    axes.set_title("Ratings in ten groups of equal size")
    axes.legend()
    figure.savefig(path, dpi=110)
