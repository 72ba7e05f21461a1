"""Check a graph on the device, before onnxruntime reads files, loops or allocates because of it."""

from __future__ import annotations

import numpy as np

from edgerec_onnx.protobuf import fields

__all__ = ["check_graph"]

#: Field numbers of ModelProto, GraphProto, NodeProto and TensorProto.
GRAPH, FUNCTIONS = 7, 25
NODE, INITIALIZER, SPARSE_INITIALIZER = 1, 5, 15
INPUT, OPERATOR, ATTRIBUTE = 1, 4, 5
DATA_TYPE, INTEGERS, NAME, RAW, EXTERNAL = 2, 7, 8, 9, 13

#: The data type of 64-bit integers.
INT64 = 7

#: Field numbers of AttributeProto that hold tensors, graphs, and sparse tensors.
TENSORS, GRAPHS, SPARSE_TENSORS = (5, 10), (6, 11), (22, 23)

#: How deep graphs may be nested in nodes.
DEEPEST = 4


def check_graph(model: bytes, items: int) -> None:
    """Check that a graph reads only the bundle, ends, and makes no values of absurd sizes.

    External data may only be in initializers of the outermost graph, because onnxruntime would read
    it from any file in the folder. Integers, which are shapes, counts and rows, have to be of the
    size of the catalogue. A loop has to have a constant number of rounds.

    Args:
        model: a serialized ModelProto.
        items: the number of rows of the catalogue.

    Raises:
        ValueError: it does not; the text says why.
    """
    most = 4 * items + 2**16
    for number, value, _ in fields(model):
        if number == FUNCTIONS:
            raise ValueError("it has functions of its own, which this target does not write")
        if number == GRAPH:
            _check(value, most, 0)


def _check(graph: bytes, most: int, depth: int) -> None:
    if depth > DEEPEST:
        raise ValueError(f"it has graphs nested more than {DEEPEST} deep")
    constants = set()
    for kind, value, _ in fields(graph):
        if kind == SPARSE_INITIALIZER:
            raise ValueError("it has sparse initializers, which this target does not write")
        if kind == INITIALIZER:
            constants.add(_check_tensor(value, most, depth == 0))
    for kind, value, _ in fields(graph):
        if kind == NODE:
            _check_node(value, constants, most, depth)


def _check_node(node: bytes, constants: set[bytes], most: int, depth: int) -> None:
    inputs, kind = [], b""
    for number, value, _ in fields(node):
        if number == INPUT:
            inputs.append(value)
        elif number == OPERATOR:
            kind = value
        elif number == ATTRIBUTE:
            for what, inner, _ in fields(value):
                if what in SPARSE_TENSORS:
                    raise ValueError("a node has a sparse tensor, which this target does not write")
                if what in GRAPHS:
                    _check(inner, most, depth + 1)
                if what in TENSORS:
                    _check_tensor(inner, most, False)
    if kind == b"Loop" and (depth or not inputs or inputs[0] not in constants):
        raise ValueError("a loop should have a constant number of rounds")


def _check_tensor(tensor: bytes, most: int, may_be_outside: bool) -> bytes:
    """Check a constant, and return its name."""
    found, is_int64 = {}, False
    for number, value, whole in fields(tensor):
        found[number] = value
        is_int64 = is_int64 or (number == DATA_TYPE and whole[-1] == INT64)
    if EXTERNAL in found and not may_be_outside:
        raise ValueError("external data outside the initializers of the graph")
    raw = found.get(RAW, b"")
    if INTEGERS in found:
        raise ValueError("integers should be raw data")
    if raw and is_int64:
        if len(raw) % 8:
            raise ValueError("integers should have 8 bytes each")
        values = np.frombuffer(raw, "<i8")
        if values.max() > most or values.min() < -most:
            raise ValueError(f"an integer is beyond {most:,}, which no shape or row needs")
    return found.get(NAME, b"")
