"""recbole importer: user rows and item rows from checkpoints of RecBole, without RecBole."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from edgerec.plugin import Context, DeviceModel, Importer, hookimpl

#: The plugin API version that this plugin was written for.
edgerec_api = 2


@dataclass(frozen=True)
class Recbole(Importer):
    """A checkpoint of LightGCN, NGCF, SGL, SimGCL or BPR, with --data; or of SRGNN, without."""

    name: ClassVar[str] = "recbole"
    suffixes: ClassVar[tuple[str, ...]] = (".pth",)
    inter: str = field(
        default="", metadata={"help": "the .inter file that RecBole read, to number its tokens by"}
    )
    items: str = field(
        default="", metadata={"help": "file with the token of each item row, without [PAD]"}
    )
    users: str = field(
        default="", metadata={"help": "file with the token of each user row, without [PAD]"}
    )
    history_length: int = field(default=200, metadata={"help": "most past items that are read"})

    def read(self, path: Path, context: Context) -> DeviceModel:
        """Read the rows of a checkpoint, and predict those of users from histories."""
        from edgerec_recbole.read import read

        return read(self, path, context)


@hookimpl
def edgerec_importers() -> list[type[Importer]]:
    """Provide the recbole importer."""
    return [Recbole]
