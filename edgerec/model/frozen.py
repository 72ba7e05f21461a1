"""Read-only views, so that a value that flows through many hands cannot change on the way."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

__all__ = ["frozen_array", "frozen_mapping"]

Scalar = TypeVar("Scalar", bound=np.generic)
T = TypeVar("T")


def frozen_array(array: NDArray[Scalar]) -> NDArray[Scalar]:
    """Return a read-only view of an array; the array itself stays writeable for its owner."""
    view: NDArray[Scalar] = array.view()
    view.flags.writeable = False
    return view


def frozen_mapping(values: Mapping[str, T]) -> Mapping[str, T]:
    """Return a read-only copy of a mapping."""
    return MappingProxyType(dict(values))
