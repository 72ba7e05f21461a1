r"""User context in training: user vectors that also depend on what is known of users.

    u' = u + C_u W

u is what the history says, C_u the context of the user (``model/context.py``) and W a matrix that
starts at zero. It works with any family. A device codes the context itself, and nothing about any
user is stored: the lowered model contains W and how contexts are coded.
"""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edgerec.data.contexts import context_of, contexts_of
from edgerec.data.dataset import Dataset
from edgerec.data.features import read_feature_names
from edgerec.errors import ModelError
from edgerec.model.codecs import F32
from edgerec.model.context import Context
from edgerec.model.device_model import DeviceModel
from edgerec.model.ops import Op
from edgerec.training.gnn import GNN, array
from edgerec.training.graph import Graph

__all__ = ["UserContext", "add_context", "with_context"]

#: The constant that a context is multiplied by, and what it adds to.
_MATRIX, _HISTORY, _ADDED = "context_matrix", "user_of_history", "user_of_context"


class UserContext(nn.Module):
    """What the contexts of users add to their vectors.

    Args:
        context: how the context is coded.
        rows: float32[U, c], the contexts of all users.
        width: d.
    """

    rows: Tensor

    def __init__(self, context: Context, rows: F32, width: int) -> None:
        super().__init__()
        self.context = context
        # It follows from the data set, so that files need not keep it.
        self.register_buffer("rows", torch.as_tensor(rows), persistent=False)
        self.matrix = nn.Parameter(torch.zeros(context.width, width))

    def forward(self, users: Tensor) -> Tensor:
        """What is added to the vectors of users int64[B]: float[B, d]."""
        return F.embedding(users, self.rows) @ self.matrix


def add_context(gnn: GNN, graph: Graph, dataset: Dataset, names: str) -> None:
    """Add the context of users to a family's user vectors, in place.

    The vectors do not change until the matrix is trained.

    Args:
        gnn: the network.
        graph: the graph that it is trained on.
        dataset: the data set.
        names: the names of features of users, such as ``age,country``.

    Raises:
        OptionError: the data set has no such feature, or a device could not code it.
    """
    context = context_of(dataset, read_feature_names(names, "context", "age,country"))
    rows = contexts_of(context, dataset, torch.arange(len(dataset.users)).numpy())
    with torch.no_grad():
        width = gnn.tables(graph).candidates.shape[1]  # several layers may lie side by side
    gnn.add_module("user_context", UserContext(context, rows, width))


def with_context(model: DeviceModel, gnn: GNN) -> DeviceModel:
    """Return a lowered model that reads the context, too, if its network does.

    Raises:
        ModelError: the family's encoder reads a context already.
    """
    part = gnn.get_submodule("user_context") if gnn.reads_context else None
    if not isinstance(part, UserContext):
        return model
    if model.context_width:
        raise ModelError("the encoder reads a context of its own; train without the option context")
    encoder = tuple(
        dataclasses.replace(op, output=_HISTORY) if op.output == "user" else op
        for op in model.encoder
    )
    return model.replace(
        encoder=(
            *encoder,
            Op("MatMul", ("context", _MATRIX), _ADDED),
            Op("Add", (_HISTORY, _ADDED), "user"),
        ),
        constants={**model.constants, _MATRIX: array(part.matrix)},
        context_width=part.context.width,
        metadata={**model.metadata, "context": part.context.to_json()},
    )
