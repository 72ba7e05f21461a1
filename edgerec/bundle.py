"""Bundle: the one file that is deployed. Manifest, catalogue and a target's payload.

A bundle is a container (container.py) of kind ``bundle`` whose ``meta`` is the manifest
and whose sections are the catalogue (``items/…``), the rows recommended for an empty
history (``popular``) and what the target wrote (``payload/…``).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgerec.container import Container, write_container
from edgerec.device_model import DeviceModel
from edgerec.errors import BundleError
from edgerec.items import Items
from edgerec.store import guarded, items_sections, read_items, read_payload_model
from edgerec.target import Payload, Signature

__all__ = ["Bundle", "write_bundle"]

FORMAT = 1


def write_bundle(
    path: str | Path,
    model: DeviceModel,
    target: str,
    signature: Signature,
    payload: Payload,
    provenance: Mapping[str, Any],
) -> int:
    """Write a bundle atomically; return its size in bytes."""
    manifest = {
        "format": FORMAT,
        "target": target,
        "history_length": signature.history_length,
        "top_k": signature.top_k,
        "normalization": model.normalization,
        "recency": model.recency,
        "tables": {
            name: {"codec": table.codec.name, "shape": list(table.shape), "bytes": table.nbytes}
            for name, table in model.tables.items()
        },
        "head": {"table": model.head.table, "kind": model.head.kind},
        "metadata": dict(model.metadata),
        "provenance": dict(provenance),
    }
    for name in payload:
        _check_part(name, path)
    sections = items_sections(model.items) | {"popular": model.popular}
    sections |= {f"payload/{name}": content for name, content in payload.items()}
    return write_container(path, "bundle", manifest, sections)


@dataclass(frozen=True)
class Bundle:
    """A bundle, open for reading."""

    container: Container

    @classmethod
    def open(cls, path: str | Path, *, verify: bool = True) -> Bundle:
        """Open a bundle; its contents are checked against their digests unless told not to.

        Raises:
            BundleError: not a bundle, damaged, or of a newer format.
        """
        container = Container(path)
        if container.kind != "bundle":
            raise BundleError(f"{path}: expected a bundle, got a {container.kind}")
        if container.meta.get("format") != FORMAT:
            raise BundleError(
                f"{path}: bundle format {container.meta.get('format')!r}, this edgerec reads "
                f"format {FORMAT}; update edgerec"
            )
        if verify:
            container.verify()
        bundle = cls(container)
        guarded(container, bundle._check)
        return bundle

    def _check(self) -> None:
        signature, rows = self.signature, self.popular
        if signature.history_length < 1 or signature.top_k < 1:
            raise BundleError(f"{self.path}: history_length and top_k should be at least 1")
        if rows.dtype != np.int32 or (
            rows.size and not 0 <= rows.min() <= rows.max() < len(self.items)
        ):
            raise BundleError(f"{self.path}: popular rows are outside the catalogue")
        if not math.isfinite(self.normalization) or not math.isfinite(self.recency):
            raise BundleError(f"{self.path}: normalization and recency should be finite")
        for part in self.payload:
            _check_part(part, self.path)
        if not (isinstance(self.manifest["target"], str) and isinstance(self.codec, str)):
            raise BundleError(f"{self.path}: target and codec should be names")
        if not (isinstance(self.table_bytes, int) and self.table_bytes >= 0):
            raise BundleError(f"{self.path}: the table's bytes should be a number")

    @property
    def path(self) -> Path:
        """Where the file lies."""
        return self.container.path

    @property
    def nbytes(self) -> int:
        """Size of the file in bytes."""
        return self.container.size

    @property
    def manifest(self) -> dict[str, Any]:
        """Everything the bundle says of itself."""
        return self.container.meta

    @property
    def target(self) -> str:
        """Name of the target that can run the payload."""
        return str(self.manifest["target"])

    @property
    def codec(self) -> str:
        """Name of the candidate table's codec."""
        name: str = self._candidates["codec"]
        return name

    @property
    def table_bytes(self) -> int:
        """Bytes of the candidate table."""
        size: int = self._candidates["bytes"]
        return size

    @property
    def _candidates(self) -> Mapping[str, Any]:
        """What the manifest says of the candidate table."""
        table: Mapping[str, Any] = self.manifest["tables"][self.manifest["head"]["table"]]
        return table

    @property
    def normalization(self) -> float:
        """Each of n past items weighs ``n ** -normalization``."""
        return float(self.manifest["normalization"])

    @property
    def recency(self) -> float:
        """The j-th most recent past item weighs ``j ** -recency`` times that."""
        return float(self.manifest["recency"])

    @functools.cached_property
    def items(self) -> Items:
        """The catalogue."""
        return read_items(self.container)

    @property
    def signature(self) -> Signature:
        """The shape of the artefact's call."""
        meta = self.manifest
        return Signature(len(self.items), int(meta["history_length"]), int(meta["top_k"]))

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

    def model(self) -> DeviceModel:
        """Read a payload that ``model_payload`` made; arrays stay in the mapped file.

        Raises:
            BundleError: the payload is something else, or a codec is not installed.
        """
        from edgerec.host import host

        return read_payload_model(self.container, self.items, host().codecs)

    def offset(self, part: str) -> int:
        """Where a payload part starts in the file, for a runtime that maps it itself."""
        return self.container.offset(f"payload/{part}")

    def unpack(self, folder: str | Path) -> None:
        """Write each payload part to a file of its name, as apps on phones and in browsers take it.

        Raises:
            FileExistsError: the folder exists.
        """
        Path(folder).mkdir(parents=True)
        for part in self.payload:
            path = Path(folder) / part
            path.parent.mkdir(parents=True, exist_ok=True)
            self.extract(part, path)

    def read(self, part: str) -> bytes:
        """Copy a payload part's bytes."""
        return self.container.read(f"payload/{part}")

    def extract(self, part: str, path: str | Path) -> None:
        """Copy a payload part into a file of its own, for a runtime that maps files."""
        self.container.extract(f"payload/{part}", path)

    def array(self, part: str) -> NDArray[Any]:
        """A payload part as a read-only array in the mapped file."""
        return self.container.array(f"payload/{part}")


def _check_part(name: str, path: str | Path) -> None:
    """Refuse a payload part that as a file would lie outside its folder.

    Raises:
        BundleError: its name is absolute, or leads upwards or nowhere.
    """
    if {"", ".", ".."} & {*name.split("/")} or "\\" in name or ":" in name or "\0" in name:
        raise BundleError(f"{path}: payload part {name!r} is not a relative path of plain names")
