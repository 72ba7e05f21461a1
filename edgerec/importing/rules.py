"""The rules by which traced ATen ops become those of an encoder."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["RULES", "Rule", "rule"]

#: A rule adds what an op computes to an encoder; it gets the op's arguments in order.
Rule = Callable[..., Any]

#: The rule of each op, by its name without an overload.
RULES: dict[str, Rule] = {}


def rule(*names: str) -> Callable[[Rule], Rule]:
    """Register a rule for the ATen ops of some names."""

    def register(function: Rule) -> Rule:
        RULES.update(dict.fromkeys(names, function))
        return function

    return register
