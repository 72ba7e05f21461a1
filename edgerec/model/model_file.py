"""Model files: write a DeviceModel to the sections of a container and read it back, bit for bit."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from edgerec.errors import BundleError, CodecError, EdgerecError
from edgerec.files.container import Container
from edgerec.files.container_writer import write_container
from edgerec.files.fields import Fields
from edgerec.files.header import strict_json
from edgerec.model.attribution import attribute_errors
from edgerec.model.blocks import Blocks
from edgerec.model.codecs import Codec
from edgerec.model.device_model import MAX_EXPONENT, MAX_HISTORY, DeviceModel
from edgerec.model.head import Head, head_values
from edgerec.model.items import Items, Strings
from edgerec.model.ops import Op
from edgerec.model.options import from_options
from edgerec.model.table import Table

__all__ = [
    "Sections",
    "catalogue_sections",
    "guarded",
    "items_sections",
    "model_payload",
    "read_catalogue",
    "read_items",
    "read_model_file",
    "read_payload_model",
    "read_strings",
    "save_model",
]

#: Contents of a container by section name.
Sections = dict[str, bytes | NDArray[Any]]
T = TypeVar("T")

#: The version of the model files that this edgerec writes and reads.
_FORMAT = 1

#: How many numbers are checked at a time.
_PIECE = 2**18


def save_model(model: DeviceModel, path: str | Path) -> int:
    """Write a model to one file, atomically; return its size in bytes."""
    sections = catalogue_sections(model) | {"popular": model.popular} | _model_sections(model)
    return write_container(path, "model", {"format": _FORMAT} | _model_meta(model), sections)


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
    container.expect("model", _FORMAT)
    if verify:
        container.verify()
    return guarded(
        container,
        lambda: _read_model(container, Fields(container.meta), *read_catalogue(container), codecs),
    )


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
        "head": head_values(model.head),
        "history_length": model.history_length,
        "normalization": model.normalization,
        "recency": model.recency,
        "repeats": model.repeats,
        "drop_seen": model.drop_seen,
        "weighted": model.weighted,
        "context_width": model.context_width,
        "metadata": dict(model.metadata),
    }


def _model_sections(model: DeviceModel) -> Sections:
    """The arrays of a model except the catalogue, by section name."""
    sections: Sections = {}
    for name, table in model.tables.items():
        sections |= {f"table/{name}/{key}": array for key, array in table.arrays.items()}
    sections |= {f"constant/{name}": constant for name, constant in model.constants.items()}
    return sections


def catalogue_sections(model: DeviceModel) -> Sections:
    """The arrays of the catalogue and, if they are others, of past items, by section name."""
    past = {} if model.past is None else items_sections(model.past, "past")
    return items_sections(model.items) | past


def items_sections(items: Items, prefix: str = "items") -> Sections:
    """The arrays of a catalogue, by section name."""
    sections: Sections = {}
    for name, strings in (("ids", items.ids), ("titles", items.titles)):
        if strings is not None:
            sections[f"{prefix}/{name}/offsets"] = strings.offsets
            sections[f"{prefix}/{name}/utf8"] = strings.utf8
    if items.order is not None:
        sections[f"{prefix}/order"] = items.order
    return sections


def read_items(container: Container, prefix: str = "items") -> Items:
    """Read a catalogue; its text stays in the memory-mapped file.

    Raises:
        BundleError: the sections are not a catalogue.
    """

    def read() -> Items:
        titles, order = f"{prefix}/titles", f"{prefix}/order"
        return Items(
            read_strings(container, f"{prefix}/ids"),
            read_strings(container, titles) if f"{titles}/utf8" in container else None,
            container.array(order) if order in container else None,
        )

    return guarded(container, read)


def read_catalogue(container: Container) -> tuple[Items, Items | None]:
    """Read the catalogue, and past items if they are others.

    Raises:
        BundleError: the sections are not a catalogue.
    """
    past = read_items(container, "past") if "past/ids/utf8" in container else None
    return read_items(container), past


def read_strings(container: Container, prefix: str) -> Strings:
    """Read strings from the sections ``prefix/offsets`` and ``prefix/utf8``.

    Raises:
        EdgerecError: the sections are not strings.
    """
    return Strings(container.array(f"{prefix}/offsets"), container.array(f"{prefix}/utf8"))


def model_payload(model: DeviceModel) -> Sections:
    """A whole model as a target's payload: its arrays unchanged, and a description of them."""
    return {"model.json": json.dumps(_model_meta(model)).encode("utf-8")} | _model_sections(model)


