"""Compressors that can train what they leave: one set of options and checks for all of them."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field

from edgerec.compressor import Compressor
from edgerec.errors import OptionError

__all__ = ["TunedCompressor"]


@dataclass(frozen=True, kw_only=True)
class TunedCompressor(Compressor):
    """A compressor with ``epochs`` of training afterwards, by ``edgerec.learn.tune``.

    A subclass may set other defaults; one with checks of its own calls this class's too.

    Raises:
        OptionError: an option is out of range, or given though nothing is trained.
    """

    epochs: int = field(default=0, metadata={"help": "training of what is left; 0: none"})
    distill: float = field(default=100.0, metadata={"help": "weight of the given model's order"})
    learning_rate: float = field(default=0.003, metadata={"help": "of that training"})

    def __post_init__(self) -> None:
        for name in ("epochs", "distill"):
            if not 0 <= getattr(self, name) < math.inf:
                raise OptionError(
                    f"{self.name}.{name}: expected 0 or more, got {getattr(self, name)}"
                )
        if not 0 < self.learning_rate < math.inf:
            raise OptionError(
                f"{self.name}.learning_rate: expected more than 0, got {self.learning_rate:g}"
            )
        defaults = {f.name: f.default for f in dataclasses.fields(self)}
        for name in ("distill", "learning_rate"):
            if not self.epochs and getattr(self, name) != defaults[name]:
                raise OptionError(f"{self.name}.{name}: has no effect without epochs; give both")
