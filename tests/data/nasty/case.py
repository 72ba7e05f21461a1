"""One file, and what should come of it."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from typing import Any

import polars as pl

__all__ = ["Case", "parquet", "read", "refuse"]


@dataclass(frozen=True)
class Case:
    """A file that is read right, or refused for the right reason.

    Args:
        name: what is special about it.
        file: its name.
        content: its bytes.
        expected: ``user:item`` of each interaction, by user and then in order of time; or none.
        message: a pattern of the refusal; or none.
        options: options of ``read_dataset``.
        notes: what the data set says was merged or dropped.
    """

    name: str
    file: str
    content: bytes
    expected: str | None
    message: str | None
    options: dict[str, Any] = field(default_factory=dict)
    notes: dict[str, int] | None = None


def read(
    name: str,
    file: str,
    content: str | bytes,
    expected: str,
    notes: dict[str, int] | None = None,
    **options: Any,
) -> Case:
    """A file that is read."""
    return Case(name, file, _bytes(content), expected, None, options, notes)


def refuse(name: str, file: str, content: str | bytes, message: str, **options: Any) -> Case:
    """A file that is refused."""
    return Case(name, file, _bytes(content), None, message, options)


def parquet(columns: dict[str, Any], **types: Any) -> bytes:
    """A Parquet file."""
    out = io.BytesIO()
    pl.DataFrame(columns, schema_overrides=types).write_parquet(out)
    return out.getvalue()


def _bytes(content: str | bytes) -> bytes:
    return content.encode() if isinstance(content, str) else content
