"""Model files: write a DeviceModel to the sections of a container and read it back, bit for bit."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from edgerec.errors import BundleError, EdgerecError
from edgerec.files.container import Container, write_container
from edgerec.model.codecs import Codec
from edgerec.model.device_model import DeviceModel, Head
from edgerec.model.items import Items, Strings
from edgerec.model.ops import Op
from edgerec.model.table import Table

__all__ = [
    "Sections",
    "guarded",
    "items_sections",
    "model_payload",
    "read_items",
    "read_model_file",
    "read_payload_model",
    "save_model",
]

#: Contents of a container by section name.
Sections = dict[str, bytes | NDArray[Any]]
T = TypeVar("T")


def save_model(model: DeviceModel, path: str | Path) -> int:
    """Write a model to one file, atomically; return its size in bytes."""
    sections = items_sections(model.items) | {"popular": model.popular} | _model_sections(model)
    return write_container(path, "model", _model_meta(model), sections)


def read_model_file(
    path: str | Path, codecs: Mapping[str, type[Codec]], *, verify: bool = True
) -> DeviceModel:
    """Read a model that ``save_model`` wrote; its arrays stay in the memory-mapped file.

    Args:
        path: the file.
        codecs: the codecs that its tables may be encoded with, by name.
        verify: whether to check the contents against their digests.

    Raises:
        BundleError: the file is damaged, or not a saved model.
    """
    container = Container(path)
    if container.kind != "model":
        raise BundleError(f"{path}: expected a device model, got a {container.kind}")
    if verify:
        container.verify()
    return _read_model(container, container.meta, read_items(container), codecs)


def _model_meta(model: DeviceModel) -> dict[str, Any]:
    """Everything in a model that is not an array, as JSON values."""
    return {
        "tables": {
            name: {
                "codec": table.codec.name,
                "options": table.codec.options(),
                "shape": list(table.shape),
                "arrays": list(table.arrays),
            }
            for name, table in model.tables.items()
        },
        "constants": list(model.constants),
        "encoder": [
            [op.kind, list(op.inputs), op.output, dict(op.attributes)] for op in model.encoder
        ],
        "head": {"table": model.head.table, "kind": model.head.kind},
        "history_length": model.history_length,
        "normalization": model.normalization,
        "recency": model.recency,
        "metadata": dict(model.metadata),
    }


def _model_sections(model: DeviceModel) -> Sections:
    """The arrays of a model except the catalogue, by section name."""
    sections: Sections = {}
    for name, table in model.tables.items():
        sections |= {f"table/{name}/{key}": array for key, array in table.arrays.items()}
    sections |= {f"constant/{name}": constant for name, constant in model.constants.items()}
    return sections


def items_sections(items: Items) -> Sections:
    """The arrays of the catalogue, by section name."""
    sections: Sections = {}
    for name, strings in (("ids", items.ids), ("titles", items.titles)):
        if strings is not None:
            sections[f"items/{name}/offsets"] = strings.offsets
            sections[f"items/{name}/utf8"] = strings.utf8
    if items.order is not None:
        sections["items/order"] = items.order
    return sections


def read_items(container: Container) -> Items:
    """Read the catalogue; its text stays in the memory-mapped file.

    Raises:
        BundleError: the sections are not a catalogue.
    """

    def strings(name: str) -> Strings:
        return Strings(
            container.array(f"items/{name}/offsets"), container.array(f"items/{name}/utf8")
        )

    def read() -> Items:
        return Items(
            strings("ids"),
            strings("titles") if "items/titles/utf8" in container else None,
            container.array("items/order") if "items/order" in container else None,
        )

    return guarded(container, read)


def model_payload(model: DeviceModel) -> Sections:
    """A whole model as a target's payload: its arrays unchanged, and a description of them."""
    return {"model.json": json.dumps(_model_meta(model)).encode("utf-8")} | _model_sections(model)


def read_payload_model(
    container: Container, items: Items, codecs: Mapping[str, type[Codec]]
) -> DeviceModel:
    """Read back what ``model_payload`` wrote into a bundle.

    Raises:
        BundleError: the payload is not a model, or a codec is unknown.
    """
    meta = guarded(container, lambda: json.loads(container.read("payload/model.json")))
    return _read_model(container, meta, items, codecs, "payload/")


def _read_model(
    container: Container,
    meta: Mapping[str, Any],
    items: Items,
    codecs: Mapping[str, type[Codec]],
    prefix: str = "",
) -> DeviceModel:
    """Read a model from a container; its arrays stay in the memory-mapped file.

    Raises:
        BundleError: the sections and ``meta`` are not a model, or a codec is unknown.
    """

    def table(name: str, entry: Mapping[str, Any]) -> Table:
        if entry["codec"] not in codecs:
            known = ", ".join(sorted(codecs))
            raise BundleError(
                f"{container.path}: table {name!r} has codec {entry['codec']!r}, which is not "
                f"installed; known: {known}"
            )
        n, d = entry["shape"]
        arrays = {key: container.array(f"{prefix}table/{name}/{key}") for key in entry["arrays"]}
        return Table(codecs[entry["codec"]](**entry["options"]), (int(n), int(d)), arrays)

    def read() -> DeviceModel:
        return DeviceModel(
            items=items,
            tables={name: table(name, entry) for name, entry in meta["tables"].items()},
            constants={
                name: container.array(f"{prefix}constant/{name}") for name in meta["constants"]
            },
            encoder=tuple(
                Op(kind, tuple(inputs), output, attributes)
                for kind, inputs, output, attributes in meta["encoder"]
            ),
            head=Head(**meta["head"]),
            history_length=int(meta["history_length"]),
            normalization=float(meta["normalization"]),
            recency=float(meta["recency"]),
            popular=container.array("popular").astype(np.int32),
            metadata=meta["metadata"],
        )

    return guarded(container, read)


def guarded(container: Container, read: Callable[[], T]) -> T:
    """Turn whatever a hostile header makes ``read`` raise into a BundleError."""
    try:
        return read()
    except BundleError:
        raise
    except (EdgerecError, ArithmeticError, LookupError, TypeError, ValueError, AttributeError) as e:
        raise BundleError(f"{container.path}: {e or type(e).__name__}; the file is damaged") from e
