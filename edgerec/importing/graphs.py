"""What an import needs to know of a torch-geometric graph: its users, its items and its edges."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from edgerec.errors import ModelError

__all__ = ["Bipartite", "Heterogeneous", "graph_of"]


@dataclass(frozen=True)
class Bipartite:
    """A ``Data`` whose nodes are users and items.

    Args:
        data: the graph.
        users: int64[U], the nodes that are users.
        items: int64[n], those that are items.
    """

    data: Any
    users: Tensor
    items: Tensor

    @property
    def sizes(self) -> tuple[int, int]:
        """The numbers of users and of items."""
        return len(self.users), len(self.items)

    def split(self, states: Tensor) -> tuple[Tensor, Tensor]:
        """The states of users and those of items, of the states of all nodes."""
        return states[self.users], states[self.items]

    def pick(self, states: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """The states of users and those of items, by name."""
        raise ModelError("model: expected a tensor of the states of all nodes, got a mapping")

    def user_states(self) -> Tensor | None:
        """What users start with in the data, float[U, e]."""
        return None if self.data.x is None else self.data.x[self.users]

    def rows_of_users(self, name: str, rows: Tensor) -> Tensor | None:
        """Those rows of a matrix that belong to users; None if it has none."""
        if len(rows) == self.data.num_nodes:
            return rows[self.users]
        return _of_users(name, rows, self.sizes)

    def arguments(self, own: Mapping[str, Tensor] | None = None) -> dict[str, Any]:
        """What a model may read, by name: of all nodes, or of a user who starts with ``own``."""
        x = self.data.x if own is None else own.get("x")
        return {"x": x, "edge_index": self.data.edge_index}

    def edges(self) -> Tensor:
        """int64[2, E], the rows of an item and of the user that it sends to."""
        return self._to_users(self.data.edge_index)

    def sent(self, x: Any, edge_index: Tensor) -> Tensor | None:
        """The states of items that a convolution sends to users; None if it sends none."""
        states = x if isinstance(x, Tensor) else x[0]
        return states[self.items] if self._to_users(edge_index).shape[1] else None

    def degrees(self, edge_index: Tensor) -> Tensor:
        """How many edges end in each item, float32[n]."""
        return torch.bincount(edge_index[1], minlength=self.data.num_nodes)[self.items].float()

    def _to_users(self, edge_index: Tensor) -> Tensor:
        row = torch.full((self.data.num_nodes,), -1)
        item, user = row.clone(), row.clone()
        item[self.items] = torch.arange(len(self.items))
        user[self.users] = torch.arange(len(self.users))
        found = torch.stack([item[edge_index[0]], user[edge_index[1]]])
        return found[:, (found >= 0).all(0)]


@dataclass(frozen=True)
class Heterogeneous:
    """A ``HeteroData`` with users and items among its node types.

    Args:
        data: the graph.
        user: the node type of users.
        item: that of items.
        kind: the type of the edges from items to users.
    """

    data: Any
    user: str
    item: str
    kind: tuple[str, str, str]

    @property
    def sizes(self) -> tuple[int, int]:
        """The numbers of users and of items."""
        return self.data[self.user].num_nodes, self.data[self.item].num_nodes

    def split(self, states: Tensor) -> tuple[Tensor, Tensor]:
        """The states of users and those of items, of the states of all nodes."""
        raise ModelError("model: expected states by node type, or those of users and of items")

    def pick(self, states: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """The states of users and those of items, by name."""
        return states[self.user], states[self.item]

    def user_states(self) -> Tensor | None:
        """What users start with in the data, float[U, e]."""
        found: Tensor | None = self.data[self.user].get("x")
        return found

    def rows_of_users(self, name: str, rows: Tensor) -> Tensor | None:
        """Those rows of a matrix that belong to users; None if it has none."""
        return _of_users(name, rows, self.sizes)

    def arguments(self, own: Mapping[str, Tensor] | None = None) -> dict[str, Any]:
        """What a model may read, by name: of all nodes, or of a user who starts with ``own``."""
        states = dict(self.data.collect("x", allow_empty=True))
        if own is not None:
            states = {name: torch.zeros((0, x.shape[1])) for name, x in states.items()}
            if "x" in own:
                states[self.user] = own["x"]
        edges = self.data.edge_index_dict
        return {"x": states, "edge_index": edges, "x_dict": states, "edge_index_dict": edges}

    def edges(self) -> Tensor:
        """int64[2, E], the rows of an item and of the user that it sends to."""
        found: Tensor = self.data[self.kind].edge_index
        return found

    def sent(self, x: Any, edge_index: Tensor) -> Tensor | None:
        """The states of items that a convolution sends to users; None if it sends none."""
        own = self.edges()
        same = edge_index is own or torch.equal(edge_index, own)
        states: Tensor = x[0] if isinstance(x, tuple | list) else x
        return states if same and len(states) == self.sizes[1] else None

    def degrees(self, edge_index: Tensor) -> Tensor:
        """How many edges end in each item, float32[n]: of edges to users, none."""
        return torch.zeros(self.sizes[1])


def _of_users(name: str, rows: Tensor, sizes: tuple[int, int]) -> Tensor | None:
    """A matrix with a row per user; None if it has none.

    Raises:
        ModelError: there are as many users as items, and its name does not tell them apart.
    """
    if len(rows) != sizes[0]:
        return None
    if sizes[0] != sizes[1]:
        return rows
    if ("user" in name) == ("item" in name):
        raise ModelError(
            f"model.{name}: has {len(rows)} rows, and there are as many users as items; give it a "
            "name with 'user' or 'item' in it"
        )
    return rows if "user" in name else None


def graph_of(
    data: Any, users: int | Sequence[int] | None, user: str, item: str
) -> Bipartite | Heterogeneous:
    """The graph of a ``Data`` or a ``HeteroData``.

    Raises:
        ModelError: it is neither, which nodes are users is not known, or nothing is sent to them.
    """
    from torch_geometric.data import Data, HeteroData

    found: Bipartite | Heterogeneous
    if isinstance(data, HeteroData):
        if missing := [name for name in (user, item) if name not in data.node_types]:
            raise ModelError(
                f"data: has no node type {missing[0]!r}; it has {', '.join(data.node_types)}; name "
                "those of users and items with user= and item="
            )
        if users is not None:
            raise ModelError("users: has no effect on a HeteroData, whose node types say it")
        kinds = [kind for kind in data.edge_types if kind[2] == user]
        if len(kinds) != 1 or kinds[0][0] != item:
            raise ModelError(
                f"data: expected one type of edges to {user!r}, from {item!r}, as a device knows "
                f"the user's own items alone; got {kinds or 'none'}; "
                "torch_geometric.transforms.ToUndirected adds the missing direction"
            )
        return Heterogeneous(data, user, item, kinds[0])
    if not isinstance(data, Data) or data.edge_index is None:
        raise ModelError(
            "data: expected a torch_geometric Data with an edge_index, or a HeteroData, got "
            f"{type(data).__name__}"
        )
    if users is None:
        raise ModelError("users: expected the number of users, or the nodes that are users")
    nodes = torch.arange(users) if isinstance(users, int) else torch.as_tensor(users).long()
    if not len(nodes) or nodes.min() < 0 or nodes.max() >= data.num_nodes:
        raise ModelError(f"users: expected some of the {data.num_nodes} nodes, got {users}")
    rest = torch.ones(data.num_nodes, dtype=torch.bool)
    rest[nodes] = False
    found = Bipartite(data, nodes, rest.nonzero().flatten())
    if not found.edges().shape[1]:
        raise ModelError(
            "data.edge_index: has no edge from an item to a user; "
            "torch_geometric.transforms.ToUndirected adds the missing direction"
        )
    return found
