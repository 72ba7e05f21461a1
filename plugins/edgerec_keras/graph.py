"""The graph of a Keras model: its nodes in order, and where the user meets the items."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import keras
import numpy as np
import torch

from edgerec.plugin import F32, ModelError

__all__ = ["Graph", "array", "call", "keep", "label", "run"]


def label(node: Any) -> str:
    """The name of a node's layer, and what it is."""
    return f"{node.operation.name} ({type(node.operation).__name__})"


def run(nodes: Iterable[Any], known: dict[int, Any]) -> dict[int, Any]:
    """Compute the outputs of nodes with Keras's own layers, by the identity of its tensors."""
    for node in nodes:
        args, kwargs = node.arguments.fill_in(known)
        keep(known, node, call(node, args, kwargs))
    return known


def call(node: Any, args: Any, kwargs: Any) -> Any:
    """What a layer makes of tensors.

    Raises:
        ModelError: it fails.
    """
    try:
        return node.operation(*args, **kwargs)
    except Exception as error:  # each layer raises its own
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ModelError(f"{label(node)}: it fails on a history: {first}") from error


def keep(known: dict[int, Any], node: Any, found: Any) -> None:
    """Note what a node has computed."""
    known.update(zip(map(id, node.outputs), keras.tree.flatten(found), strict=True))


class Graph:
    """A model without models inside it.

    Args:
        model: a functional or sequential model.

    Raises:
        ModelError: it has no graph, or several outputs.
    """

    def __init__(self, model: Any) -> None:
        try:
            inputs, outputs = model.inputs, model.outputs
        except AttributeError:
            inputs = outputs = None
        if not inputs or not outputs:
            raise ModelError(
                f"{model.name} has no graph of layers; build it as a functional or sequential "
                "model with keras.Input, and save that"
            )
        self.model = model
        self.inputs: Mapping[str, Any] = {one._keras_history.operation.name: one for one in inputs}
        found = _expanded(model, inputs)
        if len(found) != 1:
            raise ModelError(
                f"{model.name} returns {len(found)} tensors; save a model that returns scores only"
            )
        self.output = found[0]
        self._reads: dict[int, frozenset[str]] = {
            id(one): frozenset([name]) for name, one in self.inputs.items()
        }
        for node in self.nodes(self.output):
            read = frozenset[str]().union(*(self.reads(one) for one in node.input_tensors))
            self._reads.update(dict.fromkeys(map(id, node.outputs), read))

    def reads(self, tensor: Any) -> frozenset[str]:
        """The names of the inputs that a tensor depends on."""
        return self._reads.get(id(tensor), frozenset())

    def nodes(self, tensor: Any) -> list[Any]:
        """The nodes that compute a tensor, in order."""
        return _ordered([tensor])

    def meeting(self, history: str, item: str) -> tuple[Any, Any, str]:
        """The tensors of the user and of the item whose product is the score, and its layer.

        Raises:
            ModelError: more than one of either enters the score.
        """
        sides: dict[frozenset[str], dict[int, Any]] = {}
        joined = []
        for node in self.nodes(self.output):
            if {history, item} <= self.reads(node.outputs[0]):
                joined.append(node)
                for one in node.input_tensors:
                    sides.setdefault(self.reads(one), {})[id(one)] = one
        found = [[*sides.get(frozenset([name]), {}).values()] for name in (history, item)]
        alone = [len(one) for one in found] == [1, 1]
        if not alone or _width(found[0][0]) != found[1][0].shape[-1]:
            names = ", ".join(dict.fromkeys(map(label, joined))) or self.model.name
            raise ModelError(
                f"{names}: expected a Dot of one user vector, which reads {history} alone, and of "
                f"one item vector as wide, which reads {item} alone"
            )
        return found[0][0], found[1][0], label(joined[0])

    def scored(self) -> tuple[Any, F32, F32, str]:
        """What the last layer over all items reads, its rows [n, d], its bias [n], and its name.

        Raises:
            ModelError: there is no such layer.
        """
        tensor, node = self.output, _made(self.output)
        while node is not None and len(node.input_tensors) == 1:
            (given,) = node.input_tensors
            if isinstance(node.operation, keras.layers.Dense) or _width(given) != _width(tensor):
                return given, *_linear(node, given), label(node)
            tensor, node = given, _made(given)
        where = label(node) if node is not None else self.model.name
        raise ModelError(
            f"{where}: expected scores of all items from one Dense layer; a model that scores one "
            "item has a second input for it"
        )


def _made(tensor: Any) -> Any:
    """The node that computes a tensor; none if it is an input."""
    made = tensor._keras_history
    node = made.operation._inbound_nodes[made.node_index]
    return None if node.is_input else node


def _width(tensor: Any) -> int:
    """How many numbers a tensor has for one user; -1 if that differs."""
    sizes = tensor.shape[1:]
    return -1 if None in sizes else math.prod(sizes)


def _linear(node: Any, given: Any) -> tuple[F32, F32]:
    """The rows [n, d] and the bias [n] of a layer that multiplies by a matrix.

    Raises:
        ModelError: it does something else.
    """
    layer, wide = node.operation, _width(given)
    if wide != given.shape[-1] or _width(node.outputs[0]) < 1:
        raise ModelError(
            f"{label(node)}: expected scores of all items from one vector per user, got the shape "
            f"{[*given.shape]}; a model that returns scores for each place has to return the last "
            "place's only"
        )
    if isinstance(layer, keras.layers.Dense):
        rows = array(layer.kernel).T
        return rows, array(layer.bias) if layer.use_bias else np.zeros(len(rows), np.float32)

    def product(vectors: F32) -> F32:
        values = torch.from_numpy(vectors).reshape(-1, *given.shape[1:])
        with torch.no_grad():
            found = run([node], {id(given): values})[id(node.outputs[0])]
        return array(found).reshape(len(vectors), -1)

    bias = product(np.zeros((1, wide), np.float32))[0]
    rows = (product(np.eye(wide, dtype=np.float32)) - bias).T
    probe = np.random.default_rng(0).normal(size=(8, wide)).astype(np.float32)
    wanted = product(probe)
    if np.abs(probe @ rows.T + bias - wanted).max() > 1e-3 * np.abs(wanted).max():
        raise ModelError(f"{label(node)}: expected scores of all items from one Dense layer")
    return rows, bias


def array(values: Any) -> F32:
    """Numbers of Keras as an array, float32[...]."""
    return np.asarray(keras.ops.convert_to_numpy(values), np.float32)


def _ordered(tensors: Iterable[Any]) -> list[Any]:
    """The nodes that compute tensors, each after those that it reads."""
    found: dict[int, Any] = {}
    waiting = [(one, False) for one in map(_made, tensors)]
    while waiting:
        node, ready = waiting.pop()
        if node is None or id(node) in found:
            continue
        if ready:
            found[id(node)] = node
        else:
            waiting.append((node, True))
            waiting += [(_made(one), False) for one in node.input_tensors]
    return [*found.values()]


def _expanded(model: Any, given: list[Any]) -> list[Any]:
    """The outputs of a model for given tensors, by layers that are no models.

    Calling a layer on symbolic tensors adds the nodes of its masks, too.
    """
    known = dict(zip(map(id, model.inputs), given, strict=True))
    for node in _ordered(model.outputs):
        args, kwargs = node.arguments.fill_in(known)
        if isinstance(node.operation, keras.Model):
            keep(known, node, _expanded(node.operation, keras.tree.flatten(args)))
        else:
            keep(known, node, node.operation(*args, **kwargs))
    return [known[id(one)] for one in model.outputs]
