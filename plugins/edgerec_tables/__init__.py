"""tables importer: item rows, and user rows, from files of arrays."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal

from edgerec.plugin import Context, DeviceModel, Importer, hookimpl

#: The plugin API version that this plugin was written for.
edgerec_api = 2


@dataclass(frozen=True)
class Tables(Importer):
    """Arrays of a .npy, .npz or .safetensors file."""

    name: ClassVar[str] = "tables"
    suffixes: ClassVar[tuple[str, ...]] = (".npy", ".npz", ".safetensors")
    ids: str = field(default="", metadata={"help": "file with an id per row: .txt, .json or .npy"})
    items: str = field(default="items", metadata={"help": "name of the rows that are scored"})
    past: str = field(default="", metadata={"help": "name of the rows that a history adds up"})
    users: str = field(
        default="", metadata={"help": "name of user rows, to predict from histories; needs --data"}
    )
    pooling: Literal["mean", "sqrt", "sum"] = field(
        default="mean", metadata={"help": "how past items are added up; user rows have their own"}
    )
    head: Literal["dot", "cosine", "sigmoid"] = field(
        default="dot", metadata={"help": "how a user vector scores a row"}
    )
    history_length: int = field(default=200, metadata={"help": "most past items that are read"})

    def read(self, path: Path, context: Context) -> DeviceModel:
        """Read the arrays, and predict user rows from histories if there are any."""
        from edgerec_tables.read import read

        return read(self, path, context)


@hookimpl
def edgerec_importers() -> list[type[Importer]]:
    """Provide the tables importer."""
    return [Tables]
