"""The Keras model itself on random histories, which an import is compared with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import keras
import numpy as np
import torch
from numpy.typing import NDArray

from edgerec.plugin import F32, DeviceModel, ModelError, OptionError, Oracle, normalize, sigmoid
from edgerec_keras.encoder import UserSide
from edgerec_keras.graph import Graph, array, run

__all__ = ["Original", "as_input"]

#: How many histories and, of a model that scores one item at a time, how many items are compared.
_HISTORIES, _ITEMS = 24, 500

#: The length of the lists that are compared.
_TOP = 20

#: The greatest difference of user vectors, relative to the largest number, and of scores, relative
#: to their range.
_MOST = 1e-4

#: The most past items of an input of any length, unless another number is given.
_LONGEST = 200


def as_input(tensor: Any, ids: NDArray[Any]) -> Any:
    """Ids in the shape of an input that takes one or several for each user."""
    wide = 1 if len(tensor.shape) == 1 else tensor.shape[1] or 1
    shaped = ids if len(tensor.shape) == 1 else np.repeat(ids[:, None], wide, 1)
    return torch.from_numpy(np.ascontiguousarray(shaped, tensor.dtype))


class Original:
    """A model, its inputs, and random histories with what it makes of them.

    Args:
        graph: the model.
        history: the input of past items.
        item: the input of the item to score; empty if it scores all.
        user: the tensor of the user vector.
        options: those of ``Keras``.
        ids: the ids of items, in order.

    Raises:
        OptionError: the history length is not that of the input.
    """

    def __init__(
        self, graph: Graph, history: str, item: str, user: Any, options: Any, ids: NDArray[Any]
    ) -> None:
        self.graph, self.item, self.padding, self.ids = graph, item, options.padding, ids
        self.history = graph.inputs[history]
        own = self.history.shape[1] if len(self.history.shape) == 2 else 1
        self.fixed = own is not None
        self.length: int = own or options.history_length or _LONGEST
        if options.history_length not in (0, self.length):
            raise OptionError(
                f"keras.history_length: the input {history} has {own} places, got "
                f"{options.history_length}"
            )
        rng = np.random.default_rng(0)
        most = min(self.length, 4 * _HISTORIES)
        counts = [1, self.length, *rng.integers(1, most + 1, _HISTORIES - 2)]
        #: The rows of past items, counted from the first item.
        self.pasts = [rng.integers(0, len(ids), int(count)) for count in counts]
        nodes = graph.nodes(user)
        with torch.no_grad():
            self.users = np.stack(
                [
                    array(run(nodes, {id(self.history): self._given(past)})[id(user)]).reshape(-1)
                    for past in self.pasts
                ]
            )

    def _given(self, past: NDArray[Any]) -> Any:
        """A history as the model reads it, [1, H]."""
        ids = self.ids[past]
        if self.fixed:
            space = (0, self.length - len(ids))
            ids = np.pad(ids, space if self.padding == "post" else space[::-1])
        return torch.from_numpy(ids[None].astype(self.history.dtype))

    def match(self, side: UserSide, tables: Mapping[str, F32]) -> None:
        """Find out what an encoder has to do with padding to compute the same user vectors.

        Raises:
            ModelError: it computes others, whatever it does.
        """
        ways = [(False, False), (True, False)] if self.fixed else [(False, False)]
        if self.fixed and self.padding == "pre":
            ways += [(False, True), (True, True)]
        for side.filled, side.shifted in ways:
            pairs = zip(self.pasts, self.users, strict=True)
            if all(_close(self._encoded(side, tables, past), user) for past, user in pairs):
                return
        if self.fixed:
            raise ModelError(
                "its layers compute other user vectors from the rows of a history than from the "
                "ids; report this with the model"
            )
        raise ModelError(
            "what it makes of a history depends on how far that is padded; give the input "
            f"{self.history.name} a fixed length, or mask padding with mask_zero=True and pool by "
            "layers that read masks"
        )

    def _encoded(self, side: UserSide, tables: Mapping[str, F32], past: NDArray[Any]) -> F32:
        """The user vector that an encoder computes from rows, with noise in padding."""
        count = len(past)
        rest = np.random.default_rng(count).integers(0, len(self.ids), self.length - count)
        rows = np.concatenate([past, rest])
        given = {name: torch.from_numpy(table[rows]) for name, table in tables.items()}
        present = (torch.arange(self.length) < count).float()[:, None]
        given |= {"present": present, "weights": present / count}
        given["row_number"] = torch.from_numpy(rows[:, None] + 1).float() * present
        given["count"] = torch.full((1, 1), float(count))
        with torch.no_grad():
            return array(side(**given)).reshape(-1)

    def head(self, rows: F32, bias: F32, where: str) -> Literal["dot", "cosine", "sigmoid"]:
        """How user vectors score rows.

        Raises:
            ModelError: no head gives the lists of the model.
        """
        chosen = np.arange(len(self.ids))
        if self.item and len(chosen) > _ITEMS:
            chosen = np.random.default_rng(0).choice(chosen, _ITEMS, replace=False)
        wanted = np.stack([self._scores(past, chosen) for past in self.pasts])
        dots = self.users @ rows[chosen].T + bias[chosen]
        found: dict[Literal["dot", "cosine", "sigmoid"], F32] = {
            "dot": dots,
            "sigmoid": sigmoid(dots),
            "cosine": normalize(self.users) @ normalize(rows[chosen]).T,
        }
        for head, scores in found.items():
            if np.allclose(scores, wanted, rtol=1e-3, atol=_MOST):
                return head
        for head in ("dot", "cosine"):
            if all(map(_same_list, found[head], wanted)):
                return head
        raise ModelError(
            f"{where}: the lists of the model are not those of the products of user vectors and "
            "item rows, nor of their cosines; expected scores that rise with one of these"
        )

    def _scores(self, past: NDArray[Any], chosen: NDArray[Any]) -> F32:
        """What the model itself says of some items."""
        model, history = self.graph.model, self._given(past)
        with torch.no_grad():
            if not self.item:
                return array(model(history, training=False)).reshape(-1)[-len(self.ids) :]
            item = self.graph.inputs[self.item]
            values = {
                id(self.history): history.repeat(len(chosen), *[1] * (history.dim() - 1)),
                id(item): as_input(item, self.ids[chosen]),
            }
            given = keras.tree.map_structure(lambda one: values[id(one)], model.input)
            return array(model(given, training=False)).reshape(len(chosen), -1)[:, 0]

    def compare(self, model: DeviceModel) -> None:
        """Compare the user vectors of an import.

        Raises:
            ModelError: they differ.
        """
        oracle = Oracle(model)
        for past, user in zip(self.pasts, self.users, strict=True):
            history, weights = oracle.pad(past)
            found = oracle.encode(history[None], weights[None])[0][: len(user)]
            if not _close(found, user):
                raise ModelError(
                    f"for a history of {len(past)} items, the import differs from the model; "
                    "report this with the model"
                )


def _close(found: F32, wanted: F32) -> bool:
    most = max(float(np.abs(wanted).max()), 1e-6)
    return bool(np.abs(found - wanted).max() <= _MOST * most)


def _same_list(found: F32, wanted: F32) -> bool:
    """Whether the best items by some scores are the best by others, except for ties."""
    if wanted.min() >= 0:  # probabilities differ by factors
        wanted = np.log(np.maximum(wanted, 1e-37))
    best = np.sort(wanted)[::-1][:_TOP]
    own = np.sort(wanted[np.argsort(-found)[:_TOP]])[::-1]
    return bool((best - own).max() <= _MOST * max(float(np.ptp(wanted)), 1e-6))
