"""Import a graph neural network of torch-geometric: its user side, run on the user's own history.

The model runs once on its whole graph, and again, traced, on the star of one user (``star.py``).
What it says about users there is compared with what it said about them on the whole graph.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edgerec.errors import ModelError
from edgerec.importing.builder import Builder
from edgerec.importing.edges import DEGREE
from edgerec.importing.embeddings import matrix, popular_rows_of
from edgerec.importing.graphs import graph_of
from edgerec.importing.network import Network
from edgerec.importing.pooling import as_pooling
from edgerec.importing.predicted import with_predicted_start
from edgerec.importing.star import Round, Star, record
from edgerec.importing.tracing import ending_in_user, lower, trace
from edgerec.importing.values import Edges, Value
from edgerec.model.codecs import Fp32
from edgerec.model.device_model import DeviceModel
from edgerec.model.head import Head
from edgerec.model.integers import F32
from edgerec.model.items import Items
from edgerec.model.oracle import Oracle
from edgerec.model.table import Table

__all__ = ["from_pyg"]

#: The most users in the proof, and the greatest difference of a user vector, relative to its
#: largest number.
_USERS, _MOST = 256, 1e-3


def from_pyg(
    model: nn.Module,
    data: Any,
    *,
    ids: Iterable[object],
    users: int | Sequence[int] | None = None,
    user: str = "user",
    item: str = "item",
    method: str = "forward",
    head: Literal["dot", "cosine", "sigmoid"] = "dot",
    history_length: int = 100,
    predict_start: bool = False,
    titles: Iterable[str] | None = None,
    popular: Iterable[object] = (),
    **settings: Any,
) -> DeviceModel:
    """Make a model of a trained torch-geometric model on a graph of users and items.

    The model may read ``x`` (or ``x_dict``) and ``edge_index`` (or ``edge_index_dict``), and hold
    rows of users and items itself. It returns the states of all nodes, or those of users and those
    of items. What a convolution sends to users becomes a table for each layer; what users start
    with becomes the input ``user_vector`` (``context``, if it has another width than the state it
    ends in), unless all users start with the same.

    Args:
        model: the trained model; it runs in eval mode.
        data: the graph it was trained on: a ``HeteroData``, or a ``Data`` of both kinds of nodes.
        ids: an id per item, in the order of the item nodes.
        users: the number of users, if they are the first nodes of a ``Data``; or their nodes.
        user: the node type of users in a ``HeteroData``.
        item: the node type of items.
        method: what to call, if it is not ``forward``.
        head: how a user's state scores an item's.
        history_length: H, the maximum number of past items; users with more of them are read
            by the most recent.
        predict_start: whether to predict what users start with from their history, so that no
            input is needed; ``metadata["fold_in"]`` has the overlap with the original's lists.
        titles: a readable title per id.
        popular: ids by falling popularity, recommended for an empty history.
        settings: further fields of DeviceModel, such as ``drop_seen``.

    Raises:
        ModelError: the model reads something that a device does not have, uses an op that cannot
            be lowered (named with its line), or computes something else on a star.
    """
    network = Network(model.eval(), method, graph_of(data, users, user, item))
    (user_states, item_states), rounds = record(network)
    sent = [made for made in rounds if made.rows is not None]
    if not sent:
        raise ModelError(
            "model: no MessagePassing module sends anything from items to users; of a model that "
            "multiplies by a sparse matrix, import the rows with fold_in"
        )
    catalogue = Items.of(ids, titles)
    height, width = len(catalogue), item_states.shape[1]
    tables = {"items": matrix(item_states, "the states of items", height)}
    program = trace(Star(network, rounds), _examples(sent, network, history_length))
    builder = Builder(history_length, {DEGREE: 1}, star=True)
    values: dict[str, Any] = {f"edges_{end}": Edges((2, history_length)) for end in (0, 1)}
    for number, made in enumerate(sent):
        array = matrix(made.rows, "the states of items", height)
        same = [name for name, other in tables.items() if np.array_equal(other, array)]
        name = same[0] if same else f"layer{number}"
        tables[name] = array
        builder.widths[name] = array.shape[1]
        rows = builder.op("Gather", (name, "history"))
        values[f"rows_{number}"] = Value(rows, (history_length, array.shape[1]), (0, 1))
    source, start, own = _start(network, program, width, builder)
    ops = ending_in_user(builder.ops, lower(program, values | own, builder), width)
    histories = _histories(network.graph.edges(), len(user_states))
    twice = any(len(np.unique(past)) < len(past) for past in histories)
    repeats = "keep" if twice else "merge"
    read = {"items"}.union(*(op.inputs for op in ops))
    if DEGREE in read:
        tables[DEGREE] = matrix(sent[0].degrees.clamp(min=1)[:, None], "degrees", height)
    found = DeviceModel(
        items=catalogue,
        tables={n: Table.encode(array, Fp32()) for n, array in tables.items() if n in read},
        encoder=ops,
        head=Head("items", head),
        history_length=history_length,
        constants={name: one for name, one in builder.constants.items() if name in read},
        context_width=start.shape[1] if source == "context" else 0,
        popular=popular_rows_of(catalogue, popular),
        **({"metadata": {"imported": type(model).__name__}, "repeats": repeats} | settings),
    )
    _prove(found, histories, user_states.numpy(), start)
    if predict_start and found.inputs:
        found = with_predicted_start(found, start, histories)
    return as_pooling(found) or found


def _start(
    network: Network, program: Any, width: int, builder: Builder
) -> tuple[str, F32, dict[str, Value | Tensor]]:
    """What users start with.

    Returns:
        The input that holds it, what each user has there, float32[U, e], and the values of the
        traced graph that come from it. What all users have in common is no input.
    """
    unread = {node.name for node in program.graph.nodes if not node.users}
    values: dict[str, Value | Tensor] = {}
    differ: dict[str, Tensor] = {}
    for number, rows in enumerate(network.own.values()):
        name = f"own_{number}"
        values[name] = rows[:1].float()
        if name not in unread and bool((rows != rows[:1]).any()):
            differ[name] = rows.float()
    if not differ:
        return "", np.zeros((len(next(iter(network.own.values()), [])), 0), np.float32), values
    widths = [rows.shape[1] for rows in differ.values()]
    source = "user_vector" if widths == [width] else "context"
    builder.widths[source] = sum(widths)
    at = 0
    for name, wide in zip(differ, widths, strict=True):
        ends = {"start": at, "end": at + wide}
        part = source if len(widths) == 1 else builder.op("Slice", [source], ends)
        values[name] = Value(part, (1, wide), (0, 1))
        at += wide
    return source, torch.cat(list(differ.values()), 1).numpy(), values


def _examples(sent: list[Round], network: Network, length: int) -> dict[str, list[Tensor]]:
    """What a star is traced with."""
    nodes = torch.arange(length)
    return {
        "rows": [torch.zeros(length, made.rows.shape[1]) for made in sent if made.rows is not None],
        "own": [rows[:1].float().clone() for rows in network.own.values()],
        "edges": [torch.stack([nodes, torch.full((length,), end)]) for end in (0, length)],
    }


def _histories(edges: Tensor, users: int) -> list[NDArray[np.int64]]:
    """The rows of each user's items, in the order of the edges."""
    item, user = edges.numpy()
    order = np.argsort(user, kind="stable")
    return np.split(item[order], np.cumsum(np.bincount(user, minlength=users))[:-1])


