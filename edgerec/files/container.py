"""The container: the one file format of bundles, models, datasets and training states.

::

    offset  size  what
         0     8  magic, b"EDGEREC1"
         8     8  N, length of the header, uint64 little-endian, at most 16 MiB
        16    32  SHA-256 of the header
        48     N  header: UTF-8 JSON, {"kind", "meta", "sections"}
             pad  zeros up to a multiple of 64
              …   sections, in the header's order, each padded with zeros to 64

``sections`` maps a name to {"offset", "size", "sha256", "dtype", "shape"}. Sections follow each
other without gaps or overlaps, and the last one ends the file. Given contents can therefore be
written in only one way, and every byte is covered by a digest. Sections start at multiples of 64,
so that a runtime can use them in place in a memory-mapped file. Reading a container executes and
unpickles nothing.
"""

from __future__ import annotations

import hashlib
import json
import mmap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgerec.errors import BundleError
from edgerec.files.atomic import atomic_write

__all__ = ["Container", "release", "write_container"]

_MAGIC = b"EDGEREC1"
_ALIGN = 64
_MAX_HEADER = 16 * 2**20
_PIECE = 2**20
_DTYPES = ("|u1", "|i1", "<u2", "<i2", "<u4", "<i4", "<i8", "<f2", "<f4", "<f8")


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
        array = np.frombuffer(content, np.uint8) if isinstance(content, bytes) else content
        dtype = array.dtype.newbyteorder("<").str
        if dtype not in _DTYPES:
            raise BundleError(f"section {name!r}: dtype {array.dtype} cannot be written")
        array = np.ascontiguousarray(array, np.dtype(dtype))
        view = array.reshape(-1).view(np.uint8).data
        digest = hashlib.sha256(view).hexdigest()
        entry = {"offset": 0, "size": view.nbytes, "sha256": digest}
        entries[name] = entry | {"dtype": dtype, "shape": list(array.shape)}
        views.append(view)
    header = _layout(kind, meta, entries)
    if len(header) > _MAX_HEADER:
        raise BundleError(
            f"{path}: the header would have {len(header):,} bytes, and at most {_MAX_HEADER:,} are "
            "read; keep less in the metadata"
        )
    with atomic_write(path) as file:
        file.write(_MAGIC + len(header).to_bytes(8, "little"))
        file.write(hashlib.sha256(header).digest() + header)
        for view in views:
            file.write(bytes(-file.tell() % _ALIGN))
            file.write(view)
        if views:
            file.write(bytes(-file.tell() % _ALIGN))
        return file.tell()


