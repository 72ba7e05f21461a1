"""Trace a torch module, and lower what was traced to the ops of an encoder."""

from __future__ import annotations

import inspect
import logging
import warnings
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from edgerec.errors import ModelError
from edgerec.importing import edges, heads, pointwise, reductions, shapes
from edgerec.importing.builder import Builder
from edgerec.importing.rules import RULES, Rule
from edgerec.importing.values import Edges, Heads, Value
from edgerec.model.ops import Op

__all__ = ["ending_in_user", "lower", "trace"]

#: The modules that register rules when they are imported.
_REGISTERED = (edges, pointwise, reductions, shapes)


def trace(encoder: nn.Module, examples: Mapping[str, Any]) -> Any:
    """The module as a graph of ATen ops.

    Raises:
        ModelError: it cannot be traced, because what it does depends on the numbers, for example.
    """
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)  # what torch tells its own developers
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.export.export(encoder, (), dict(examples), strict=False)
            return program.run_decompositions()
    except Exception as error:  # torch raises many kinds
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise ModelError(f"encoder: torch.export cannot trace it: {lines[0]}") from error
    finally:
        logging.disable(before)


def lower(program: Any, values: Mapping[str, Any], builder: Builder) -> Value:
    """Add the ops of a traced module; return the value that it returns."""
    signature = program.graph_signature
    state = {**program.state_dict, **program.constants}
    stored = {
        **signature.inputs_to_parameters,
        **signature.inputs_to_buffers,
        **signature.inputs_to_lifted_tensor_constants,
    }
    known: dict[Any, Any] = {}
    for node in program.graph.nodes:
        if node.op == "placeholder":
            known[node] = state[stored[node.name]] if node.name in stored else values[node.name]
        elif node.op == "call_function":
            known[node] = _call(node, known, builder)
        elif node.op == "output":
            returned = [known[one] for one in node.args[0]]
            if len(returned) != 1 or not isinstance(returned[0], Value | Heads):
                raise ModelError("encoder: expected one tensor that depends on the history")
            return heads.solid(builder, returned[0])
    raise ModelError("encoder: it returns nothing")


def _call(node: Any, known: Mapping[Any, Any], builder: Builder) -> Any:
    """What a call of the traced graph returns: values, or tensors that no user changes.

    Raises:
        ModelError: there is no rule for the op.
    """
    arguments = torch.fx.node.map_arg(node.args, lambda one: known[one])
    options = dict(torch.fx.node.map_arg(dict(node.kwargs), lambda one: known[one]))
    if getattr(node.target, "__name__", "") == "getitem":
        return arguments[0][arguments[1]]
    if not _has_value(arguments) and not _has_value(list(options.values())):
        return node.target(*arguments, **options)
    name = node.target._schema.name.rpartition("::")[2] if hasattr(node.target, "_schema") else ""
    if name == "_assert_tensor_metadata":
        return None  # the check of a conversion
    first = next(heads.flat(arguments))
    rules: dict[str, Rule] = edges.ON_EDGES if isinstance(first, Edges) else RULES
    rule = rules.get(name)
    where = _line(node)
    if rule is None:
        raise ModelError(f"encoder: {name or node.target} cannot be lowered{where}")
    if "_name" in inspect.signature(rule).parameters:
        options["_name"] = name
    try:
        if any(isinstance(one, Heads) for one in heads.flat(arguments)):
            return heads.call(name, rule, builder, arguments, options)
        return rule(builder, *arguments, **options)
    except ModelError as error:
        raise ModelError(f"encoder: {error}{where}") from None
    except TypeError as error:
        raise ModelError(
            f"encoder: {name}: this form cannot be lowered ({error}){where}"
        ) from error


def _has_value(arguments: Any) -> bool:
    return any(isinstance(one, Value | Heads | Edges) for one in heads.flat(arguments))


def _line(node: Any) -> str:
    """Where the module calls an op: the module inside it, its file, line and code."""
    inside = [*(node.meta.get("nn_module_stack") or {}).values()][1:]
    where = f", in {inside[-1][0]} ({inside[-1][1].rpartition('.')[2]})" if inside else ""
    lines = [line.strip() for line in (node.stack_trace or "").splitlines() if line.strip()]
    places = [n for n, line in enumerate(lines) if line.startswith("File ")]
    # Its own line rather than one of torch's.
    places = [n for n in places if "/torch/" not in lines[n]] or places
    return f"{where}, in {' '.join(lines[places[-1] :][:2])}" if places else where


def ending_in_user(ops: list[Op], user: Value, width: int) -> tuple[Op, ...]:
    """The ops that are needed to compute ``user`` as [1, d].

    Raises:
        ModelError: the module returns something else than d numbers.
    """
    high, wide = user.size
    if {high, wide} != {1, width} or high * wide != width:
        raise ModelError(
            f"encoder: expected a user vector of {width} numbers, the width of the candidates, got "
            f"the shape {[*user.shape]}"
        )
    if wide == 1 and width > 1:
        ops, name = [*ops, Op("Transpose", (user.name,), "turned")], "turned"
    else:
        name = user.name
    needed, kept = {name}, []
    for op in reversed(ops):
        if op.output in needed:
            needed.update(op.inputs)
            inputs = tuple("user" if one == name else one for one in op.inputs)
            kept.append(Op(op.kind, inputs, "user" if op.output == name else op.output, op.given))
    if not kept:  # it returns an input of one row, which is the sum of its rows
        return (Op("ReduceSum", (name,), "user"),)
    return tuple(reversed(kept))
