"""implicit importer: user rows and item rows of ALS, BPR and LMF models, without implicit."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from edgerec.plugin import Context, DeviceModel, Importer, hookimpl

#: The plugin API version that this plugin was written for.
edgerec_api = 2


@dataclass(frozen=True)
class Implicit(Importer):
    """What model.save() of implicit wrote for ALS, BPR or LMF; needs --data."""

    name: ClassVar[str] = "implicit"
    suffixes: ClassVar[tuple[str, ...]] = (".npz",)
    users: str = field(
        default="",
        metadata={"help": "file with the id of each user row: .txt, .json or .npy; else --data's"},
    )
    items: str = field(
        default="",
        metadata={"help": "file with the id of each item row: .txt, .json or .npy; else --data's"},
    )
    history_length: int = field(default=200, metadata={"help": "most past items that are read"})

    def read(self, path: Path, context: Context) -> DeviceModel:
        """Read the rows of a model, and predict those of users from histories."""
        from edgerec_implicit.read import read

        return read(self, path, context)


@hookimpl
def edgerec_importers() -> list[type[Importer]]:
    """Provide the implicit importer."""
    return [Implicit]