def _layout(kind: str, meta: Mapping[str, Any], entries: dict[str, dict[str, Any]]) -> bytes:
    """Fill in the offsets and return the header, whose own length shifts them; so iterate."""
    header = b""
    while True:
        position = 48 + len(header)
        for entry in entries.values():
            position += -position % _ALIGN
            entry["offset"] = position
            position += entry["size"]
        content = {"kind": kind, "meta": meta, "sections": entries}
        text = json.dumps(content, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        encoded = text.encode("utf-8")
        if len(encoded) <= len(header):
            return encoded.ljust(len(header))
        header = encoded


class Container:
    """A container, open for reading; its sections are views of a memory-mapped file.

    Raises:
        BundleError: the file is not a complete, well-formed container. ``verify`` checks the
            contents against their digests; opening does not, so that it is fast for large files.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        try:
            with self.path.open("rb") as file:
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except FileNotFoundError:
            raise BundleError(f"{self.path}: no such file") from None
        except (OSError, ValueError) as error:
            raise BundleError(f"{self.path}: cannot be read: {error}") from None
        self.size = len(self._map)
        header = self._read_header()
        self.kind: str = header["kind"]
        self.meta: dict[str, Any] = header["meta"]
        self._entries: dict[str, dict[str, Any]] = header["sections"]
        self._check_layout()

    def __contains__(self, name: str) -> bool:
        return name in self._entries

    @property
    def names(self) -> list[str]:
        """Names of the sections, in file order."""
        return list(self._entries)

    def nbytes(self, name: str) -> int:
        """Size of a section in bytes."""
        return int(self._entry(name)["size"])

    def offset(self, name: str) -> int:
        """The offset of a section in the file."""
        return int(self._entry(name)["offset"])

    def array(self, name: str) -> NDArray[Any]:
        """Return a section as a read-only array in the memory-mapped file."""
        entry = self._entry(name)
        dtype, shape = np.dtype(entry["dtype"]), tuple(entry["shape"])
        count = entry["size"] // dtype.itemsize
        return np.frombuffer(self._map, dtype, count, entry["offset"]).reshape(shape)

    def read(self, name: str) -> bytes:
        """Read the bytes of a section."""
        entry = self._entry(name)
        # Through the file, because mapped pages would count as memory in addition to the copy.
        with self.path.open("rb") as file:
            file.seek(entry["offset"])
            return file.read(entry["size"])

    def extract(self, name: str, path: str | Path) -> None:
        """Copy the bytes of a section into a file, piece by piece."""
        entry = self._entry(name)
        with self.path.open("rb") as source, Path(path).open("wb") as copy:
            source.seek(entry["offset"])
            for left in range(entry["size"], 0, -_PIECE):
                copy.write(source.read(min(left, _PIECE)))

    def verify(self) -> None:
        """Check every section against its digest.

        Raises:
            BundleError: the bytes of a section are not those that were written.
        """
        whole = memoryview(self._map)
        for name, entry in self._entries.items():
            digest, end = hashlib.sha256(), entry["offset"] + entry["size"]
            for start in range(entry["offset"], end, _PIECE):
                stop = min(start + _PIECE, end)
                digest.update(whole[start:stop])
                _give_back(self._map, start, stop)
            if digest.hexdigest() != entry["sha256"]:
                raise self._damaged(f"section {name!r} does not match its SHA-256")

    def _entry(self, name: str) -> dict[str, Any]:
        if name not in self._entries:
            raise self._damaged(f"has no section {name!r}")
        return self._entries[name]

    def _damaged(self, what: str) -> BundleError:
        return BundleError(f"{self.path}: {what}; the file is damaged, build or copy it again")

    def _read_header(self) -> dict[str, Any]:
        if self._map[:8] != _MAGIC:
            raise BundleError(f"{self.path}: not an edgerec file (it does not begin with EDGEREC1)")
        length = int.from_bytes(self._map[8:16], "little")
        if length > _MAX_HEADER:
            raise self._damaged(f"the header should have at most {_MAX_HEADER:,} bytes")
        if 48 + length > self.size:
            raise self._damaged("the header is longer than the file")
        raw = self._map[48 : 48 + length]
        if hashlib.sha256(raw).digest() != self._map[16:48]:
            raise self._damaged("the header does not match its SHA-256")
        self._end_of_header = 48 + length
        try:
            header = json.loads(raw, object_pairs_hook=_no_duplicates, parse_constant=_no_constant)
        except (ValueError, RecursionError) as error:
            raise self._damaged(f"the header is not JSON ({error})") from None
        shape = {"kind": str, "meta": dict, "sections": dict}
        if not isinstance(header, dict) or header.keys() != shape.keys():
            raise self._damaged("the header lacks kind, meta or sections")
        for key, kind in shape.items():
            if not isinstance(header[key], kind):
                raise self._damaged(f"the header's {key} is not a {kind.__name__}")
        return header

    def _check_layout(self) -> None:
        position = self._end_of_header
        for name, entry in self._entries.items():
            if not _well_formed(entry):
                raise self._damaged(f"the entry of section {name!r} is malformed")
            self._check_padding(position, position + -position % _ALIGN)
            position += -position % _ALIGN
            if entry["offset"] != position:
                raise self._damaged(f"section {name!r} is not where the one before it ends")
            position += entry["size"]
            if position > self.size:
                raise self._damaged(f"section {name!r} runs past the end of the file")
        if self._entries:
            self._check_padding(position, position + -position % _ALIGN)
            position += -position % _ALIGN
        if position != self.size:
            raise self._damaged(f"expected {position} bytes, got {self.size}")

    def _check_padding(self, start: int, stop: int) -> None:
        if self._map[start:stop] != bytes(stop - start):
            raise self._damaged("padding is not zero or is cut off")


def release(array: NDArray[Any]) -> None:
    """Return the pages of an array in a memory-mapped file to the system.

    They count as this process's memory otherwise, and are read again when needed.
    """
    owner: Any = array
    while isinstance(owner, np.ndarray):
        owner = owner.base
    mapped = owner.obj if isinstance(owner, memoryview) else owner
    if isinstance(mapped, mmap.mmap):
        start = array.ctypes.data - np.frombuffer(mapped, np.uint8).ctypes.data
        _give_back(mapped, start, start + array.nbytes)


def _give_back(mapped: mmap.mmap, start: int, stop: int) -> None:
    """Return mapped pages to the system, because pages that were read count as memory."""
    if hasattr(mmap, "MADV_DONTNEED"):
        start -= start % mmap.PAGESIZE
        mapped.madvise(mmap.MADV_DONTNEED, start, stop - start)


def _well_formed(entry: object) -> bool:
    """Whether an entry has the five fields, with the right types, and they agree."""
    if not isinstance(entry, dict):
        return False
    if entry.keys() != {"offset", "size", "sha256", "dtype", "shape"}:
        return False
    shape = entry["shape"]
    numbers = [entry["offset"], entry["size"], *(shape if isinstance(shape, list) else [None])]
    if not all(type(n) is int and 0 <= n < 2**63 for n in numbers):
        return False
    if entry["dtype"] not in _DTYPES or not isinstance(entry["sha256"], str):
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
