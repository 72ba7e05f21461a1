"""Trained: a GNN after training, which is lowered to a DeviceModel, saved and loaded."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from edgerec.contracts.family import Family
from edgerec.contracts.host import Host
from edgerec.data.dataset import Dataset
from edgerec.errors import ModelError, OptionError, UnknownNameError
from edgerec.model.attribution import attribute_errors
from edgerec.model.codecs import F32, Fp32
from edgerec.model.device_model import DeviceModel, Head
from edgerec.model.options import format_spec
from edgerec.model.table import Table
from edgerec.training.gnn import GNN, Lowered
from edgerec.training.gnn_file import GNNFile, digest_of, family_options, write_gnn
from edgerec.training.graph import Graph
from edgerec.training.item_features import add_features
from edgerec.training.lowered import check_lowered
from edgerec.training.options import TrainOptions
from edgerec.training.user_context import add_context, with_context

__all__ = ["Trained", "load_trained", "make_gnn", "untrained"]


@dataclass(frozen=True)
class Trained:
    """A trained GNN, with the graph that it was trained on.

    Args:
        gnn: the network.
        graph: the training interactions as a graph.
        dataset: the dataset.
        options: the options of training.
        family: what made the network.
    """

    gnn: GNN
    graph: Graph
    dataset: Dataset
    options: TrainOptions
    family: Family

    @property
    def user_vectors(self) -> F32 | None:
        """float32[U, d], the trained vectors of users; none for a model of histories alone."""
        users = self.gnn.users
        return None if users is None else users.numpy(force=True)

    def to_device_model(self) -> DeviceModel:
        """Compile the graph away, into item tables and an encoder of histories.

        Raises:
            ModelError: what the family lowers computes something else than the family.
        """
        self.gnn.eval()
        with torch.no_grad(), attribute_errors(f"family {self.family.name}", ModelError):
            lowered: Any = self.gnn.lower(self.graph)
        if not isinstance(lowered, Lowered):
            raise ModelError(
                f"family {self.family.name}: lower: expected an edgerec.learn.Lowered, got "
                f"{type(lowered).__name__}"
            )
        model = DeviceModel(
            items=self.dataset.items,
            tables={name: Table.encode(a, Fp32()) for name, a in lowered.tables.items()},
            encoder=lowered.encoder,
            head=Head(lowered.candidates),
            history_length=self.options.history_length,
            constants=lowered.constants,
            normalization=self.gnn.normalization,
            recency=self.options.recency,
            weighted=self.dataset.train.weights is not None,
            popular=self.dataset.popular,
            metadata={
                "dataset": self.dataset.name,
                "trained_on": self.dataset.train.digest,
                "training": dataclasses.asdict(self.options),
            }
            | ({"event_weights": dict(weights)} if (weights := self.dataset.event_weights) else {}),
        )
        with attribute_errors(f"family {self.family.name}", ModelError):
            check_lowered(self.gnn, self.graph, self.dataset.train, model)
            return with_context(model, self.gnn)

    def save(self, path: str | Path) -> int:
        """Write the GNN to one file, atomically; return its size in bytes.

        The file does not contain the dataset, which ``load_trained`` is given again.
        """
        return write_gnn(path, self.gnn, self.family, self.options, self.dataset)


def load_trained(
    path: str | Path,
    dataset: Dataset,
    *,
    model: Family | None = None,
    host: Host | None = None,
) -> Trained:
    """Read a GNN that ``Trained.save`` wrote.

    Args:
        path: the file.
        dataset: the dataset that it was trained on.
        model: the family that made it, if no plugin provides that.
        host: the plugins to choose the family from; the installed ones by default.

    Raises:
        BundleError: the file is damaged, or not a saved GNN.
        OptionError: it was trained on another dataset, or is of another family than ``model``.
        UnknownNameError: no plugin provides its family.
        ModelError: its family now makes another network.
    """
    file = GNNFile.open(path)
    if file.dataset != digest_of(dataset, file.options.features, file.options.context):
        raise OptionError(
            f"{path}: was trained on other interactions, items or features than those of "
            f"{dataset.name}; "
            "pass the dataset that it was trained on"
        )
    family = model
    try:
        if family is None:
            family = (host or Host.installed()).family(file.family, **file.family_options)
    except UnknownNameError as error:
        error.args = (f"{path}: {error}; install the plugin that provides it",)
        raise
    if family.name != file.family or family_options(family) != file.family_options:
        raise OptionError(
            f"{path}: was trained with the family {file.family} and its options "
            f"{dict(file.family_options)}, not with {format_spec(family)}; pass that family"
        )
    trained = untrained(family, file.options, dataset)
    file.restore(trained.gnn)
    return trained


def untrained(family: Family, options: TrainOptions, dataset: Dataset) -> Trained:
    """An untrained network, made without touching the state of torch's random numbers."""
    graph = Graph(dataset.train, len(dataset.items))
    with torch.random.fork_rng(devices=[]):
        gnn = make_gnn(family, graph, options, dataset)
    return Trained(gnn, graph, dataset, options, family)


def make_gnn(family: Family, graph: Graph, options: TrainOptions, dataset: Dataset) -> GNN:
    """Make the untrained network of a family, with the features that are asked for.

    Raises:
        ModelError: the family failed, or returned something else.
        OptionError: the data set has no such features.
    """
    who = f"family {family.name}"
    with attribute_errors(who, ModelError):
        gnn: Any = family.make(graph.n_users, graph.n_items, options.dim)
    if not isinstance(gnn, GNN):
        raise ModelError(f"{who}: make: expected an edgerec.learn.GNN, got {type(gnn).__name__}")
    if tuple(gnn.items.shape) != (graph.n_items, options.dim):
        raise ModelError(
            f"{who}: make: expected items of shape [{graph.n_items}, {options.dim}], got "
            f"{list(gnn.items.shape)}"
        )
    with attribute_errors(who, ModelError):
        gnn.attach(dataset)
    if options.features:
        add_features(gnn, dataset, options.features)
    if options.context:
        with attribute_errors(who, ModelError):
            add_context(gnn, graph, dataset, options)
    return gnn
