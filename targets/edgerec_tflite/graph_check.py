"""Check a TFLite graph on the device, because kernels crash on some graphs that they never expect.

A runtime verifies that a file is a FlatBuffer, but not that an operator reads what was computed
before it. This reads just enough of the schema, without the flatbuffers package: the subgraph's
tensors and operators. Field numbers are those of TensorFlow's ``schema.fbs``.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence

__all__ = ["check_graph"]

#: Bits per number of the types in use: float32, float16, int32, uint8, bool, int16, int8, int4.
_BITS = {0: 32, 1: 16, 2: 32, 3: 8, 6: 8, 7: 16, 9: 8, 17: 4}

#: The most operators and tensors that are read.
_MOST = 10_000

#: The most subgraphs, one per function.
_MOST_GRAPHS = 2


class _Table:
    """A table of a FlatBuffer: a vtable with the place of each field, relative to the table."""

    def __init__(self, data: bytes, at: int) -> None:
        self.data, self.at = data, at
        self.vtable = at - _int(data, at)
        self.size = _unsigned(data, self.vtable, 2)

    def place(self, field: int) -> int:
        """The offset of a field in the file; 0 if it has its default."""
        entry = 4 + 2 * field
        offset = _unsigned(self.data, self.vtable + entry, 2) if entry < self.size else 0
        return self.at + offset if offset else 0

    def number(self, field: int, width: int = 4) -> int:
        """An unsigned integer."""
        place = self.place(field)
        return _unsigned(self.data, place, width) if place else 0

    def vector(self, field: int) -> tuple[int, int]:
        """The place and the length of a vector."""
        place = self.place(field)
        if not place:
            return 0, 0
        place += _unsigned(self.data, place, 4)
        return place + 4, _unsigned(self.data, place, 4)

    def integers(self, field: int) -> Sequence[int]:
        """A vector of int32."""
        place, length = self.vector(field)
        if length > _MOST:
            raise ValueError("a vector is too long")
        return struct.unpack_from(f"<{length}i", self.data, place)

    def tables(self, field: int) -> list[_Table]:
        """A vector of tables."""
        place, length = self.vector(field)
        if length > _MOST:
            raise ValueError("a vector is too long")
        places = (place + 4 * number for number in range(length))
        return [_Table(self.data, at + _unsigned(self.data, at, 4)) for at in places]


def check_graph(data: bytes) -> None:
    """Check that each operator reads constants, inputs or what an earlier operator computes.

    Raises:
        ValueError: one does not, or a constant does not have the size of its shape.
    """
    try:
        _check(data)
    except (struct.error, OverflowError):
        raise ValueError("it is not a FlatBuffer of TFLite") from None


def _check(data: bytes) -> None:
    model = _Table(data, _unsigned(data, 0, 4))
    subgraphs, buffers = model.tables(2), model.tables(4)
    if not 1 <= len(subgraphs) <= _MOST_GRAPHS:
        raise ValueError(f"expected one or two subgraphs, got {len(subgraphs)}")
    sizes = [buffer.vector(0)[1] for buffer in buffers]
    for graph in subgraphs:
        _check_subgraph(graph, sizes)


def _check_subgraph(graph: _Table, sizes: Sequence[int]) -> None:
    tensors, inputs, outputs = graph.tables(0), graph.integers(1), graph.integers(2)
    known = set(inputs)
    for index, tensor in enumerate(tensors):
        shape, kind, buffer = tensor.integers(0), tensor.number(1, 1), tensor.number(2)
        if kind not in _BITS or any(length < 0 for length in shape) or buffer >= len(sizes):
            raise ValueError(f"tensor {index} has no type, shape or buffer that is written here")
        if not sizes[buffer]:
            continue
        if index in known or sizes[buffer] != -(-math.prod(shape) * _BITS[kind] // 8):
            raise ValueError(f"tensor {index} does not have the size of its constant")
        known.add(index)
    for number, operator in enumerate(graph.tables(3)):
        read, made = operator.integers(1), operator.integers(2)
        if not read or not made or not known.issuperset(read):
            raise ValueError(f"operator {number} reads what is not computed before it")
        if (
            known & {*made}
            or len({*made}) < len(made)
            or not all(0 <= index < len(tensors) for index in made)
        ):
            raise ValueError(f"operator {number} writes to a tensor that is taken")
        known.update(made)
    if not known.issuperset(outputs) or not all(0 <= i < len(tensors) for i in (*inputs, *outputs)):
        raise ValueError("an output is not computed")


def _int(data: bytes, at: int) -> int:
    value: int = struct.unpack_from("<i", data, at)[0]
    return value


def _unsigned(data: bytes, at: int, width: int) -> int:
    if at < 0:  # which would count from the end
        raise struct.error
    value: int = struct.unpack_from({1: "<B", 2: "<H", 4: "<I"}[width], data, at)[0]
    return value
