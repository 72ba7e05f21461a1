"""Op: one step of an encoder, as a value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from edgerec.errors import ModelError
from edgerec.model.ops.elementwise import ELEMENTWISE
from edgerec.model.ops.matrices import MATRICES
from edgerec.model.ops.reductions import REDUCTIONS
from edgerec.model.ops.rule import Attributes, Padding, Rule

__all__ = ["BUILT_IN", "OPS", "Op"]

#: The rule of each op.
OPS: Mapping[str, Rule] = {rule.kind: rule for rule in (*MATRICES, *ELEMENTWISE, *REDUCTIONS)}

#: Values that every encoder can read, with what they have in padding: the weight of each past item,
#: 0 for a past item and MASKED for padding, 1 and 0, the row of a past item, counted from 1 (0 for
#: padding), the number of past items (at least 1), the user's own vector, and the situation.
BUILT_IN: Mapping[str, Padding] = {
    "weights": Padding.ZERO,
    "mask": Padding.LOW,
    "present": Padding.ZERO,
    "row_number": Padding.ZERO,
    "count": Padding.NONE,
    "user_vector": Padding.NONE,
    "context": Padding.NONE,
}

_MOST_INPUTS = 64


@dataclass(frozen=True)
class Op:
    """One step of an encoder, ``output = kind(*inputs)``.

    Inputs are names of tables (for Gather only), constants, built-in values or earlier outputs.
    """

    kind: str
    inputs: tuple[str, ...]
    output: str
    attributes: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.kind not in OPS:
            raise ModelError(f"encoder: unknown op {self.kind!r}; ops: {', '.join(OPS)}")
        takes = self.rule.inputs
        if len(self.inputs) != takes and not (takes < 0 and len(self.inputs) >= -takes):
            expected = f"at least {-takes}" if takes < 0 else str(takes)
            raise ModelError(
                f"encoder: {self.kind} takes {expected} inputs, got {len(self.inputs)}"
            )
        if len(self.inputs) > _MOST_INPUTS:
            raise ModelError(
                f"encoder: {self.kind} takes at most {_MOST_INPUTS} inputs, got {len(self.inputs)}"
            )
        if unknown := set(self.attributes) - set(self.rule.attributes):
            raise ModelError(f"encoder: {self.kind} has no attribute {', '.join(sorted(unknown))}")
        for name, value in self.attributes.items():
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if not number or not abs(value) < 1e30:
                raise ModelError(
                    f"encoder: {self.kind}: {name}: expected a finite number, got {value!r}"
                )
        self.rule.check(self.given)

    @property
    def rule(self) -> Rule:
        """How the op behaves."""
        return OPS[self.kind]

    @property
    def given(self) -> Attributes:
        """All attributes, with defaults for those that are not set."""
        return {**self.rule.attributes, **self.attributes}
