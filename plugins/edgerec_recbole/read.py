"""Read user rows and item rows of a checkpoint, and the tokens that they belong to."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch_geometric.data import Data

from edgerec.learn import fold_in, from_pyg, from_torch, read_ids
from edgerec.plugin import F32, Context, DeviceModel, ModelError, OptionError
from edgerec_recbole.checkpoint import Checkpoint
from edgerec_recbole.networks import NETWORKS
from edgerec_recbole.rows import embeddings, stored_rows
from edgerec_recbole.srgnn import SRGNN

__all__ = ["read"]

#: The models that can be read.
_MODELS = ("BPR", *NETWORKS, "SRGNN")

#: How far rows may differ from stored ones, relative to the largest.
_MOST = 1e-3

#: Settings by which RecBole drops or sorts interactions before it numbers the tokens, in a way
#: that may leave the number of tokens as it is.
_REORDERING = ("rm_dup_inter", "val_interval")

#: What to do where the tokens cannot be numbered by the .inter file.
_INSTEAD = (
    "Pass items= and users= instead, files with a token per line: RecBole has them in "
    "dataset.field2id_token, after [PAD]"
)


def read(options: Any, path: Path, context: Context) -> DeviceModel:
    """Make a model of a checkpoint, with the options of ``Recbole``.

    Raises:
        DataError: the data has too few of its users.
        ModelError: a file cannot be read, or the parts do not fit together.
        OptionError: data or tokens are needed, or do not belong to the checkpoint.
    """
    saved = Checkpoint.read(path)
    if saved.model not in _MODELS:
        raise ModelError(
            f"{path}: {saved.model} is not supported; supported are {', '.join(_MODELS)}. If it "
            "scores by products of user rows and item rows, save these, and import them with tables"
        )
    if saved.model == "SRGNN":
        return _session(options, saved)
    if context.dataset is None:
        raise OptionError(
            "recbole: predicting user rows from histories needs the interactions that the model "
            "was trained on; pass --data"
        )
    users, items = _tokens(options, saved)
    own = embeddings(saved)
    _check_count(options, "users", users, len(own[0]), path)
    _check_count(options, "items", items, len(own[1]), path)
    known = set(context.dataset.users)
    kept = [row for row, user in enumerate(users) if user in known]
    if 2 * len(kept) < len(users):
        raise OptionError(
            f"{context.dataset.name}: has {len(kept):,} of the {len(users):,} users of {path}, "
            f"such as {users[0]!r}; pass the data that the model was trained on, with the same ids"
        )
    settings = {"history_length": options.history_length, "metadata": {"imported": path.name}}
    rows, exact = stored_rows(saved), []
    if saved.model in NETWORKS:
        network = NETWORKS[saved.model](saved, torch.from_numpy(np.concatenate(own)))
        graph = _graph(_edges(context.dataset, users, items), len(users), len(items))
        passed = _passed(network, graph, len(users))
        rows = rows or passed
        if _same(rows, passed):
            exact.append(
                from_pyg(
                    network, graph, ids=items, users=len(users), predict_start=True, **settings
                )
            )
        else:
            context.progress(1, 1, "trained on other interactions than those of --data")
    if exact and "fold_in" not in exact[0].metadata:
        return exact[0]
    of_users, of_items = rows or own
    folded = fold_in(
        context.dataset,
        of_users[kept],
        of_items,
        ids=items,
        users=[users[row] for row in kept],
        **settings,
    )
    share = {"overlap": round(folded.overlap, 4), "users": folded.users}
    metadata = {**folded.model.metadata, "fold_in": share}
    both = [*exact, folded.model.replace(metadata=metadata)]
    model = max(both, key=lambda one: one.metadata["fold_in"]["overlap"])
    share = model.metadata["fold_in"]
    context.progress(1, 1, f"overlap {share['overlap']:.3f} on {share['users']} other users")
    return model


def _session(options: Any, saved: Checkpoint) -> DeviceModel:
    """A model of sessions, which reads no user rows.

    Raises:
        ModelError: a file cannot be read, or a parameter is missing.
        OptionError: tokens are needed, or do not belong to the checkpoint.
    """
    items = _tokens(options, saved, needs_users=False)[1]
    rows = saved.parameter("item_embedding.weight")[1:]
    _check_count(options, "items", items, len(rows), saved.path)
    longest = int(saved.config.get("MAX_ITEM_LIST_LENGTH") or 50)
    return from_torch(
        SRGNN(saved),
        {"items": rows},
        items,
        history_length=min(longest, options.history_length),
        repeats="keep",
        drop_seen=False,
        metadata={"imported": saved.path.name},
    )


def _graph(edges: NDArray[np.int64], users: int, items: int) -> Data:
    """The graph of users and then items."""
    user, item = torch.from_numpy(edges)
    ends = torch.stack([torch.cat([user, item + users]), torch.cat([item + users, user])])
    return Data(edge_index=ends, num_nodes=users + items)


def _passed(network: nn.Module, graph: Data, users: int) -> tuple[F32, F32]:
    """What a network says of users and of items on a graph."""
    with torch.no_grad():
        found = network(graph.edge_index).numpy()
    return found[:users], found[users:]


def _same(one: tuple[F32, F32], other: tuple[F32, F32]) -> bool:
    """Whether two models have the same rows."""
    a, b = np.concatenate(one), np.concatenate(other)
    return a.shape == b.shape and float(np.abs(a - b).max()) <= _MOST * float(np.abs(b).max())


def _check_count(options: Any, side: str, tokens: Sequence[str], count: int, path: Path) -> None:
    """Check that there is a token per row.

    Raises:
        OptionError: there is not.
    """
    if len(tokens) == count:
        return
    if options.inter:
        raise OptionError(
            f"recbole.inter: expected {count:,} {side}, as many as {path} has besides [PAD], but "
            f"{options.inter} has {len(tokens):,}; RecBole filtered the interactions, or read "
            f"another file. {_INSTEAD}"
        )
    raise OptionError(
        f"recbole.{side}: expected {count:,} tokens, one for each of the {side} of {path} besides "
        f"[PAD], but {getattr(options, side)} has {len(tokens):,}"
    )


def _tokens(
    options: Any, saved: Checkpoint, *, needs_users: bool = True
) -> tuple[list[str], list[str]]:
    """The tokens of users and of items, in the order of rows.

    Raises:
        ModelError: a file cannot be read.
        OptionError: they were not given, or their order cannot be known.
    """
    if options.items and bool(options.users) == needs_users and not options.inter:
        users = read_ids(options.users, "tokens") if needs_users else []
        return users, read_ids(options.items, "tokens")
    if options.items or options.users or not options.inter:
        raise OptionError(
            "recbole: a checkpoint has no tokens; pass either inter=, the .inter file that RecBole "
            f"read, or {'both items= and users=' if needs_users else 'items= alone'}, with a token "
            "per row"
        )
    for name in _REORDERING:
        if saved.config.get(name) is not None:
            raise OptionError(
                f"recbole.inter: {saved.path} was trained with {name}, so its rows may be in "
                f"another order than the file. {_INSTEAD}"
            )
    return _numbered(Path(options.inter), saved)


def _numbered(path: Path, saved: Checkpoint) -> tuple[list[str], list[str]]:
    """The users and items of an atomic file, in order of their first appearance.

    Raises:
        ModelError: it is no such file.
    """
    fields = [str(saved.config.get(name)) for name in ("USER_ID_FIELD", "ITEM_ID_FIELD")]
    found: tuple[dict[str, None], dict[str, None]] = ({}, {})
    try:
        with path.open(encoding=saved.config.get("encoding") or "utf-8", newline="") as file:
            lines = csv.reader(file, delimiter=saved.config.get("field_separator") or "\t")
            header = [name.rsplit(":", 1)[0] for name in next(lines, [])]
            if missing := [field for field in fields if field not in header]:
                raise ValueError(f"its header has no field {', '.join(missing)}")
            user, item = map(header.index, fields)
            for line in lines:
                if line and line[user] and line[item]:
                    found[0][line[user]] = found[1][line[item]] = None
    except (OSError, ValueError, TypeError, LookupError, csv.Error) as error:
        raise ModelError(
            f"{path}: expected an atomic file of RecBole, with a header of name:type: {error}"
        ) from None
    return list(found[0]), list(found[1])


def _edges(dataset: Any, users: Sequence[str], items: Sequence[str]) -> NDArray[np.int64]:
    """int64[2, E], the training interactions between these users and items."""
    ends = []
    for own, ids, place in (
        (users, dataset.users, dataset.train.users),
        (items, dataset.items.ids, dataset.train.items),
    ):
        row_of = {token: row for row, token in enumerate(own)}
        ends.append(np.array([row_of.get(token, -1) for token in ids], np.int64)[place])
    edges = np.stack(ends)
    return edges[:, (edges >= 0).all(0)]
