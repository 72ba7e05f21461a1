"""Signature: the shape of an artefact's call, which is the same for every target."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Signature"]


@dataclass(frozen=True)
class Signature:
    """The shape of an artefact's call.

    Inputs are ``history`` int32[H] (rows, most recent last, padded with -1) and ``weights``
    float32[H] (0 for padding). Outputs are ``ids`` int32[R] and ``scores`` float32[R].

    R = min(n, K + H): at most H items were seen, so dropping the seen ones leaves the exact best
    K without a mask in the graph.

    Args:
        items: n, the number of rows of the candidate table.
        history_length: H.
        top_k: K, the maximum number of recommendations that can be requested.
    """

    items: int
    history_length: int
    top_k: int

    @property
    def returned(self) -> int:
        """R, the number of candidates that the artefact returns."""
        return self.returned_for(self.history_length)

    def returned_for(self, past: int) -> int:
        """The number of candidates that suffices for the given number of past items."""
        return min(self.items, self.top_k + past)

    @property
    def proposed(self) -> int:
        """The number of candidates that an inexact scan proposes for re-scoring in float.

        Integer kernels round the user vector, which may swap candidates near the cut; the margin
        over R makes up for that.
        """
        return min(self.items, self.returned + max(64, self.returned // 4))
