r"""The affine map between real numbers and integers, as in textbooks.

    scale = (q_max − q_min) / (max − min)
    q = round((x − min) · scale) + q_min            quantize
    x ≈ (q − q_min) / scale + min                   dequantize

Jacob et al., CVPR 2018, use the reciprocal of this scale, which is also what the codecs store: it
takes one multiplication per number on the device. ``Int8(symmetric=False)`` is this map with a
range per row.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgerec.plugin import F32, OptionError

__all__ = ["affine_scale", "dequantize", "quantize"]


def affine_scale(low: float, high: float, q_min: int, q_max: int) -> float:
    """Integers per unit, (q_max − q_min) / (high − low).

    Raises:
        OptionError: a range is empty.
    """
    if not high > low or not q_max > q_min:
        raise OptionError(f"range: expected low < high, got [{low}, {high}] to [{q_min}, {q_max}]")
    return (q_max - q_min) / (high - low)


def quantize(
    x: F32, low: float, high: float, q_min: int = 0, q_max: int = 255
) -> NDArray[np.int32]:
    """Map [low, high] to the integers q_min..q_max; numbers outside map to the nearest end."""
    scale = affine_scale(low, high, q_min, q_max)
    codes = np.rint((np.asarray(x, np.float64) - low) * scale) + q_min
    return np.clip(codes, q_min, q_max).astype(np.int32)


def dequantize(
    codes: NDArray[np.int32], low: float, high: float, q_min: int = 0, q_max: int = 255
) -> F32:
    """Map integers back, with an error of at most half a step, 0.5 / scale, within the range."""
    scale = affine_scale(low, high, q_min, q_max)
    return np.asarray((codes - q_min) / scale + low, np.float32)
