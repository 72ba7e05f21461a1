"""A small fault, and the part of the suite that should notice it."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Mutant"]


@dataclass(frozen=True)
class Mutant:
    """A small fault.

    Args:
        name: what goes wrong.
        path: the file that it is in.
        old: the text that is replaced, which occurs once in the file.
        new: the text that replaces it.
        tests: the part of the suite that should fail, as arguments of pytest.
    """

    name: str
    path: str
    old: str
    new: str
    tests: tuple[str, ...]
