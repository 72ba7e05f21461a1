"""Names of payload parts, which become paths when a bundle is unpacked."""

from __future__ import annotations

from edgerec.errors import BundleError

__all__ = ["check_part", "folders_of"]


def check_part(name: str) -> None:
    """Refuse the name of a payload part that cannot be, or should not be, written to a folder.

    Raises:
        BundleError: it is absolute, leads upwards, is empty, or is too long for a file system.
    """
    steps = name.split("/")
    if {"", ".", ".."} & {*steps} or "\\" in name or ":" in name or not name.isprintable():
        raise BundleError(f"payload part {name!r} is not a relative path of plain names")
    if max(len(step.encode("utf-8", "surrogatepass")) for step in steps) > 255:
        raise BundleError(f"payload part {name[:60]!r}… has a name of more than 255 bytes")


def folders_of(part: str) -> list[str]:
    """The folders in which a payload part is written: ``a`` and ``a/b`` for ``a/b/c``."""
    steps = part.split("/")
    return ["/".join(steps[:depth]) for depth in range(1, len(steps))]