def _prove(model: DeviceModel, histories: list[NDArray[np.int64]], users: F32, start: F32) -> None:
    """Compare user vectors with what the original said about users on the whole graph.

    Raises:
        ModelError: no user has a history that fits, or they differ.
    """
    counts = np.array([len(past) for past in histories])
    fit = np.flatnonzero((counts > 0) & (counts <= model.history_length))
    if not len(fit):
        raise ModelError(
            f"history_length: no user has at most {model.history_length} items, so nothing can be "
            f"proven; the fewest are {counts[counts > 0].min()}"
        )
    chosen = np.random.default_rng(0).permutation(fit)[:_USERS]
    oracle = Oracle(model)
    padded = [oracle.pad(histories[user]) for user in chosen]
    history, weights = (np.stack(one) for one in zip(*padded, strict=True))
    inputs = dict.fromkeys(model.inputs, start[chosen]) if model.inputs else {}
    found, expected = oracle.encode(history, weights, **inputs), users[chosen]
    error = np.abs(found - expected).max(1) / np.maximum(np.abs(expected).max(1), 1e-6)
    if not error.max() <= _MOST:
        worst = chosen[int(error.argmax())]
        raise ModelError(
            f"model: on the user's own items alone, it computes other user vectors than on the "
            f"whole graph: they differ by {error.max():.2g} of their largest number, for user "
            f"{worst} with {counts[worst]} items. It reads something besides these items: "
            "edges between users, all nodes at once, or their positions"
        )
