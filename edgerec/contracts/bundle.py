"""Bundle: the one file that is deployed, with a manifest, the catalogue and a target's payload.

A bundle is a container (``files/container.py``) of kind ``bundle``. Its ``meta`` is the manifest.
Its sections are the catalogue (``items/…``), the rows recommended for an empty history
(``popular``) and what the target wrote (``payload/…``).
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgerec.contracts.described import Described
from edgerec.contracts.manifest import check_manifest, read_inputs
from edgerec.contracts.parts import check_part, folders_of
from edgerec.contracts.signature import Signature
from edgerec.errors import BundleError
from edgerec.files.atomic import write_text
from edgerec.files.container import Container
from edgerec.files.fields import Fields
from edgerec.model.codecs import Codec
from edgerec.model.core_codecs import CODECS
from edgerec.model.device_model import DeviceModel
from edgerec.model.items import Items
from edgerec.model.model_file import guarded, read_catalogue, read_payload_model

__all__ = ["DESCRIPTION", "FORMAT", "Bundle", "target_of"]

#: The version of the manifest that this edgerec writes, and the earliest one that it reads.
FORMAT, _OLDEST = 2, 1

#: The file that describes an unpacked bundle.
DESCRIPTION = "edgerec.json"

#: Entries of the manifest by which an app calls the artefact.
_READING = (
    *("target", "signature", "inputs", "history_length", "top_k", "normalization", "recency"),
    *("repeats", "drop_seen", "fallback"),
)


@dataclass(frozen=True)
class Bundle(Described):
    """A bundle, open for reading.

    Args:
        container: the open file.
        codecs: the codecs that its tables may be encoded with, by name.
    """

    container: Container
    codecs: Mapping[str, type[Codec]] = field(default_factory=lambda: CODECS, repr=False)

    @classmethod
    def open(
        cls,
        path: str | Path,
        *,
        verify: bool = True,
        codecs: Mapping[str, type[Codec]] | None = None,
    ) -> Bundle:
        """Open a bundle.

        Args:
            path: the file.
            verify: whether to check its contents against their digests.
            codecs: the codecs that ``model`` may need, core's by default; ``Host.codecs`` has
                the installed ones.

        Raises:
            BundleError: not a bundle, damaged, or of a newer format.
        """
        container = Container(path)
        container.expect("bundle", FORMAT, _OLDEST)
        if verify:
            container.verify()
        bundle = cls(container, CODECS if codecs is None else codecs)
        guarded(container, bundle._check)
        return bundle

    def _check(self) -> None:
        """Check everything but the payload, which its runtime checks."""
        check_manifest(Fields(self.manifest))
        n = len(self.items)
        rows = self.popular
        if rows.dtype != np.int32 or rows.ndim != 1 or len(rows) > n:
            raise BundleError(f"popular: expected int32[≤{n}], got {rows.dtype}{list(rows.shape)}")
        if rows.size and not 0 <= rows.min() <= rows.max() < n:
            raise BundleError("popular: a row is outside the catalogue")
        for part in self.payload:
            check_part(part)
            if part == DESCRIPTION:
                raise BundleError(f"payload part {part!r} has the name of the description")
        if inside := {*self.payload} & {p for part in self.payload for p in folders_of(part)}:
            raise BundleError(f"payload part {min(inside)!r} is also the folder of another")

    def close(self) -> None:
        """Close the file."""
        self.__dict__.pop("_catalogue", None)  # which is part of the mapped file
        self.container.close()

    @property
    def path(self) -> Path:
        """The path of the file."""
        return self.container.path

    @property
    def nbytes(self) -> int:
        """Size of the file in bytes."""
        return self.container.size

    @property
    def manifest(self) -> dict[str, Any]:
        """Everything that the bundle says about itself."""
        return self.container.meta

    @functools.cached_property
    def _catalogue(self) -> tuple[Items, Items | None]:
        return read_catalogue(self.container)

    @property
    def items(self) -> Items:
        """The catalogue."""
        return self._catalogue[0]

    @property
    def past(self) -> Items:
        """The items of histories, which are those of the catalogue in most bundles."""
        items, past = self._catalogue
        return items if past is None else past

    @functools.cached_property
    def signature(self) -> Signature:
        """The shape of the artefact's call."""
        meta = self.manifest
        length, top_k = int(meta["history_length"]), int(meta["top_k"])
        version, inputs = int(meta.get("signature", 1)), read_inputs(Fields(meta))
        return Signature(len(self.items), length, top_k, version, inputs)

    @property
    def popular(self) -> NDArray[np.int32]:
        """Rows recommended for an empty history, most popular first."""
        return self.container.array("popular")

    @property
    def payload(self) -> list[str]:
        """Names of the payload's parts."""
        return [
            n.removeprefix("payload/") for n in self.container.names if n.startswith("payload/")
        ]

    @property
    def _vectors(self) -> dict[str, Any]:
        """The test vectors as JSON values."""
        names = [name for name in self.container.names if name.startswith("vectors/")]
        return {n.removeprefix("vectors/"): self.container.array(n).tolist() for n in names}

    def model(self) -> DeviceModel:
        """Read the model from a payload that ``model_payload`` made.

        Its arrays stay in the memory-mapped file.

        Raises:
            BundleError: the payload is something else, contradicts the manifest, or the codec of
                a table is unknown.
        """
        model = read_payload_model(self.container, *self._catalogue, self.codecs)
        if dict(model.inputs) != dict(self.signature.inputs) and self.signature.version > 1:
            raise BundleError(
                f"{self.path}: inputs: the manifest has {dict(self.signature.inputs)}, its payload "
                f"{model.inputs}; the file is damaged"
            )
        for name in ("history_length", "normalization", "recency", "repeats", "drop_seen"):
            if name in self.manifest and getattr(model, name) != self.manifest[name]:
                raise BundleError(
                    f"{self.path}: {name}: the manifest has {self.manifest[name]!r}, its payload "
                    f"{getattr(model, name)!r}; the file is damaged"
                )
        return model

    def offset(self, part: str) -> int:
        """The offset of a payload part in the file, for a runtime that maps the file itself."""
        return self.container.offset(f"payload/{part}")

    def nbytes_of(self, part: str) -> int:
        """The size of a payload part in bytes."""
        return self.container.nbytes(f"payload/{part}")

    def unpack(self, folder: str | Path) -> None:
        """Write what an app with its own runtime needs: each payload part, and ``edgerec.json``.

        That file has ids and titles by row, the ids of past items that are others, the popular
        rows, the test vectors, and how to read a history (``docs/format.md``).

        Raises:
            FileExistsError: the folder exists.
        """
        Path(folder).mkdir(parents=True)
        content = {name: self.manifest.get(name) for name in _READING} | {
            "ids": list(self.items.ids),
            "titles": None if self.items.titles is None else list(self.items.titles),
            "past_ids": None if self.past is self.items else list(self.past.ids),
            "popular": self.popular.tolist(),
            "context": None if self.context is None else self.context.to_json(),
            "vectors": self._vectors,
        }
        write_text(Path(folder) / DESCRIPTION, json.dumps(content, ensure_ascii=False) + "\n")
        for part in self.payload:
            path = Path(folder) / part
            path.parent.mkdir(parents=True, exist_ok=True)
            self.extract(part, path)

    def read(self, part: str) -> bytes:
        """Read the bytes of a payload part."""
        return self.container.read(f"payload/{part}")

    def extract(self, part: str, path: str | Path) -> None:
        """Copy a payload part to a file of its own, for a runtime that maps files."""
        self.container.extract(f"payload/{part}", path)

    def array(self, part: str) -> NDArray[Any]:
        """A payload part as a read-only array in the memory-mapped file."""
        return self.container.array(f"payload/{part}")


def target_of(path: str | Path) -> str:
    """The name of a bundle's target, without mapping anything else.

    Raises:
        BundleError: not a bundle, or of a newer format.
    """
    container = Container(path)
    container.expect("bundle", FORMAT, _OLDEST)
    return guarded(container, lambda: Fields(container.meta).text("target"))
