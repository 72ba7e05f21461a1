"""Read a state dict of LightGCN, and the graph that its messages pass along."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.nn import LightGCN

from edgerec.learn import from_pyg, read_ids, read_state
from edgerec.plugin import Context, DeviceModel, ModelError, OptionError

__all__ = ["read"]

#: The tensors of LightGCN's state dict, and how many axes each has.
_PARTS = {"embedding.weight": 2, "alpha": 1}


def read(options: Any, path: Path, context: Context) -> DeviceModel:
    """Make a model of a state dict, with the options of ``Pyg``.

    Raises:
        DataError: too few users have a history.
        ModelError: the file cannot be read, or is of another network.
        OptionError: data is needed, or has other users and items than the network.
    """
    weight, alpha = _parts(read_state(path), path)
    dataset = context.dataset
    if dataset is None:
        raise OptionError(
            "pyg: a state dict has no graph; pass the interactions that the network was trained on "
            "as --data"
        )
    users = read_ids(options.users) if options.users else list(dataset.users)
    items = read_ids(options.items) if options.items else list(dataset.items.ids)
    _check_count(options, path, len(weight), users, items, dataset.name)
    edges = _edges(dataset, users, items)
    if 2 * len(np.unique(edges[0])) < len(users):
        raise OptionError(
            f"pyg: of the {len(users):,} users of {path}, fewer than half have an interaction in "
            f"{dataset.name}; pass the data that the network was trained on, with the same ids"
        )
    network = LightGCN(len(weight), weight.shape[1], len(alpha) - 1)
    network.load_state_dict({"embedding.weight": weight, "alpha": alpha})
    user, item = edges
    ends = torch.stack([torch.cat([user, item + len(users)]), torch.cat([item + len(users), user])])
    known = set(items)
    popular = [dataset.items.ids[int(row)] for row in dataset.popular]
    return from_pyg(
        network,
        Data(edge_index=ends, num_nodes=len(weight)),
        ids=items,
        users=len(users),
        method="get_embedding",
        predict_start=options.predict_start,
        history_length=options.history_length,
        popular=[one for one in popular if one in known],
        metadata={"imported": path.name},
    )


def _parts(state: dict[str, Tensor], path: Path) -> tuple[Tensor, Tensor]:
    """The rows of all nodes, float32[U + n, d], and the weight of each layer, float32[layers + 1].

    Raises:
        ModelError: they are those of another network, or damaged.
    """
    if set(state) != set(_PARTS):
        shown = ", ".join(sorted(state)[:8]) + (", …" if len(state) > 8 else "")
        raise ModelError(
            f"{path}: expected the state dict of torch_geometric.nn.LightGCN, which has "
            f"{' and '.join(_PARTS)}, got {shown or 'none'}. Import any other network in Python, "
            "edgerec.from_pyg(network, data, ids=…, users=…)"
        )
    for name, axes in _PARTS.items():
        one = state[name]
        if one.dim() != axes or not one.numel() or not one.is_floating_point():
            raise ModelError(
                f"{path}: {name}: expected floats with {axes} axes, got {one.dtype} {[*one.shape]}"
            )
        if not bool(one.isfinite().all()):
            raise ModelError(
                f"{path}: {name}: has a number that is NaN or infinite; save the network from "
                "before its training diverged"
            )
    weight, alpha = (state[name].float() for name in _PARTS)
    if len(alpha) < 2:
        raise ModelError(
            f"{path}: alpha: expected a number for the rows and one per layer, got {len(alpha)} "
            "in all; without layers, it is no graph network"
        )
    return weight, alpha


def _check_count(
    options: Any, path: Path, count: int, users: Sequence[str], items: Sequence[str], data: str
) -> None:
    """Check that there is an id per node.

    Raises:
        OptionError: there is not.
    """
    if len(users) + len(items) == count:
        return
    raise OptionError(
        f"pyg: {path} has {count:,} nodes, but {options.users or data} has {len(users):,} users "
        f"and {options.items or data} {len(items):,} items, {len(users) + len(items):,} in all; "
        "pass the data that the network was trained on, or users= and items=, files with an id per "
        "node"
    )


def _edges(dataset: Any, users: Sequence[str], items: Sequence[str]) -> Tensor:
    """int64[2, E], the training interactions between these users and items."""
    ends = []
    for own, ids, place in (
        (users, dataset.users, dataset.train.users),
        (items, dataset.items.ids, dataset.train.items),
    ):
        row_of = {one: row for row, one in enumerate(own)}
        ends.append(np.array([row_of.get(one, -1) for one in ids], np.int64)[place])
    edges = np.stack(ends)
    return torch.from_numpy(edges[:, (edges >= 0).all(0)])
