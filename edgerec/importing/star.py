"""Run a graph neural network on the star of one user and the items of their history.

What items send in a layer depends on no single user, so it is recorded once on the whole graph and
becomes a table. On the star, the model runs with the user as its only node, and each convolution
gets the recorded rows of the user's own items as neighbors.
"""

from __future__ import annotations

import contextlib
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from edgerec.errors import ModelError
from edgerec.importing.network import Network

__all__ = ["Round", "Star", "record"]


@dataclass
class Round:
    """One call of a convolution.

    Args:
        rows: what items send to users, float[n, e]; None if they send nothing.
        width: of what the convolution returns.
        degrees: how many edges end in each item, float[n].
        pair: whether it takes items and users apart.
        loop: whether it adds an edge from each node to itself.
    """

    rows: Tensor | None
    width: int
    degrees: Tensor
    pair: bool = False
    loop: bool = False


def record(network: Network) -> tuple[tuple[Tensor, Tensor], list[Round]]:
    """Run a model on its whole graph; return the states, and what its convolutions got.

    Raises:
        ModelError: a convolution reads more than states and edges.
    """
    rounds: list[Round] = []

    def listen(conv: nn.Module, forward: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        x, edge_index = _read(conv, forward, args, kwargs)
        rows = network.graph.sent(x, edge_index)
        found = forward(*args, **kwargs)
        made = Round(rows, found.shape[-1], network.graph.degrees(edge_index))
        if rows is not None:
            _try(type(conv).__name__, forward, made, x)
        rounds.append(made)
        return found

    with _hooked(network.model, listen):
        return network.everyone(), rounds


class Star(nn.Module):
    """A model on the star of one user.

    Args:
        network: the model.
        rounds: what its convolutions got on the whole graph.
    """

    def __init__(self, network: Network, rounds: list[Round]) -> None:
        super().__init__()
        self.network, self.rounds = network, rounds

    def forward(self, rows: list[Tensor], own: list[Tensor], edges: list[Tensor]) -> Tensor:
        """The user's state after all layers, [1, d].

        Args:
            rows: what past items send in each round in which they send something, [H, e] each.
            own: what the user starts with, [1, e] each.
            edges: int64[2, H], from the past items to a user apart, and to one below them.
        """
        calls, sent = iter(self.rounds), iter(rows)

        def answer(conv: nn.Module, forward: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
            made = next(calls)
            x, _ = _read(conv, forward, args, kwargs)
            user = x[-1] if isinstance(x, tuple | list) else x
            if made.rows is None:
                return user.new_zeros((0, made.width))
            return _conv(forward, made, next(sent), user, edges)

        with _hooked(self.network.model, answer):
            return self.network.alone(dict(zip(self.network.own, own, strict=True)))


def _conv(
    forward: Callable[..., Any], made: Round, rows: Tensor, user: Tensor, edges: list[Tensor]
) -> Tensor:
    """The user's state after a convolution over the star."""
    apart = made.pair and not made.loop
    nodes = rows if apart else torch.cat([rows, user])
    with _loops(len(rows), 0 if made.pair else len(rows)):
        if made.pair:
            found: Tensor = forward((nodes, user), edges[0])
            return found
        return forward(nodes, edges[1])[-1:]


def _try(named: str, forward: Callable[..., Any], made: Round, x: Any) -> None:
    """Find out whether a convolution adds loops, and whether it takes nodes apart."""
    if isinstance(x, tuple | list) and x[0] is not x[1]:
        made.pair = True
        return
    assert made.rows is not None  # noqa: S101  # the caller checked
    rows, user = made.rows[:3], made.rows[3:4] + 1
    if len(user) == 0:
        return
    edges = [torch.stack([torch.arange(3), torch.full((3,), end)]) for end in (0, 3)]
    added: list[bool] = []
    try:
        with _loops(3, 3, added):
            whole = forward(torch.cat([rows, user]), edges[1])[-1:]
    except Exception as error:
        raise ModelError(f"model: {named} cannot run on a user and three items: {error}") from error
    made.loop = bool(added)
    made.pair = True
    try:
        apart = _conv(forward, made, rows, user, edges)
    except Exception:  # noqa: BLE001  # what it is not made for fails in many ways
        made.pair = False
    else:
        made.pair = apart.shape == whole.shape and torch.allclose(apart, whole, atol=1e-6)


def _read(
    conv: nn.Module, forward: Callable[..., Any], args: Any, kwargs: Mapping[str, Any]
) -> tuple[Any, Tensor]:
    """The states and the edges of a call.

    Raises:
        ModelError: it reads more, or sends against the direction of edges.
    """
    given = dict(inspect.signature(forward).bind(*args, **kwargs).arguments)
    x, *others = given
    named = type(conv).__name__
    if extra := [n for n in others if n != "edge_index" and isinstance(given[n], Tensor)]:
        raise ModelError(
            f"model: {named} reads {', '.join(extra)}; only convolutions of states and an "
            "edge_index can be imported"
        )
    x, edge_index = given[x], given.get("edge_index")
    if not isinstance(edge_index, Tensor) or getattr(conv, "flow", "") == "target_to_source":
        raise ModelError(f"model: {named}: expected an edge_index from sources to targets")
    return x, edge_index


@contextlib.contextmanager
def _hooked(model: nn.Module, call: Callable[..., Any]) -> Iterator[None]:
    """Call ``call(conv, forward, …)`` instead of each outermost convolution of a model."""
    from torch_geometric.nn import MessagePassing

    found: list[nn.Module] = []

    def visit(module: nn.Module) -> None:
        if isinstance(module, MessagePassing):
            found.append(module)
        else:
            for child in module.children():
                visit(child)

    visit(model)
    try:
        for conv in dict.fromkeys(found):
            forward = conv.forward

            def hooked(*args: Any, conv: Any = conv, forward: Any = forward, **kwargs: Any) -> Any:
                return call(conv, forward, *args, **kwargs)

            conv.forward = hooked  # undone below
        yield
    finally:
        for conv in dict.fromkeys(found):
            conv.__dict__.pop("forward", None)


@contextlib.contextmanager
def _loops(source: int, target: int, added: list[bool] | None = None) -> Iterator[None]:
    """Let convolutions add one edge from the user to itself instead of one per node."""
    from torch_geometric import utils

    def add(
        edge_index: Tensor, edge_attr: Any = None, fill_value: Any = None, *_: Any, **__: Any
    ) -> Any:
        if added is not None:
            added.append(True)
        loop = torch.tensor([[source], [target]])
        if edge_attr is not None:
            value = 1.0 if fill_value is None else float(fill_value)
            edge_attr = torch.cat([edge_attr, edge_attr.new_full((1,), value)])
        return torch.cat([edge_index, loop], 1), edge_attr

    def remove(edge_index: Tensor, edge_attr: Any = None) -> Any:
        return edge_index, edge_attr

    replaced = {
        utils.add_self_loops: add,
        utils.add_remaining_self_loops: add,
        utils.remove_self_loops: remove,
    }
    names = [function.__name__ for function in replaced]
    undo = []
    try:
        for module in list(sys.modules.values()):
            held = getattr(module, "__dict__", {})
            for name in names:
                function = held.get(name)
                if callable(function) and function in replaced:
                    undo.append((module, name, function))
                    setattr(module, name, replaced[function])
        yield
    finally:
        for module, name, function in undo:
            setattr(module, name, function)
