"""GNN files: the state of a trained network and how it was made, in a container, without pickle."""

from __future__ import annotations

import dataclasses
import hashlib
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from edgerec.contracts.family import Family
from edgerec.data.contexts import lasting_of, user_columns
from edgerec.data.dataset import Dataset
from edgerec.data.features import (
    TITLES,
    choose_columns,
    read_context_names,
    read_feature_names,
)
from edgerec.errors import BundleError, ModelError
from edgerec.files.container import Container
from edgerec.files.container_writer import write_container
from edgerec.files.fields import Fields
from edgerec.model.model_file import guarded, items_sections
from edgerec.model.options import from_options
from edgerec.training.gnn import GNN
from edgerec.training.options import TrainOptions

__all__ = ["GNNFile", "digest_of", "family_options", "write_gnn"]

#: The version of the files that this edgerec writes and reads.
_FORMAT = 1

#: Parts that had another name in files of an earlier version.
_RENAMED = {"state/text.words": "state/item_features.parts.0.matrix"}


def write_gnn(
    path: str | Path, gnn: GNN, family: Family, options: TrainOptions, dataset: Dataset
) -> int:
    """Write a GNN to one file, atomically; return its size in bytes."""
    meta = {
        "format": _FORMAT,
        "dataset": digest_of(dataset, options.features, options.context),
        "family": family.name,
        "family_options": family_options(family),
        "options": dataclasses.asdict(options),
        "popularity": gnn.popularity,
    }
    state = gnn.state_dict()
    sections = {f"state/{name}": value.cpu().numpy() for name, value in state.items()}
    return write_container(path, "gnn", meta, sections)


@dataclass(frozen=True)
class GNNFile:
    """A file that ``write_gnn`` wrote, open and checked.

    Args:
        container: the file.
        dataset: the digest of the dataset.
        family: the name of the family.
        family_options: all of its options.
        options: the options of training.
        popularity: γ, with what ``tilt`` added; none if the rows keep their own length.
    """

    container: Container
    dataset: str
    family: str
    family_options: Mapping[str, Any]
    options: TrainOptions
    popularity: float | None

    @classmethod
    def open(cls, path: str | Path) -> GNNFile:
        """Open a file.

        Raises:
            BundleError: it is damaged, or not a saved GNN.
        """
        container = Container(path)
        container.expect("gnn", _FORMAT)
        container.verify()
        return guarded(container, lambda: cls._read(container))

    @classmethod
    def _read(cls, container: Container) -> GNNFile:
        meta, most = Fields(container.meta), sys.float_info.max
        options = _read_options(meta.fields("options").values)
        shape = list(container.array("state/items").shape)
        # A network of this width is made next, so it has to be that of the file.
        if shape[-1] != options.dim:
            raise BundleError(f"items: expected a width of {options.dim}, got shape {shape}")
        has_none = meta.values.get("popularity", 0) is None
        return cls(
            container,
            meta.text("dataset"),
            meta.text("family"),
            meta.fields("family_options").values,
            options,
            None if has_none else meta.number("popularity", -most, most),
        )

    def restore(self, gnn: GNN) -> None:
        """Give a network the state in the file.

        Raises:
            ModelError: the network has other parts.
        """
        names = {n: _RENAMED.get(n, n).removeprefix("state/") for n in self.container.names}
        arrays = {name: self.container.array(n) for n, name in names.items()}
        state = gnn.state_dict()
        found = {name: array.shape for name, array in arrays.items()}
        expected = {name: tuple(value.shape) or (1,) for name, value in state.items()}
        every = found.keys() | expected.keys()
        if other := sorted(name for name in every if found.get(name) != expected.get(name)):
            raise ModelError(
                f"{self.container.path}: the family {self.family} now makes another network than "
                f"the one in this file (it differs in {', '.join(other)}); install the version "
                "that it was trained with, or train again"
            )
        with torch.no_grad():
            for name, value in state.items():
                value.copy_(torch.from_numpy(arrays[name].copy()).reshape(value.shape))
        gnn.popularity = self.popularity


def family_options(family: Family) -> dict[str, Any]:
    """All options of a family, as JSON values."""
    values = {f.name: getattr(family, f.name) for f in dataclasses.fields(family)}  # type: ignore[arg-type]  # every subclass is a dataclass
    return {name: list(v) if isinstance(v, tuple) else v for name, v in values.items()}


def digest_of(dataset: Dataset, features: str | None = None, context: str | None = None) -> str:
    """A digest of the catalogue, with its titles, of training interactions and side edges.

    ``features`` and ``context`` name those of items and users that were trained on, which count
    as well.
    """
    train, digest = dataset.train, hashlib.sha256()
    weights = () if train.weights is None else (train.weights,)
    for part in (*items_sections(dataset.items).values(), train.indptr, train.items, *weights):
        digest.update(np.ascontiguousarray(part).tobytes())
    for name in ("triples", "friends"):
        if (edges := getattr(dataset, name)) is not None:
            digest.update(name.encode() + edges.tobytes())
    named = [name for name in read_feature_names(features) if name != TITLES]
    columns = choose_columns(dataset.items, dataset.item_features, named)
    of_users = read_context_names(context)
    lasting = lasting_of(dataset, of_users)
    if len(lasting) < len(of_users) and train.timestamps is not None:
        digest.update(train.timestamps.tobytes())
    # An item and a user may have features of the same name.
    for name, column in (*columns.items(), *user_columns(dataset, lasting).items()):
        digest.update(f"{name}\0{column.kind}".encode())
        for array in column.sections().values():
            digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _read_options(values: Mapping[str, Any]) -> TrainOptions:
    """Read options as they were given: an integer stays one, so that metadata are the same."""
    checked = dataclasses.asdict(from_options(TrainOptions, values, "options"))
    given = {name: values.get(name, value) for name, value in checked.items()}
    return TrainOptions(**{k: given[k] if given[k] == v else v for k, v in checked.items()})
