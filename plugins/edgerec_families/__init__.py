"""The GNN families that edgerec brings. Each has a file of its own, with its equations."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, ClassVar

from edgerec.plugin import Family, OptionError, hookimpl

#: The plugin API version that this plugin was written for.
edgerec_api = 2


@dataclass(frozen=True)
class HistoryGCN(Family):
    """LightGCN adapted to histories, with learned weights in place of degrees."""

    name: ClassVar[str] = "historygcn"
    tied: bool = field(
        default=True, metadata={"help": "share one table for past and candidate rows"}
    )

    def make(self, n_users: int, n_items: int, dim: int) -> Any:
        """Make an untrained network."""
        from edgerec_families import historygcn

        return historygcn.HistoryGCN(n_users, n_items, dim, self.tied)


@dataclass(frozen=True)
class LightGCN(Family):
    """Linear propagation and nothing else."""

    name: ClassVar[str] = "lightgcn"
    layers: int = field(default=1, metadata={"help": "rounds of message passing"})
    user_embedding: bool = field(
        default=False, metadata={"help": "train a vector per user, in addition to the history"}
    )

    def __post_init__(self) -> None:
        _check_layers(self.name, self.layers)

    def make(self, n_users: int, n_items: int, dim: int) -> Any:
        """Make an untrained network."""
        from edgerec_families import lightgcn

        return lightgcn.LightGCN(n_users, n_items, dim, self.layers, self.user_embedding)


@dataclass(frozen=True)
class GraphSAGE(Family):
    """The mean of the neighbors, then a dense layer."""

    name: ClassVar[str] = "graphsage"
    layers: int = field(default=2, metadata={"help": "rounds of message passing"})

    def __post_init__(self) -> None:
        _check_layers(self.name, self.layers)

    def make(self, n_users: int, n_items: int, dim: int) -> Any:
        """Make an untrained network."""
        from edgerec_families import graphsage

        return graphsage.GraphSAGE(n_users, n_items, dim, self.layers)


@dataclass(frozen=True)
class NGCF(Family):
    """Neighbors that agree with a node weigh more."""

    name: ClassVar[str] = "ngcf"
    layers: int = field(default=2, metadata={"help": "rounds of message passing"})

    def __post_init__(self) -> None:
        _check_layers(self.name, self.layers)

    def make(self, n_users: int, n_items: int, dim: int) -> Any:
        """Make an untrained network."""
        from edgerec_families import ngcf

        return ngcf.NGCF(n_users, n_items, dim, self.layers)


@dataclass(frozen=True)
class GAT(Family):
    """Each neighbor has a weight of its own."""

    name: ClassVar[str] = "gat"
    layers: int = field(default=1, metadata={"help": "rounds from items to users and back"})
    heads: int = field(default=4, metadata={"help": "attention heads, a divisor of the width"})

    def __post_init__(self) -> None:
        _check_layers(self.name, self.layers)
        if self.heads < 1:
            raise OptionError(f"{self.name}.heads: expected a positive integer, got {self.heads}")

    def make(self, n_users: int, n_items: int, dim: int) -> Any:
        """Make an untrained network."""
        from edgerec_families import gat

        self._check_width(dim)
        return gat.GAT(n_users, n_items, dim, self.layers, self.heads)

    def _check_width(self, dim: int) -> None:
        if dim % self.heads:
            raise OptionError(
                f"{self.name}.heads: expected a divisor of dim = {dim}, got {self.heads}"
            )


@dataclass(frozen=True)
class PinSage(Family):
    """Items that random walks visit most are neighbors, and count by their visits."""

    name: ClassVar[str] = "pinsage"
    layers: int = field(default=1, metadata={"help": "rounds of importance pooling"})
    neighbors: int = field(default=10, metadata={"help": "neighbors per item"})

    def __post_init__(self) -> None:
        _check_layers(self.name, self.layers)
        if self.neighbors < 1:
            raise OptionError(
                f"pinsage.neighbors: expected a positive integer, got {self.neighbors}"
            )

    def make(self, n_users: int, n_items: int, dim: int) -> Any:
        """Make an untrained network."""
        from edgerec_families import pinsage

        return pinsage.PinSage(n_users, n_items, dim, self.layers, self.neighbors)


@dataclass(frozen=True)
class Knowledge(GAT):
    """GAT over items that facts describe; for data with triples."""

    name: ClassVar[str] = "knowledge"

    def make(self, n_users: int, n_items: int, dim: int) -> Any:
        """Make an untrained network."""
        from edgerec_families import knowledge

        self._check_width(dim)
        return knowledge.Knowledge(n_users, n_items, dim, self.layers, self.heads)


@dataclass(frozen=True)
class Social(Family):
    """LightGCN, and what a user's friends like; for data with friends."""

    name: ClassVar[str] = "social"
    layers: int = field(default=1, metadata={"help": "rounds of message passing"})
    weight: float = field(default=0.3, metadata={"help": "how much friends count"})

    def __post_init__(self) -> None:
        _check_layers(self.name, self.layers)
        if not 0 < self.weight < math.inf:
            raise OptionError(f"social.weight: expected a positive number, got {self.weight}")

    def make(self, n_users: int, n_items: int, dim: int) -> Any:
        """Make an untrained network."""
        from edgerec_families import social

        return social.Social(n_users, n_items, dim, self.layers, self.weight)


def _check_layers(family: str, layers: int) -> None:
    if layers < 1:
        raise OptionError(f"{family}.layers: expected a positive integer, got {layers}")


@hookimpl
def edgerec_families() -> list[type[Family]]:
    """Provide the families of edgerec."""
    return [HistoryGCN, LightGCN, GraphSAGE, NGCF, GAT, PinSage, Knowledge, Social]
