"""A trained graph neural network and its graph: run on all nodes, or on one user alone."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from edgerec.errors import ModelError
from edgerec.importing.graphs import Bipartite, Heterogeneous

__all__ = ["Network"]


class Network(nn.Module):
    """A model with the graph that it reads.

    Args:
        model: the model.
        method: what to call.
        graph: its graph.

    Raises:
        ModelError: it reads something besides states and edges.
    """

    def __init__(self, model: nn.Module, method: str, graph: Bipartite | Heterogeneous) -> None:
        super().__init__()
        self.model, self.method, self.graph = model, method, graph
        needed = inspect.signature(getattr(model, method)).parameters
        known = graph.arguments()
        for name, one in needed.items():
            if name not in known and one.default is one.empty and one.kind < one.VAR_POSITIONAL:
                raise ModelError(
                    f"model.{method}: it reads {name}; expected {', '.join(known)} alone, as the "
                    "part of a model that computes the states of nodes does"
                )
        self.names = [name for name in needed if name in known]
        #: What users start with, float[U, e], by the name of the parameter or argument.
        self.own: dict[str, Tensor] = {}
        self._items: dict[str, Tensor] = {}
        if (states := graph.user_states()) is not None and {"x", "x_dict"} & {*self.names}:
            self.own["x"] = states
        for name, rows in _node_rows(model):
            users = graph.rows_of_users(name, rows)
            if users is not None:
                self.own[f"model.{name}"] = users.detach()
            elif len(rows) == graph.sizes[1]:
                self._items[f"model.{name}"] = rows.detach()

    def everyone(self) -> tuple[Tensor, Tensor]:
        """The states after all layers of users, float[U, d], and of items, float[n, d]."""
        with torch.no_grad():
            returned = self(self.graph.arguments())
            return self._pair(returned, self.graph.sizes, self.graph.split)

    def alone(self, own: Mapping[str, Tensor]) -> Tensor:
        """The state after all layers of a user who starts with ``own``, [1, d]."""
        held = {name: one for name, one in own.items() if name != "x"}
        held |= {name: torch.zeros((0, rows.shape[1])) for name, rows in self._items.items()}
        with _Split(self.graph.sizes):
            returned = torch.func.functional_call(self, held, (self.graph.arguments(own),))
        return self._pair(returned, (1, 0), lambda states: (states, states[:0]))[0]

    def forward(self, known: Mapping[str, Any]) -> Any:
        """Call the method with the arguments that it names."""
        return getattr(self.model, self.method)(**{name: known[name] for name in self.names})

    def _pair(self, returned: Any, sizes: tuple[int, int], split: Any) -> tuple[Tensor, Tensor]:
        """The states of users and items in what a model returned.

        Raises:
            ModelError: it returned something else.
        """
        if isinstance(returned, Mapping):
            return self.graph.pick(returned)
        if isinstance(returned, Tensor) and returned.dim() == 2:
            pair: tuple[Tensor, Tensor] = split(returned)
            return pair
        if isinstance(returned, tuple | list) and len(returned) == 2:
            users, items = returned
            if (len(users), len(items)) == sizes:
                return users, items
        raise ModelError(
            f"model.{self.method}: expected the states of all nodes, or those of users and those "
            f"of items, got {_described(returned)}; name another method with method="
        )


def _node_rows(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """The matrices of a model that are no weights of layers, by name."""
    for path, module in model.named_modules():
        layer = type(module).__module__.partition(".")[0] in ("torch", "torch_geometric")
        if layer and not isinstance(module, nn.Embedding | nn.ParameterDict | nn.ParameterList):
            continue
        for name, one in [
            *module.named_parameters(recurse=False),
            *module.named_buffers(recurse=False),
        ]:
            if one.dim() == 2:
                yield f"{path}.{name}".strip("."), one


def _described(returned: Any) -> str:
    if isinstance(returned, Tensor):
        return f"the shape {[*returned.shape]}"
    if isinstance(returned, tuple | list):
        return f"{len(returned)} values: {', '.join(map(_described, returned))}"
    return type(returned).__name__


class _Split(TorchFunctionMode):
    """Splits all nodes into users and items where a user is the only node."""

    def __init__(self, sizes: tuple[int, int]) -> None:
        super().__init__()
        self.sizes = sizes

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if getattr(func, "__name__", "") in ("split", "split_with_sizes") and len(args) > 1:
            x, sizes = args[0], args[1]
            if not isinstance(sizes, int) and tuple(sizes) == self.sizes and len(x) == 1:
                return x, x[:0]
        return func(*args, **(kwargs or {}))
