"""pyg importer: state dicts of torch-geometric's LightGCN."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from edgerec.plugin import Context, DeviceModel, Importer, hookimpl

#: The plugin API version that this plugin was written for.
edgerec_api = 2


@dataclass(frozen=True)
class Pyg(Importer):
    """A state dict of torch_geometric.nn.LightGCN, users first; needs --data for the graph."""

    name: ClassVar[str] = "pyg"
    suffixes: ClassVar[tuple[str, ...]] = (".pt", ".pth")
    users: str = field(
        default="",
        metadata={"help": "file with the id of each user node: .txt, .json or .npy; else --data's"},
    )
    items: str = field(
        default="",
        metadata={"help": "file with the id of each item node: .txt, .json or .npy; else --data's"},
    )
    predict_start: bool = field(
        default=True,
        metadata={"help": "predict user rows from histories; if false, a device keeps its user's"},
    )
    history_length: int = field(default=200, metadata={"help": "most past items that are read"})

    def read(self, path: Path, context: Context) -> DeviceModel:
        """Read the rows of all nodes, and send messages along the interactions of the data."""
        from edgerec_pyg.read import read

        return read(self, path, context)


@hookimpl
def edgerec_importers() -> list[type[Importer]]:
    """Provide the pyg importer."""
    return [Pyg]
