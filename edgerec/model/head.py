"""Head: how a user vector scores candidates."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal

from edgerec.errors import ModelError
from edgerec.model.blocks import Blocks

__all__ = ["Head", "head_values"]


@dataclass(frozen=True)
class Head:
    """How a user vector scores a candidate row.

    ``dot``: u·x. ``cosine``: u·x / (|u| |x|). ``sigmoid``: 1 / (1 + exp(-u·x)), the
    probability of an edge.

    With ``blocks``, only some blocks of consecutive rows are scored, those that suit the user.
    """

    table: str
    kind: Literal["dot", "cosine", "sigmoid"] = "dot"
    blocks: Blocks | None = None

    def __post_init__(self) -> None:
        if self.kind not in ("dot", "cosine", "sigmoid"):
            raise ModelError(f"head.kind: expected dot, cosine or sigmoid, got {self.kind!r}")
        if self.blocks is not None and not isinstance(self.blocks, Blocks):
            raise ModelError(f"head.blocks: expected Blocks, got {type(self.blocks).__name__}")


def head_values(head: Head) -> dict[str, Any]:
    """A head as JSON values; one without blocks is written as it was before there were any."""
    return {name: v for name, v in dataclasses.asdict(head).items() if v is not None}
