"""What commands share: the consoles, and arguments that several of them take."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from edgerec.errors import OptionError

__all__ = ["AsJson", "BundleFile", "ModelFile", "Source", "check_output", "err", "out"]

# Ids, paths and names may look like markup.
out = Console(markup=False)
err = Console(stderr=True, markup=False)

Source = Annotated[str, typer.Argument(help="ml-100k, a .dataset file, or an interactions file")]
ModelFile = Annotated[Path, typer.Argument(help="a .model file that `edgerec train` wrote")]
BundleFile = Annotated[Path, typer.Argument(help="an .edgerec file")]
AsJson = Annotated[bool, typer.Option("--json", help="print JSON")]


def check_output(path: Path, *inputs: str | Path | None, suffix: str = "") -> None:
    """Refuse a file to write before any work is done: a folder, or a file that is read.

    Raises:
        OptionError: it is one, or does not end as such files do.
    """
    if path.is_dir():
        raise OptionError(f"--out: {path} is a folder; name a file")
    if path.exists() and any(path.samefile(i) for i in inputs if i and Path(i).exists()):
        raise OptionError(f"--out: {path} is read, too; name another file")
    if not path.name.endswith(suffix):
        raise OptionError(f"--out: expected a file that ends in {suffix}, got {path}")
