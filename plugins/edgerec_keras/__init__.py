"""keras importer: history models and two-tower models of .keras files, without TensorFlow."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal

from edgerec.plugin import Context, DeviceModel, Importer, hookimpl

#: The plugin API version that this plugin was written for.
edgerec_api = 2


@dataclass(frozen=True)
class Keras(Importer):
    """A .keras file: a history scored by a Dense layer over all items, or by an item tower."""

    name: ClassVar[str] = "keras"
    suffixes: ClassVar[tuple[str, ...]] = (".keras",)
    ids: str = field(
        default="", metadata={"help": "file with an id per row of the Embedding, in its order"}
    )
    history: str = field(default="", metadata={"help": "name of the input of past items"})
    item: str = field(default="", metadata={"help": "name of the input of the item to score"})
    padding: Literal["post", "pre"] = field(
        default="post", metadata={"help": "where an input of fixed length has its zeros"}
    )
    history_length: int = field(
        default=0,
        metadata={"help": "most past items that are read: by default the input's, or 200"},
    )

    def read(self, path: Path, context: Context) -> DeviceModel:
        """Read the model, and take its user side and its item rows apart."""
        from edgerec_keras.archive import use_torch

        use_torch()
        from edgerec_keras.read import read

        return read(self, path, context)


@hookimpl
def edgerec_importers() -> list[type[Importer]]:
    """Provide the keras importer."""
    return [Keras]
