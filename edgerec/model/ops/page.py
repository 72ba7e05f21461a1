"""The table of ops in ``docs/ops.md``, made from their classes."""

from __future__ import annotations

import inspect

from edgerec.model.ops.op import OPS

__all__ = ["markdown"]


def markdown() -> str:
    """Return one row per op: its inputs, its attributes with their defaults, and its value."""
    lines = ["| op | inputs | attributes | value |", "|---|---|---|---|"]
    for kind, rule in sorted(OPS.items()):
        count = f"{-rule.inputs} or more" if rule.inputs < 0 else str(rule.inputs)
        given = ", ".join(f"`{name}` = {value:g}" for name, value in rule.attributes.items())
        meaning = (inspect.getdoc(rule) or "").partition("\n")[0].replace("``", "`")
        lines.append(f"| `{kind}` | {count} | {given} | {meaning} |")
    return "\n".join(lines) + "\n"
