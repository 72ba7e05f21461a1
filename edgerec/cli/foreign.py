"""Files of other libraries: which importers read them, by their endings."""

from __future__ import annotations

import shlex
from pathlib import Path

from edgerec.contracts.host import Host
from edgerec.contracts.importer import Importer
from edgerec.errors import OptionError

__all__ = ["advice", "check_suffix"]


def advice(path: Path, host: Host) -> str:
    """What to do with a file that is not one of edgerec: the importers that may read it."""
    if fitting := _fitting(path, host):
        given = f"{shlex.quote(str(path))} -o {shlex.quote(path.stem)}.model"
        commands = " or ".join(f"`edgerec import {name} {given}`" for name in fitting)
        return f"if another library wrote it, import it with {commands}"
    known = [f"{name} ({_listed(one)})" for name, one in sorted(host.importers.items())]
    return f"importers of other libraries' files: {', '.join(known) or 'none installed'}"


def check_suffix(importer: Importer, path: Path, host: Host) -> None:
    """Check that an importer reads files with an ending like this one's.

    Raises:
        OptionError: it does not; the message names those that do.
    """
    if not importer.suffixes or _ends(path, importer):
        return
    others = _fitting(path, host)
    hint = f"; it may be one for {' or '.join(others)}" if others else ""
    raise OptionError(f"{path}: importer {importer.name} reads {_listed(importer)}{hint}")


def _fitting(path: Path, host: Host) -> list[str]:
    """The names of the importers that list the ending of a file."""
    return [name for name, one in sorted(host.importers.items()) if _ends(path, one)]


def _ends(path: Path, importer: Importer | type[Importer]) -> bool:
    name = path.name.lower()
    return any(name.endswith(suffix.lower()) for suffix in importer.suffixes)


def _listed(importer: Importer | type[Importer]) -> str:
    return ", ".join(importer.suffixes) or "any file"
