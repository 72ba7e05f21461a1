"""Intervals: how precisely a sample of test users determines a mean, or a ratio of means."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Interval", "of_mean", "of_ratio"]

F64 = NDArray[np.float64]

#: The two-sided 95 % quantile of the normal distribution.
_QUANTILE = 1.96


@dataclass(frozen=True)
class Interval:
    """An estimate, with the interval that contains the true value in 95 % of samples of users.

    Args:
        value: the estimate.
        half: half the width of the interval.
    """

    value: float
    half: float

    @property
    def low(self) -> float:
        """The lower end."""
        return self.value - self.half

    @property
    def high(self) -> float:
        """The upper end."""
        return self.value + self.half

    def __str__(self) -> str:
        return f"{self.value:.4f} ± {self.half:.4f}"


def of_mean(values: F64) -> Interval:
    """The mean of one value per user: x̄ ± 1.96 s / √n."""
    if not len(values):
        return Interval(0.0, math.inf)
    return Interval(float(values.mean()), _half(values))


def of_ratio(after: F64, before: F64) -> Interval:
    """The ratio of two means over the same users, R = ā / b̄.

    Its standard error is that of the mean of (a - R b) / b̄, by linearization (Cochran, Sampling
    Techniques, 1977, §6.4). Both means are over the same users, so the interval is far narrower
    than that of either mean.
    """
    mean = max(float(before.mean()), 1e-12)
    ratio = float(after.mean()) / mean
    return Interval(ratio, _half((after - ratio * before) / mean))


def _half(values: F64) -> float:
    if len(values) < 2:
        return math.inf
    return _QUANTILE * float(values.std(ddof=1)) / math.sqrt(len(values))
