"""Head: how a user vector scores candidates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from edgerec.errors import ModelError

__all__ = ["Head"]


@dataclass(frozen=True)
class Head:
    """How a user vector scores a candidate row.

    ``dot``: u·x. ``cosine``: u·x / (|u| |x|). ``sigmoid``: 1 / (1 + exp(-u·x)), the
    probability of an edge.
    """

    table: str
    kind: Literal["dot", "cosine", "sigmoid"] = "dot"

    def __post_init__(self) -> None:
        if self.kind not in ("dot", "cosine", "sigmoid"):
            raise ModelError(f"head.kind: expected dot, cosine or sigmoid, got {self.kind!r}")
