"""The header of a container: where each section lies, checked before anything is allocated."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

__all__ = [
    "ALIGN",
    "DTYPES",
    "MAGIC",
    "MAX_HEADER",
    "encode_header",
    "parse_header",
    "strict_json",
    "well_formed",
]

#: The first bytes of every file.
MAGIC = b"EDGEREC1"

#: Sections start at multiples of this.
ALIGN = 64

#: The longest header that is read, in bytes.
MAX_HEADER = 16 * 2**20

#: The dtypes of sections.
DTYPES = ("|u1", "|i1", "<u2", "<i2", "<u4", "<i4", "<i8", "<f2", "<f4", "<f8")

#: The most axes that a section has.
_MAX_AXES = 8


def encode_header(kind: str, meta: Mapping[str, Any], entries: dict[str, dict[str, Any]]) -> bytes:
    """Fill in the offsets and return the header, whose own length shifts them; so iterate."""
    header = b""
    while True:
        position = 48 + len(header)
        for entry in entries.values():
            position += -position % ALIGN
            entry["offset"] = position
            position += entry["size"]
        content = {"kind": kind, "meta": meta, "sections": entries}
        text = json.dumps(content, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        encoded = text.encode("utf-8")
        if len(encoded) <= len(header):
            return encoded.ljust(len(header))
        header = encoded


def parse_header(raw: bytes) -> dict[str, Any]:
    """Return the kind, the meta and the sections of a header.

    Raises:
        ValueError: it is not a header; the text says what is wrong.
    """
    try:
        header = strict_json(raw)
    except ValueError as error:
        raise ValueError(f"the header is {error}") from None
    shape = {"kind": str, "meta": dict, "sections": dict}
    if not isinstance(header, dict) or header.keys() != shape.keys():
        raise ValueError("the header lacks kind, meta or sections")
    for key, kind in shape.items():
        if not isinstance(header[key], kind):
            raise ValueError(f"the header's {key} is not a {kind.__name__}")
    return header


def strict_json(raw: bytes) -> Any:
    """Parse JSON from a file that may be hostile: no key twice, no NaN and no deep nesting.

    Raises:
        ValueError: it is not such JSON.
    """
    try:
        return json.loads(raw, object_pairs_hook=_no_duplicates, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not JSON ({error})") from None


def well_formed(entry: object) -> bool:
    """Whether an entry has the five fields, with the right types, and they agree."""
    if not isinstance(entry, dict):
        return False
    if entry.keys() != {"offset", "size", "sha256", "dtype", "shape"}:
        return False
    shape = entry["shape"]
    if not isinstance(shape, list) or len(shape) > _MAX_AXES:
        return False
    if not all(type(n) is int and 0 <= n < 2**63 for n in (entry["offset"], entry["size"], *shape)):
        return False
    if not (isinstance(entry["dtype"], str) and isinstance(entry["sha256"], str)):
        return False
    if entry["dtype"] not in DTYPES:
        return False
    size = np.dtype(entry["dtype"]).itemsize
    for length in shape:
        size *= length
    return bool(size == entry["size"])


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({key for key, _ in pairs}) != len(pairs):
        raise ValueError("a key occurs twice")
    return dict(pairs)


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not a JSON number")