def read_payload_model(
    container: Container, items: Items, past: Items | None, codecs: Mapping[str, type[Codec]]
) -> DeviceModel:
    """Read back what ``model_payload`` wrote into a bundle.

    Raises:
        BundleError: the payload is not a model, or a codec is unknown.
    """
    if "payload/model.json" not in container:
        raise BundleError(f"{container.path}: its payload is not a model but what a runtime reads")

    def read() -> DeviceModel:
        try:
            meta = strict_json(container.read("payload/model.json"))
        except ValueError as error:
            raise BundleError(f"model.json: {error}") from None
        return _read_model(container, Fields(meta, "model.json"), items, past, codecs, "payload/")

    return guarded(container, read)


def _read_model(
    container: Container,
    meta: Fields,
    items: Items,
    past: Items | None,
    codecs: Mapping[str, type[Codec]],
    prefix: str = "",
) -> DeviceModel:
    """Read a model from a container; its arrays stay in the memory-mapped file.

    Raises:
        EdgerecError: the sections and ``meta`` are not a model, or a codec is unknown.
    """
    tables, head = meta.fields("tables"), meta.fields("head")
    kind: Any = head.text("kind")  # the head checks it
    return DeviceModel(
        items=items,
        tables={
            name: _read_table(container, f"{prefix}table/{name}", tables.fields(name), codecs)
            for name in tables
        },
        constants={
            name: _finite(container.array(f"{prefix}constant/{name}"), f"constant {name!r}")
            for name in meta.texts("constants")
        },
        encoder=tuple(_read_op(entry) for entry in meta.array("encoder")),
        head=Head(head.text("table"), kind, Blocks.read_from(head.values.get("blocks"))),
        history_length=meta.integer("history_length", 1, MAX_HISTORY),
        normalization=meta.number("normalization", -MAX_EXPONENT, MAX_EXPONENT),
        recency=meta.number("recency", -MAX_EXPONENT, MAX_EXPONENT),
        # The model checks these. Files of an earlier version have none of them.
        repeats=meta.values.get("repeats", "merge"),
        drop_seen=meta.values.get("drop_seen", True),
        weighted=meta.values.get("weighted", False),
        context_width=meta.values.get("context_width", 0),
        past=past,
        popular=container.array("popular"),
        metadata=meta.fields("metadata").values,
    )


def _read_table(
    container: Container, prefix: str, entry: Fields, codecs: Mapping[str, type[Codec]]
) -> Table:
    name = entry.text("codec")
    if name not in codecs:
        raise CodecError(
            f"{prefix.rpartition('table/')[2]!r} has codec {name!r}, which is not installed; "
            f"known: {', '.join(sorted(codecs))}"
        )
    shape = entry.array("shape")
    if len(shape) != 2 or not all(type(n) is int and 0 < n < 2**31 for n in shape):
        raise BundleError(f"{entry.where}.shape: expected two positive integers, got {shape!r:.60}")
    arrays = {key: container.array(f"{prefix}/{key}") for key in entry.texts("arrays")}
    for key, array in arrays.items():
        _finite(array, f"{entry.where}: {key}")
    with attribute_errors(f"codec {name}", CodecError):
        options = entry.fields("options").values
        codec = from_options(codecs[name], options, f"codec {name}", {Codec: codecs})
        return Table(codec, (shape[0], shape[1]), arrays)


def _read_op(entry: object) -> Op:
    match entry:
        case [str() as kind, [*inputs], str() as output, dict() as attributes]:
            names = tuple(name for name in inputs if isinstance(name, str))
            if len(names) == len(inputs):
                return Op(kind, names, output, attributes)
    raise BundleError("encoder: expected entries [kind, inputs, output, attributes]")


def _finite(array: NDArray[Any], what: str) -> NDArray[Any]:
    """Check that an array from a file has no NaN and no infinity.

    Raises:
        BundleError: it has.
    """
    if array.dtype.kind == "f":
        flat = array.reshape(-1)
        for start in range(0, len(flat), _PIECE):
            if not np.isfinite(flat[start : start + _PIECE]).all():
                raise BundleError(f"{what}: contains NaN or infinity")
    return array


def guarded(container: Container, read: Callable[[], T]) -> T:
    """Call ``read``, which checks a container's contents; name the file in what it raises.

    Raises:
        BundleError: the contents are not what they should be.
    """
    try:
        return read()
    except EdgerecError as error:
        if str(error).startswith(str(container.path)):
            raise
        raise BundleError(f"{container.path}: {error}; the file is damaged") from error
