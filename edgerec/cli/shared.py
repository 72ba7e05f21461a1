"""What commands share: the consoles, and arguments that several of them take."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

__all__ = ["AsJson", "BundleFile", "ModelFile", "Source", "err", "out"]

out = Console()
err = Console(stderr=True)

Source = Annotated[str, typer.Argument(help="ml-100k, a .dataset file, or an interactions file")]
ModelFile = Annotated[Path, typer.Argument(help="a .model file that `edgerec train` wrote")]
BundleFile = Annotated[Path, typer.Argument(help="an .edgerec file")]
AsJson = Annotated[bool, typer.Option("--json", help="print JSON")]
