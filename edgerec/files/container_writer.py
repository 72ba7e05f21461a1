"""Write a container, or compute the size that it would have."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgerec.errors import BundleError
from edgerec.files.atomic import atomic_write
from edgerec.files.header import ALIGN, DTYPES, MAGIC, MAX_HEADER, encode_header

__all__ = ["container_size", "write_container"]


def write_container(
    path: str | Path,
    kind: str,
    meta: Mapping[str, Any],
    sections: Mapping[str, bytes | NDArray[Any]],
) -> int:
    """Write a container atomically and return its size in bytes.

    Raises:
        BundleError: the format does not support the dtype of a section.
    """
    entries: dict[str, dict[str, Any]] = {}
    views: list[memoryview] = []
    for name, content in sections.items():
        array, entries[name] = _entry(name, content)
        array = np.ascontiguousarray(array, np.dtype(entries[name]["dtype"]))
        view = array.reshape(-1).view(np.uint8).data
        entries[name]["sha256"] = hashlib.sha256(view).hexdigest()
        views.append(view)
    header = encode_header(kind, meta, entries)
    if len(header) > MAX_HEADER:
        raise BundleError(
            f"{path}: the header would have {len(header):,} bytes, and at most {MAX_HEADER:,} are "
            "read; keep less in the metadata"
        )
    with atomic_write(path) as file:
        file.write(MAGIC + len(header).to_bytes(8, "little"))
        file.write(hashlib.sha256(header).digest() + header)
        for view in views:
            file.write(bytes(-file.tell() % ALIGN))
            file.write(view)
        if views:
            file.write(bytes(-file.tell() % ALIGN))
        return file.tell()


def container_size(
    kind: str,
    meta: Mapping[str, Any],
    sections: Mapping[str, bytes | NDArray[Any]],
) -> int:
    """The size of the file that ``write_container`` would write, in bytes."""
    entries = {name: _entry(name, content)[1] for name, content in sections.items()}
    end = 48 + len(encode_header(kind, meta, entries))
    for entry in entries.values():
        end = int(entry["offset"]) + int(entry["size"])
    return end + (-end % ALIGN if entries else 0)


def _entry(name: str, content: bytes | NDArray[Any]) -> tuple[NDArray[Any], dict[str, Any]]:
    """A section as an array, and its entry in the header, without offset and digest.

    Raises:
        BundleError: the format does not support its dtype.
    """
    given = np.frombuffer(content, np.uint8) if isinstance(content, bytes) else content
    array = np.atleast_1d(given)
    dtype = array.dtype.newbyteorder("<").str
    if dtype not in DTYPES:
        raise BundleError(f"section {name!r}: dtype {array.dtype} cannot be written")
    entry = {"offset": 0, "size": array.nbytes, "sha256": "0" * 64}
    return array, entry | {"dtype": dtype, "shape": list(array.shape)}
