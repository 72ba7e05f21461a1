"""The consoles and arguments that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from edgerec.errors import OptionError

__all__ = ["AsJson", "BundleFile", "ModelFile", "Source", "Trust", "check_output", "err", "out"]

#: Standard output. Ids, paths and names may look like markup.
out = Console(markup=False)

#: Standard error, likewise.
err = Console(stderr=True, markup=False)

#: A dataset by name or path.
Source = Annotated[str, typer.Argument(help="ml-100k, a .dataset file, or a file of interactions")]

#: A saved model.
ModelFile = Annotated[Path, typer.Argument(help=".model file that `edgerec train` wrote")]

#: A bundle.
BundleFile = Annotated[Path, typer.Argument(help=".edgerec file")]

#: Whether to run a payload that is a program.
Trust = Annotated[
    bool, typer.Option("--trust", help="run a torchscript payload, which is a program")
]

#: Whether to print JSON instead of a table.
AsJson = Annotated[bool, typer.Option("--json", help="print JSON")]


def check_output(path: Path, *inputs: str | Path | None, suffix: str = "") -> None:
    """Check an output path before any work is done.

    Raises:
        OptionError: it is a folder, is also an input, or has the wrong suffix.
    """
    if path.is_dir():
        raise OptionError(f"--out: {path} is a folder; name a file")
    if path.exists() and any(path.samefile(i) for i in inputs if i and Path(i).exists()):
        raise OptionError(f"--out: {path} is also an input; name another file")
    if not path.name.endswith(suffix):
        raise OptionError(f"--out: expected a file name that ends in {suffix}, got {path}")
