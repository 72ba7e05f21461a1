"""Signature: the shape of an artefact's call, which is the same for every target."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

__all__ = ["SIGNATURES", "Signature"]

#: The versions of the call that a scorer knows.
SIGNATURES = (1, 2)


@dataclass(frozen=True)
class Signature:
    """The shape of an artefact's call.

    In version 2, the inputs are ``history`` int32[H] (rows, most recent last, padded with -1 on the
    left) and those that the model declares (``DeviceModel.inputs``). The outputs are ``ids``
    int32[R] and ``scores`` float32[R], the best unseen rows, then -1 and 0, and ``user``
    float32[d], the user vector. The artefact merges repeated items, weighs past items, and leaves
    out seen ones.

    In version 1, the inputs are ``history`` int32[H], without repeats and padded with -1 on the
    right, and ``weights`` float32[H], the computed weight of each past item (``history_weights``).
    The outputs are ``ids`` and ``scores`` of the best rows, seen ones included.

    R = min(n, K + H): at most H items were seen, so at least the best K unseen ones remain.

    Args:
        items: n, the number of rows of the candidate table.
        history_length: H.
        top_k: K, the maximum number of recommendations that can be requested.
        version: 1 or 2.
        inputs: the length of each input that the model declares, by name, in order.
    """

    items: int
    history_length: int
    top_k: int
    version: int = 2
    inputs: Mapping[str, int] = field(default_factory=dict, hash=False)

    @property
    def returned(self) -> int:
        """R, the number of places in the list that the artefact returns."""
        return self.returned_for(self.history_length)

    def returned_for(self, past: int) -> int:
        """The number of candidates that suffices for the given number of past items."""
        return min(self.items, self.top_k + past)

    def example_inputs(self) -> dict[str, NDArray[np.float32]]:
        """The values of ``user_vector`` and ``context`` in measurements and test vectors.

        They are those declared, evenly spaced from -1 to 1.
        """
        return {
            name: np.linspace(-1, 1, length, dtype=np.float32)
            for name, length in self.inputs.items()
            if name != "weights"
        }

    @property
    def proposed(self) -> int:
        """The number of candidates that an inexact scan proposes for re-scoring in float.

        Integer kernels round the user vector, which may swap candidates near the cut; the margin
        over R makes up for that.
        """
        return min(self.items, self.returned + max(64, self.returned // 4))
