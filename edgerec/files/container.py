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

A file is opened once, and checked, mapped and read through that descriptor. It may therefore be
replaced (``os.replace``) or removed while it is in use. It must not be written over in place, which
changes or cuts off what is mapped.
"""

from __future__ import annotations

import contextlib
import hashlib
import mmap
import os
import tempfile
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgerec.errors import BundleError, ForeignFileError
from edgerec.files.header import ALIGN, MAGIC, MAX_HEADER, parse_header, well_formed
from edgerec.files.pages import give_back

__all__ = ["Container"]

#: The number of bytes that are hashed or copied at a time.
_PIECE = 2**20


class Container:
    """A container, open for reading; its sections are views of a memory-mapped file.

    Threads may share it.

    Raises:
        BundleError: the file is not a complete, well-formed container. ``verify`` checks the
            contents against their digests; opening does not, so that it is fast for large files.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        try:
            descriptor = os.open(self.path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        except FileNotFoundError:
            raise BundleError(f"{self.path}: no such file") from None
        except (OSError, ValueError) as error:
            raise BundleError(f"{self.path}: cannot be read: {error}") from None
        self._descriptor, self._reading = descriptor, threading.Lock()
        # Closes it once, on ``close`` or when the container is no longer used.
        self._close = weakref.finalize(self, os.close, descriptor)
        try:
            self._map = mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError) as error:
            raise BundleError(f"{self.path}: cannot be read: {error}") from None
        self.size = len(self._map)
        header = self._read_header()
        self.kind: str = header["kind"]
        self.meta: dict[str, Any] = header["meta"]
        self._entries: dict[str, dict[str, Any]] = header["sections"]
        self._check_layout()

    def expect(self, kind: str, version: int, oldest: int | None = None) -> None:
        """Check that this is a file of a kind, in a format version that is read here.

        Args:
            kind: the kind of file.
            version: the latest format version that is read.
            oldest: the earliest one; the latest alone by default.

        Raises:
            BundleError: it is not; the message says what to do.
        """
        if self.kind != kind:
            kind_of_file = self.kind if self.kind.isalpha() else repr(self.kind)
            raise BundleError(f"{self.path}: expected a {kind}, got a {kind_of_file}")
        found = self.meta.get("format", 0)
        if type(found) is not int or found > version:
            raise BundleError(
                f"{self.path}: {kind} format {found!r}, this edgerec reads format {version}; "
                "update edgerec"
            )
        if found < (version if oldest is None else oldest):
            raise BundleError(
                f"{self.path}: {kind} format {found}, of an older edgerec; this one reads format "
                f"{version}, so write the file again"
            )

    def __contains__(self, name: str) -> bool:
        return name in self._entries

    def close(self) -> None:
        """Close the file. It stays mapped for as long as an array of it is in use."""
        self._close()
        del self._map

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
        self._check_open()
        entry = self._entry(name)
        dtype, shape = np.dtype(entry["dtype"]), tuple(entry["shape"])
        count = entry["size"] // dtype.itemsize
        return np.frombuffer(self._map, dtype, count, entry["offset"]).reshape(shape)

    def read(self, name: str) -> bytes:
        """Read the bytes of a section."""
        entry = self._entry(name)
        # At once, because joined pieces would be in memory twice.
        data = self._read(entry["offset"], entry["size"])
        rest = entry["offset"] + len(data), entry["size"] - len(data)
        # A system may return less of gigabytes than was asked for.
        return b"".join([data, *self._pieces(*rest)]) if rest[1] else data

    def extract(self, name: str, path: str | Path) -> None:
        """Copy the bytes of a section into a file, piece by piece."""
        entry = self._entry(name)
        with Path(path).open("wb") as copy:
            copy.writelines(self._pieces(entry["offset"], entry["size"]))

    def _pieces(self, offset: int, size: int) -> Iterator[bytes]:
        """Read through the file, since mapped pages would count as memory as well."""
        for start in range(offset, offset + size, _PIECE):
            length = min(_PIECE, offset + size - start)
            piece = self._read(start, length)
            if len(piece) < length:
                raise self._damaged("it was cut off while it was open")
            yield piece

    def _read(self, offset: int, size: int) -> bytes:
        """At most ``size`` bytes from an offset on."""
        with self._reading:
            self._check_open()
            os.lseek(self._descriptor, offset, os.SEEK_SET)
            return os.read(self._descriptor, size)

    def _check_open(self) -> None:
        if not self._close.alive:
            raise BundleError(f"{self.path}: is closed")

    @contextlib.contextmanager
    def as_file(self) -> Iterator[Path]:
        """A path under which a runtime can open this very file within the block.

        It is the file's own path, or that of a private copy if another file has taken its place.

        Raises:
            BundleError: the file was replaced within the block.
        """
        if self._is_at(self.path):
            yield self.path.resolve()
            if not self._is_at(self.path):
                raise BundleError(f"{self.path}: was replaced while it was opened; open it again")
            return
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            copy = Path(folder) / self.path.name
            with copy.open("wb") as file:
                file.writelines(self._pieces(0, self.size))
            yield copy.resolve()

    def _is_at(self, path: Path) -> bool:
        self._check_open()
        try:
            return os.path.samestat(os.fstat(self._descriptor), path.stat())
        except OSError:
            return False

    def verify(self) -> None:
        """Check every section against its digest.

        Raises:
            BundleError: the bytes of a section are not those that were written.
        """
        self._check_open()
        whole = memoryview(self._map)
        for name, entry in self._entries.items():
            digest, end = hashlib.sha256(), entry["offset"] + entry["size"]
            for start in range(entry["offset"], end, _PIECE):
                stop = min(start + _PIECE, end)
                digest.update(whole[start:stop])
                give_back(self._map, start, stop)
            if digest.hexdigest() != entry["sha256"]:
                raise self._damaged(f"section {name!r} does not match its SHA-256")

    def _entry(self, name: str) -> dict[str, Any]:
        if name not in self._entries:
            raise self._damaged(f"has no section {name!r}")
        return self._entries[name]

    def _damaged(self, what: str) -> BundleError:
        return BundleError(f"{self.path}: {what}; the file is damaged, build or copy it again")

    def _read_header(self) -> dict[str, Any]:
        if self._map[:8] != MAGIC:
            raise ForeignFileError(self.path)
        length = int.from_bytes(self._map[8:16], "little")
        if length > MAX_HEADER:
            raise self._damaged(f"the header should have at most {MAX_HEADER:,} bytes")
        if 48 + length > self.size:
            raise self._damaged("the header is longer than the file")
        raw = self._map[48 : 48 + length]
        if hashlib.sha256(raw).digest() != self._map[16:48]:
            raise self._damaged("the header does not match its SHA-256")
        self._end_of_header = 48 + length
        try:
            return parse_header(raw)
        except ValueError as error:
            raise self._damaged(str(error)) from None

    def _check_layout(self) -> None:
        position = self._end_of_header
        for name, entry in self._entries.items():
            if not well_formed(entry):
                raise self._damaged(f"the entry of section {name!r} is malformed")
            self._check_padding(position, position + -position % ALIGN)
            position += -position % ALIGN
            if entry["offset"] != position:
                raise self._damaged(f"section {name!r} is not where the one before it ends")
            position += entry["size"]
            if position > self.size:
                raise self._damaged(f"section {name!r} runs past the end of the file")
        if self._entries:
            self._check_padding(position, position + -position % ALIGN)
            position += -position % ALIGN
        if position != self.size:
            raise self._damaged(f"expected {position} bytes, got {self.size}")

    def _check_padding(self, start: int, stop: int) -> None:
        if self._map[start:stop] != bytes(stop - start):
            raise self._damaged("padding is not zero or is cut off")
