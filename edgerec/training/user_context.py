r"""User context in training: user vectors that also depend on what is known of users.

    u' = u + C_u W

u is what the history says, C_u the context of the user (``model/context.py``) and W a matrix that
starts at zero. What changes from one interaction to the next, such as the hour, is that of the item
to predict, which only predicting the next item (``predict="next"``) can tell. It works with any
family. A device codes the context itself, and nothing about any user is stored: the lowered model
contains W and how contexts are coded.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from edgerec.data.contexts import context_of, contexts_of
from edgerec.data.dataset import Dataset
from edgerec.data.features import read_context_names
from edgerec.data.moments import is_moment, moments_of
from edgerec.errors import ModelError, OptionError
from edgerec.model.codecs import F32
from edgerec.model.context import Context
from edgerec.model.device_model import DeviceModel
from edgerec.model.ops import Op
from edgerec.training.gnn import GNN, array
from edgerec.training.graph import Graph
from edgerec.training.options import TrainOptions

__all__ = ["UserContext", "add_context", "with_context"]

#: The constant that a context is multiplied by, and what it adds to.
_MATRIX, _HISTORY, _ADDED = "context_matrix", "user_of_history", "user_of_context"


class UserContext(nn.Module):
    """What the contexts of users add to their vectors.

    Args:
        context: how the context is coded.
        rows: float32[U, c], the contexts of all users.
        moments: int64[edges, m], the places that are 1 for each training interaction.
        width: d.
    """

    rows: Tensor
    moments: Tensor

    def __init__(self, context: Context, rows: F32, moments: NDArray[Any], width: int) -> None:
        super().__init__()
        self.context = context
        # They follow from the data set, so that files need not keep them.
        self.register_buffer("rows", torch.as_tensor(rows), persistent=False)
        self.register_buffer("moments", torch.as_tensor(moments), persistent=False)
        self.matrix = nn.Parameter(torch.zeros(context.width, width))

    def forward(self, users: Tensor, edges: Tensor | None = None) -> Tensor:
        """What is added to the vectors of users int64[B]: float[B, d].

        ``edges`` are the interactions to predict, int64[B]; without them, the moment is not known.
        """
        added = F.embedding(users, self.rows) @ self.matrix
        if edges is None or not self.moments.shape[1]:
            return added
        return added + F.embedding(self.moments[edges], self.matrix).sum(1)


def add_context(gnn: GNN, graph: Graph, dataset: Dataset, options: TrainOptions) -> None:
    """Add the context of users to a family's user vectors, in place.

    The vectors do not change until the matrix is trained.

    Args:
        gnn: the network.
        graph: the graph that it is trained on.
        dataset: the data set.
        options: ``context`` names features of users, such as ``age,country``, or moments.

    Raises:
        OptionError: the data set has no such feature, a device could not code it, or a moment needs
            another way of training.
    """
    context = context_of(dataset, read_context_names(options.context))
    moments = [part.name for part in context.parts if is_moment(part)]
    if moments and options.predict != "next":
        raise OptionError(
            f"context: {', '.join(moments)}: changes from one interaction to the next; train with "
            "predict=next (--predict next)"
        )
    rows = contexts_of(context, dataset, np.arange(len(dataset.users)), lasting=True)
    starts = np.cumsum([0, *(part.width for part in context.parts)])
    places = [
        starts[context.names.index(name)] + moments_of(dataset, dataset.train, name)
        for name in moments
    ]
    edges = np.stack(places, 1) if places else np.zeros((len(dataset.train), 0), np.int64)
    with torch.no_grad():
        width = gnn.tables(graph).candidates.shape[1]  # several layers may lie side by side
    gnn.add_module("user_context", UserContext(context, rows, edges, width))


def with_context(model: DeviceModel, gnn: GNN) -> DeviceModel:
    """Return a lowered model that reads the context, too, if its network does.

    Raises:
        ModelError: the family's encoder reads a context already.
    """
    part = dict(gnn.named_children()).get("user_context")
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
