"""Dataset files: save a prepared dataset with its split, and load it again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from edgerec.data.dataset import Dataset
from edgerec.data.features import Features
from edgerec.data.interactions import DETAILS, Interactions
from edgerec.errors import BundleError, DataError
from edgerec.files.container import Container
from edgerec.files.container_writer import write_container
from edgerec.files.fields import Fields
from edgerec.model.history import read_event_weights
from edgerec.model.items import Items, Strings
from edgerec.model.model_file import guarded, items_sections, read_items, read_strings

__all__ = ["load_dataset", "save_dataset"]

#: The version of the dataset files that this edgerec writes and reads.
_FORMAT = 2


def save_dataset(dataset: Dataset, path: str | Path) -> int:
    """Write a dataset to one file, atomically; return its size in bytes."""
    users = Strings.of(dataset.users)
    sections: dict[str, bytes | NDArray[Any]] = items_sections(dataset.items)
    sections |= {"users/offsets": users.offsets, "users/utf8": users.utf8}
    for name, part in (("train", dataset.train), ("valid", dataset.valid), ("test", dataset.test)):
        if part is None:
            continue
        sections |= {f"{name}/indptr": part.indptr, f"{name}/items": part.items}
        sections |= {f"{name}/{detail}": values for detail, values in part.details().items()}
    for name in ("triples", "friends"):
        if (edges := getattr(dataset, name)) is not None:
            sections[name] = edges
    meta: dict[str, Any] = {"format": _FORMAT, "name": dataset.name, "notes": dict(dataset.notes)}
    if dataset.events:
        meta["events"] = list(dataset.events)
    if dataset.event_weights:
        meta["event_weights"] = dict(dataset.event_weights)
    if dataset.item_features is not None:
        sections |= dataset.item_features.sections()
        meta["features"] = dataset.item_features.kinds
    if dataset.user_vectors is not None:
        sections["user_vectors"] = dataset.user_vectors
    if dataset.user_features is not None:
        sections |= dataset.user_features.sections("user_features")
        meta["user_features"] = dataset.user_features.kinds
    return write_container(path, "dataset", meta, sections)


def load_dataset(path: str | Path) -> Dataset:
    """Read a dataset that ``save_dataset`` wrote.

    Raises:
        DataError: the file is damaged, or not a dataset.
    """
    try:
        container = Container(path)
        container.expect("dataset", _FORMAT)
        container.verify()
        return guarded(container, lambda: _read(container))
    except BundleError as error:
        raise DataError(str(error)) from None


def _read(container: Container) -> Dataset:
    meta = Fields(container.meta)
    notes = meta.fields("notes")

    def part(name: str) -> Interactions:
        return Interactions(
            container.array(f"{name}/indptr"),
            container.array(f"{name}/items"),
            **{
                detail: container.array(f"{name}/{detail}")
                for detail in DETAILS
                if f"{name}/{detail}" in container
            },
        )

    items, users = read_items(container), read_strings(container, "users")
    return Dataset(
        meta.text("name"),
        users,
        items,
        part("train"),
        part("valid") if "valid/items" in container else None,
        part("test") if "test/items" in container else None,
        {what: notes.integer(what, 0, 2**63) for what in notes},
        meta.texts("events") if "events" in meta else (),
        read_event_weights(meta),
        **{
            name: container.array(name)
            for name in ("triples", "friends", "user_vectors")
            if name in container
        },
        item_features=Features.read(container, meta, items) if "features" in meta else None,
        user_features=(
            Features.read(container, meta, Items(users), "user_features")
            if "user_features" in meta
            else None
        ),
    )
