"""Atomic writes: a file is either complete or not there."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

__all__ = ["atomic_write", "check_writable", "write_text"]

#: Where Linux shows the open files of this process, and the flag for a file without a name.
_OPEN_FILES, _UNNAMED = Path("/proc/self/fd"), getattr(os, "O_TMPFILE", 0)


@contextlib.contextmanager
def atomic_write(path: str | Path) -> Iterator[BinaryIO]:
    """Open a file for writing that takes the place of ``path`` if the block succeeds.

    A process that is killed at any moment leaves either the old file or the new one, never a
    partial one, because the bytes are on disk (``fsync``) before ``os.replace``, which POSIX makes
    atomic within a directory. Until then, the new file has no name where the system supports that,
    so nothing is left over. It gets the permissions of the file that it replaces.

    Raises:
        OSError: the file cannot be written; the error contains its path.
    """
    path = Path(path)
    draft = f".{path.name}.{secrets.token_hex(4)}.part"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _folder(path.parent) as folder, _create(path.parent / draft) as file:
            try:
                yield file
                file.flush()
                with contextlib.suppress(FileNotFoundError):
                    os.fchmod(file.fileno(), stat.S_IMODE(path.stat().st_mode))
                os.fsync(file.fileno())
                if not (path.parent / draft).exists():
                    # With a folder's descriptor, Python follows the link to the open file.
                    source = _OPEN_FILES / str(file.fileno())
                    os.link(source, draft, dst_dir_fd=folder, follow_symlinks=True)
                (path.parent / draft).replace(path)
            except BaseException:
                (path.parent / draft).unlink(missing_ok=True)
                raise
            if folder is not None:
                os.fsync(folder)
    except OSError as error:
        if error.filename is None:  # as when the disk is full
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise


def check_writable(path: str | Path) -> None:
    """Check before long work that a file or folder can be made at a path.

    Raises:
        OSError: it cannot; the error contains the folder.
    """
    folder = Path(path).absolute()
    while not folder.exists():
        folder = folder.parent
    if not os.access(folder, os.W_OK):
        raise PermissionError(errno.EACCES, "cannot be written to", str(folder))


def write_text(path: str | Path, text: str) -> None:
    """Write UTF-8 text to ``path`` atomically."""
    with atomic_write(path) as file:
        file.write(text.encode("utf-8"))


def _create(draft: Path) -> BinaryIO:
    """Create a file without a name in a draft's folder; where that is not supported, the draft.

    The kernel applies the process's umask.
    """
    if _UNNAMED and _OPEN_FILES.exists():
        with contextlib.suppress(OSError):
            return os.fdopen(os.open(draft.parent, _UNNAMED | os.O_RDWR, 0o666), "w+b")
    return draft.open("x+b")


@contextlib.contextmanager
def _folder(folder: Path) -> Iterator[int | None]:
    """A descriptor of a folder, to be synchronized after a rename; none on Windows."""
    if os.name == "nt":
        yield None
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
