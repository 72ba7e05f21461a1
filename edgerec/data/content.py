"""Content: what a file is, from its first bytes rather than from its suffix."""

from __future__ import annotations

import gzip
import io
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

from edgerec.errors import DataError

__all__ = ["Content", "open_content"]

#: How many bytes are looked at.
_HEAD = 2**16

#: The first bytes of files that are not read, with what they are and what to do.
_OTHERS = {
    b"EDGEREC1": "a file of edgerec; name the data it was made from",
    b"ARROW1": "an Arrow file; save it as Parquet",
    b"SQLite format 3": "an SQLite database; export the table as CSV",
    b"\x89HDF": "an HDF5 file; save it as Parquet",
    b"\xd0\xcf\x11\xe0": "an Excel workbook; save it as CSV",
    b"\x93NUMPY": "a numpy array; save it as Parquet or CSV",
    b"\x80\x02": "a pickle, which is never loaded; save it as Parquet",
    b"\x80\x03": "a pickle, which is never loaded; save it as Parquet",
    b"\x80\x04": "a pickle, which is never loaded; save it as Parquet",
    b"\x80\x05": "a pickle, which is never loaded; save it as Parquet",
    b"%PDF": "a PDF",
    b"BZh": "compressed with bzip2; unpack it, or use gzip",
    b"\xfd7zXZ": "compressed with xz; unpack it, or use gzip",
    b"\x28\xb5\x2f\xfd": "compressed with Zstandard; unpack it, or use gzip",
    b"7z\xbc\xaf": "a 7z archive; unpack it",
    b"\x1f\x9d": "compressed with compress; unpack it, or use gzip",
}

#: Byte order marks, with the encodings that they stand for; the longer ones first.
_MARKS = {
    b"\xff\xfe\0\0": "utf-32",
    b"\0\0\xfe\xff": "utf-32",
    b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
    b"\xef\xbb\xbf": "utf-8-sig",
}


@dataclass(frozen=True)
class Content:
    """A file that was looked into.

    Args:
        path: the file.
        suffix: the suffix that says what it is, in lower case, such as ``.csv`` for ``x.csv.gz``.
        member: the one file in a zip archive.
        gzipped: whether it is compressed with gzip.
        parquet: whether it is Parquet; otherwise it is text.
        encoding: the encoding of the text.
        head: the beginning of the text.
    """

    path: Path
    suffix: str
    member: str | None
    gzipped: bool
    parquet: bool
    encoding: str
    head: str

    @property
    def is_plain(self) -> bool:
        """Whether the file itself is UTF-8 text, or Parquet."""
        return self.member is None and not self.gzipped and self.encoding.startswith("utf-8")

    @property
    def first_line(self) -> str:
        """The first line that is not blank."""
        return next((line for line in self.head.splitlines() if line.strip()), "")

    def open(self) -> IO[bytes]:
        """Open the uncompressed bytes."""
        if self.member is not None:
            return zipfile.ZipFile(self.path).open(self.member)
        return cast(IO[bytes], gzip.open(self.path)) if self.gzipped else self.path.open("rb")

    def text(self) -> str:
        """The whole text, with lines that end in a line feed.

        Raises:
            DataError: it is not in its encoding, or its compression is damaged.
        """
        try:
            with self.open() as stream:
                raw = stream.read()
        except (OSError, EOFError, zlib.error, zipfile.BadZipFile) as error:
            raise DataError(f"{self.path}: cannot be read: {error}") from None
        try:
            text = raw.decode(self.encoding)
        except UnicodeDecodeError as error:
            line = raw[: error.start].count(b"\n") + 1
            raise DataError(_not_text(self.path, line, raw[error.start])) from None
        return io.StringIO(text, newline=None).read()


def open_content(path: Path, *, json_lines: bool = False) -> Content:
    """Look into a file.

    Args:
        path: the file.
        json_lines: whether it is JSON, which is refused otherwise.

    Raises:
        DataError: there is no such file, or it is neither text nor Parquet; the message says what
            it is.
    """
    if path.is_dir():
        raise DataError(f"{path}: is a folder; name a file")
    suffix, member, gzipped = path.suffix.lower(), None, False
    try:
        with path.open("rb") as stream:
            head = stream.read(_HEAD)
        if head.startswith(b"PK\x03\x04"):
            member = _only_member(path)
            suffix = Path(member).suffix.lower()
            with zipfile.ZipFile(path) as archive, archive.open(member) as inner:
                head = inner.read(_HEAD)
        elif head.startswith(b"\x1f\x8b"):
            gzipped = True
            suffix = Path(path.stem).suffix.lower() if suffix in (".gz", ".gzip") else suffix
            with gzip.open(path) as inner:
                head = inner.read(_HEAD)
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except (OSError, EOFError, zlib.error, zipfile.BadZipFile, RuntimeError) as error:
        raise DataError(f"{path}: cannot be read: {error}") from None
    for start, what in _OTHERS.items():
        if head.startswith(start):
            raise DataError(f"{path}: is {what}")
    if not head.strip():
        raise DataError(f"{path}: the file is empty")
    if head.startswith(b"PAR1"):
        if member or gzipped:
            raise DataError(
                f"{path}: is Parquet in an archive; unpack it, because Parquet is compressed"
                " already"
            )
        return Content(path, suffix, None, False, True, "utf-8", "")
    encoding = next((code for mark, code in _MARKS.items() if head.startswith(mark)), "utf-8")
    text = _decode(path, head, encoding)
    if text.lstrip().startswith(("{", "[")) and not json_lines:
        raise DataError(f"{path}: is JSON; save it as CSV or Parquet")
    if text.lstrip().lower().startswith(("<!doctype", "<html", "<?xml")):
        raise DataError(f"{path}: is a web page or XML; download the data itself")
    if text.startswith("version https://git-lfs"):
        raise DataError(f"{path}: is a pointer of Git LFS; fetch the data with `git lfs pull`")
    return Content(path, suffix, member, gzipped, False, encoding, text)


def _only_member(path: Path) -> str:
    """The one file of an archive.

    Raises:
        DataError: it has several, or is a workbook or a numpy archive.
    """
    with zipfile.ZipFile(path) as archive:
        names = [n for n in archive.namelist() if not n.endswith("/") and "__MACOSX" not in n]
    if any(name.startswith("xl/") for name in names):
        raise DataError(f"{path}: is an Excel workbook; save it as CSV")
    if any(name.endswith(".npy") for name in names):
        raise DataError(f"{path}: is a numpy archive; save it as Parquet or CSV")
    if len(names) != 1:
        few = ", ".join(names[:5]) + (", …" if len(names) > 5 else "")
        raise DataError(f"{path}: has {len(names)} files ({few}); unpack it and name one")
    return names[0]


def _decode(path: Path, head: bytes, encoding: str) -> str:
    """Decode the beginning of a text, whose last character may be cut."""
    for cut in range(4):
        try:
            text = head[: len(head) - cut].decode(encoding)
            break
        except UnicodeDecodeError as error:
            if error.start < len(head) - 4 or cut == 3:
                line = head[: error.start].count(b"\n") + 1
                raise DataError(_not_text(path, line, head[error.start])) from None
    if "\0" in text:
        hint = "UTF-16 without a byte order mark, or binary" if text[1::2][:4] == "\0" * 4 else None
        raise DataError(f"{path}: is not text; it looks like {hint or 'a binary file'}")
    return text


def _not_text(path: Path, line: int, byte: int) -> str:
    return (
        f"{path}: line {line} is not UTF-8 (byte 0x{byte:02x}); convert the file, for example "
        "with `iconv -f latin1 -t utf-8`"
    )
