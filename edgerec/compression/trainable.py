"""The options shared by all compressors that can fine-tune what they leave."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field

from edgerec.contracts.compressor import Compressor
from edgerec.errors import OptionError

__all__ = ["FineTuningCompressor"]


@dataclass(frozen=True, kw_only=True)
class FineTuningCompressor(Compressor):
    """A compressor that can fine-tune its result, by ``edgerec.learn.fine_tune_result``.

    A subclass may set other defaults. One with checks of its own must call this class's, too.

    Raises:
        OptionError: an option is out of range, or is set although nothing is trained.
    """

    epochs: int = field(default=0, metadata={"help": "epochs of fine-tuning; 0 trains nothing"})
    distill: float = field(
        default=100.0, metadata={"help": "weight of preserving the original ranking"}
    )
    learning_rate: float = field(default=0.003, metadata={"help": "learning rate of fine-tuning"})

    @property
    def trains(self) -> bool:
        """Whether there are epochs of fine-tuning."""
        return self.epochs > 0

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
                raise OptionError(f"{self.name}.{name}: has no effect without epochs; set both")
