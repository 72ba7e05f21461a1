"""Agree: compare what any two of models, bundles and files of lists recommend to the same users."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from edgerec.building.measured import histories_of
from edgerec.contracts.host import Host
from edgerec.contracts.opening import load_model
from edgerec.data.agreement import Agreement, Listed, agreement_of
from edgerec.data.contexts import lacking_inputs
from edgerec.data.dataset import Dataset
from edgerec.data.lists import LIST_SUFFIXES, is_list_file, read_list_file
from edgerec.data.matching import rows_in
from edgerec.data.ranking import rank_rows
from edgerec.device.histories import recommend_for
from edgerec.device.scorer import Scorer
from edgerec.errors import DataError, OptionError
from edgerec.files.container import Container
from edgerec.model.context import Context
from edgerec.model.device_model import DeviceModel
from edgerec.model.items import Items

__all__ = ["agree"]

#: The length of the lists, if nothing was said about it.
_TOP = 20


def agree(
    a: DeviceModel | str | Path,
    b: DeviceModel | str | Path,
    dataset: Dataset,
    *,
    top: int | None = None,
    users: int | None = None,
    trust: bool = False,
    seed: int = 0,
    host: Host | None = None,
) -> Agreement:
    """Compare the lists of two recommenders for the users of a data set.

    Each is a model, a ``.model`` or ``.edgerec`` file, or a file of lists (Parquet, CSV, TSV or
    JSON lines) with the columns user, item and, unless rows are in order, rank or score. Models and
    bundles recommend from each user's training interactions. Items that a user has seen are left
    out, also of files, except by a model that recommends them again. Ids match by their text.

    Args:
        a: one of them.
        b: the other one.
        dataset: whose training interactions are the histories.
        top: the length of the lists; by default 20, or as many as a file lists if they are fewer.
        users: the number of users, drawn at random; none means all.
        trust: whether to run a payload that needs trust (see ``Scorer``).
        seed: the seed of the choice of users.
        host: the plugins that run bundles; the installed ones by default.

    Raises:
        DataError: no user has a history and a list on both sides, or a file cannot be read.
        OptionError: the lists of a file or bundle are shorter than ``top``, or a model reads a
            user vector, or a context without names, which the data set does not have.
    """
    data = dataclasses.replace(dataset, valid=None)
    sides = [_side(one, data, trust, host) for one in (a, b)]
    shortest = min(sides, key=lambda side: side.most)
    length = min(_TOP, shortest.most) if top is None else top
    if not 1 <= length <= shortest.most:
        raise OptionError(
            f"top: expected 1 to {shortest.most}, the length of the lists of {shortest.name}, got "
            f"{length}"
        )
    active = np.diff(data.train.indptr) > 0
    both = np.flatnonzero(active & sides[0].covers & sides[1].covers)
    if not len(both):
        raise DataError(
            f"{data.name}: no user with a history has lists of both {sides[0].name} and "
            f"{sides[1].name}; ids have to be the same text on all sides, and those of the data "
            f"set are like user {data.users[0]!r} and item {data.items.ids[0]!r}"
        )
    left_out = int(active.sum()) - len(both)
    if users is not None and users < len(both):
        both = np.sort(np.random.default_rng(seed).choice(both, users, replace=False))
    # A file of lists may have items that a model leaves out, because they were seen.
    drops = all(side.drops_seen for side in sides)
    one, other = (side.lists(both, length, drops) for side in sides)
    return agreement_of(one, other, length, left_out)


class _Side(Protocol):
    """One of the two that are compared."""

    name: str
    most: int  # the greatest length of its lists
    covers: NDArray[np.bool_]  # bool[users], for whom it has a list
    drops_seen: bool

    def lists(self, users: NDArray[Any], top: int, drops_seen: bool) -> list[Listed]:
        """The lists of some users."""


def _side(one: DeviceModel | str | Path, data: Dataset, trust: bool, host: Host | None) -> _Side:
    """Open one side.

    Raises:
        BundleError: it is no file of edgerec, and no file of lists.
        OptionError: it is a file of something else, or reads what there is none of.
    """
    if isinstance(one, DeviceModel):
        return _Model(one, "the model", data)
    path = Path(one)
    if is_list_file(path):
        return _File(path, data)
    kind = Container(path).kind
    if kind == "model":
        return _Model(load_model(path, host=host), str(path), data)
    if kind == "bundle":
        return _Bundle(Scorer.open(path, host=host, trust=trust), str(path), data)
    raise OptionError(
        f"{path}: expected a model, a bundle, or lists ({', '.join(LIST_SUFFIXES)}), got a {kind}"
    )


class _Model:
    """A model, which the oracle runs."""

    def __init__(self, model: DeviceModel, name: str, data: Dataset) -> None:
        _check_inputs(model.inputs, model.context, data, name)
        self.model, self.name, self.most = model, name, len(model.items)
        self.data = data if model.weighted else _unweighted(data)
        self.covers, self.drops_seen = _known(model.history_items, data), model.drop_seen

    def lists(self, users: NDArray[Any], top: int, drops_seen: bool) -> list[Listed]:
        """Rank the catalogue."""
        rows, scores = rank_rows(self.model, self.data, users, top)
        ids = self.model.items.ids
        return [
            Listed([ids[int(row)] for row in own[own >= 0]], found[own >= 0].tolist())
            for own, found in zip(rows, scores, strict=True)
        ]


class _Bundle:
    """A bundle, which its runtime runs."""

    def __init__(self, scorer: Scorer, name: str, data: Dataset) -> None:
        inputs = scorer.signature.inputs
        _check_inputs(inputs, scorer.bundle.context, data, name)
        self.scorer, self.name, self.most = scorer, name, scorer.signature.top_k
        self.data = data if "weights" in inputs else _unweighted(data)
        self.covers, self.drops_seen = _known(scorer.bundle.past, data), scorer.bundle.drops_seen

    def lists(self, users: NDArray[Any], top: int, drops_seen: bool) -> list[Listed]:
        """Recommend to one user after another."""
        found = []
        for history in histories_of(self.data, users, self.scorer.bundle):
            listed = recommend_for(self.scorer, history, top)
            found.append(Listed([one.id for one in listed], [one.score for one in listed]))
        return found


class _File:
    """A file of lists."""

    def __init__(self, path: Path, data: Dataset) -> None:
        self.name, self.data, self.found = str(path), data, read_list_file(path)
        self.most = max(len(one.items) for one in self.found.values())
        self.covers = np.array([user in self.found for user in data.users])
        self.drops_seen = True

    def lists(self, users: NDArray[Any], top: int, drops_seen: bool) -> list[Listed]:
        """Look lists up, and leave seen items out.

        Raises:
            DataError: too few items are left.
        """
        own = [self.found[self.data.users[user]] for user in users.tolist()]
        if not drops_seen:
            return own
        return [self._unseen(*pair, top) for pair in zip(users.tolist(), own, strict=True)]

    def _unseen(self, user: int, own: Listed, top: int) -> Listed:
        ids = self.data.items.ids
        seen = {ids[int(row)] for row in self.data.train.of(user)}
        fresh = [item not in seen for item in own.items]
        if sum(fresh) < min(top, len(fresh)):
            item = own.items[fresh.index(False)]
            raise DataError(
                f"{self.name}: the list of user {self.data.users[user]!r} has {item!r}, which is "
                f"in the user's training history, and only {sum(fresh)} other items; write at "
                f"least {top} unseen items per user"
            )
        scores = None if own.scores is None else list(itertools.compress(own.scores, fresh))
        return Listed(list(itertools.compress(own.items, fresh)), scores)


def _check_inputs(inputs: Iterable[str], context: Context | None, data: Dataset, name: str) -> None:
    """Check that a data set has what a model reads.

    Raises:
        OptionError: it reads a user vector, or a context without names.
    """
    if lacking := lacking_inputs(inputs, context, data):
        raise OptionError(
            f"{name}: reads {' and '.join(lacking)}, which the data set does not have; pass "
            "--user-vectors (Dataset.with_user_vectors), or compare a file of the lists that it "
            "gives with them"
        )


def _unweighted(data: Dataset) -> Dataset:
    """The data set for a model that reads no weights."""
    if data.train.weights is None:
        return data
    return dataclasses.replace(data, train=dataclasses.replace(data.train, weights=None))


def _known(items: Items, data: Dataset) -> NDArray[np.bool_]:
    """The users of whose history at least one item is among those of histories."""
    known = rows_in(items, data)[data.train.items] >= 0
    return np.bincount(data.train.users[known], minlength=len(data.users)) > 0
