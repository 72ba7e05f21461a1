"""Hold what a family lowers against the family itself."""

from __future__ import annotations

import numpy as np
import torch

from edgerec.data.interactions import Interactions
from edgerec.errors import ModelError
from edgerec.model.device_model import DeviceModel
from edgerec.model.history import pad_history
from edgerec.model.oracle import run_encoder
from edgerec.training.gnn import GNN
from edgerec.training.graph import Graph

__all__ = ["check_lowered"]

#: The number of users compared, and the greatest difference of a vector relative to its length.
_USERS, _MOST = 8, 1e-3


def check_lowered(gnn: GNN, graph: Graph, train: Interactions, model: DeviceModel) -> None:
    """Compare the user vectors of a lowered model with those of its GNN.

    Args:
        gnn: the trained GNN.
        graph: the graph that it was trained on.
        train: the histories.
        model: what ``gnn.lower`` returned, as a DeviceModel.

    Raises:
        ModelError: they differ, as when a subclass overrides ``user`` but inherits ``lower``.
    """
    active = np.flatnonzero(np.diff(train.indptr))
    chosen = active[np.linspace(0, len(active) - 1, min(_USERS, len(active))).astype(int)]
    with torch.no_grad():
        histories = [train.of(user)[-model.history_length :] for user in chosen.tolist()]
        needed, place = np.unique(np.concatenate(histories), return_inverse=True)
        tables = gnn.rows(graph, torch.as_tensor(needed.astype(np.int64)))
        ends = np.cumsum([len(rows) for rows in histories])[:-1]
        places = np.split(place, ends)
        for user, rows, taken in zip(chosen.tolist(), histories, places, strict=True):
            history, weights = pad_history(
                rows, model.history_length, model.normalization, recency=model.recency
            )
            own = None if gnn.users is None else gnn.users[user : user + 1]
            weighted = torch.as_tensor(weights[: len(rows)])
            pooled = [(weighted @ past[torch.as_tensor(taken)])[None] for past in tables.past]
            expected = gnn.user(pooled, own).numpy(force=True)
            found = run_encoder(
                model,
                history[None],
                weights[None],
                lambda name, which: model.tables[name].decode(which.ravel())[None],
                None if own is None else own.numpy(force=True),
            )
            error = np.abs(found - expected).max() / max(float(np.abs(expected).max()), 1e-12)
            if not error <= _MOST:
                raise ModelError(
                    f"{type(gnn).__name__}: lower() differs from user() by {error:.2g} "
                    "of a user vector; override both or neither"
                )
