"""The user side of a Keras model as a torch module over the rows of a history."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from typing import Any

import keras
import torch
from torch import Tensor, nn

from edgerec_keras.graph import call, keep, label

__all__ = ["UserSide", "reads_history"]


def reads_history(node: Any, history: Any) -> bool:
    """Whether a node looks up the rows of past items."""
    return (
        isinstance(node.operation, keras.layers.Embedding)
        and not node.arguments.kwargs.get("reverse")
        and node.input_tensors[0] is history
    )


class _Layer(nn.Module):
    """A layer of Keras, for which ``from_torch`` writes ``layers.3 (_Layer)``."""

    def __init__(self, node: Any) -> None:
        super().__init__()
        self.node, self.operation = node, node.operation

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the layer makes of tensors."""
        return call(self.node, args, kwargs)


class UserSide(nn.Module):
    """The nodes of a model that compute the user vector.

    Past items come first in a history and padding last. ``shifted`` moves padding to the front, and
    ``filled`` gives it the row of the id 0, as a model that does not mask has it.

    Args:
        nodes: the nodes, in order.
        history: the input of past items.
        user: the tensor of the user vector.
        tables: the name of the table of each Embedding that looks up past items.
        length: the number of past items.
        first: the id of the first item, 1 if 0 is padding.
        padding: the row of the id 0 in each of them.
        masks: whether padding is masked by every Embedding, as if histories were not padded.
    """

    def __init__(
        self,
        nodes: list[Any],
        history: Any,
        user: Any,
        *,
        tables: Mapping[Any, str],
        length: int,
        first: int,
        padding: Mapping[Any, Tensor],
        masks: bool,
    ) -> None:
        super().__init__()
        self.nodes, self.history, self.user = nodes, history, user
        self.table_of, self.length, self.first, self.masks = tables, length, first, masks
        self.filled = self.shifted = self.biased = False
        self.layers = nn.ModuleList(map(_Layer, nodes))
        places = torch.arange(length, dtype=torch.float32)
        self.register_buffer("apart", places[:, None] - places)
        self.padding_of = {layer: f"padding_{n}" for n, layer in enumerate(padding)}
        for layer, row in padding.items():
            self.register_buffer(self.padding_of[layer], row)
        names = [*dict.fromkeys(tables.values()), "present", "row_number", "weights", "count"]

        def forward(**given: Tensor) -> Tensor:
            return self._user(given)

        given = [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY) for name in names]
        forward.__signature__ = inspect.Signature(given)  # type: ignore[attr-defined]  # from_torch reads it
        self.forward = forward  # its parameters are the tables of this model

    def _user(self, given: Mapping[str, Tensor]) -> Tensor:
        """The user vector, from what its parameters are called in ``from_torch``."""
        present, numbers = given["present"], given["row_number"]
        place = None
        if self.shifted:
            place = (self.get_buffer("apart") + given["count"] == self.length).float()
            present, numbers = place @ present, place @ numbers
        ids = (numbers if self.first else (numbers - 1) * present)[None, :, 0]
        mask = present[None, :, 0] != 0
        known: dict[int, Any] = {id(self.history): ids}
        for node, layer in zip(self.nodes, self.layers, strict=True):
            if reads_history(node, self.history):
                rows = given[self.table_of[node.operation]]
                found = self._padded(node, rows if place is None else place @ rows, present)[None]
                if self.masks or node.operation.mask_zero:
                    vars(found)["_keras_mask"] = mask  # where Keras looks for it
            elif self._is_mask(node):
                found = mask
            else:
                args, kwargs = node.arguments.fill_in(known)
                if place is None and _masked_mean(node, args, kwargs) is mask:
                    found = (args[0] * given["weights"]).sum(1, keepdim=node.operation.keepdims)
                else:
                    found = layer(*args, **kwargs)
            keep(known, node, found)
        user: Tensor = known[id(self.user)].reshape(1, -1)
        return torch.cat([user, torch.ones(1, 1)], 1) if self.biased else user

    def _padded(self, node: Any, rows: Tensor, present: Tensor) -> Tensor:
        """The rows of a history, with that of the id 0 in padding if it counts."""
        if not self.filled:
            return rows
        padding = self.get_buffer(self.padding_of[node.operation])
        return rows * present + padding * (1 - present)

    def explained(self, message: str) -> str:
        """What ``from_torch`` says of the module, with the name of the layer that it means."""
        message = re.sub(r"^encoder: (torch\.export cannot trace it: )?", "", message)
        inside = re.fullmatch(
            r"(.*), in layers\.(\d+)\S* \(\w+\)(, in File.*)?", message, re.DOTALL
        )
        return f"{label(self.nodes[int(inside[2])])}: {inside[1]}" if inside else message

    def _is_mask(self, node: Any) -> bool:
        """Whether a node compares ids with that of padding, as the masks of Embeddings do."""
        compared = type(node.operation).__name__ == "NotEqual" and self.first == 1
        args = node.arguments.args
        return compared and args[0] is self.history and args[1:] == (0,)


def _masked_mean(node: Any, args: Any, kwargs: Any) -> Any:
    """The mask of a mean over past items; none if it is something else."""
    layer = node.operation
    if not isinstance(layer, keras.layers.GlobalAveragePooling1D):
        return None
    if layer.data_format != "channels_last":
        return None
    mask = kwargs.get("mask")
    return getattr(args[0], "_keras_mask", None) if mask is None else mask
