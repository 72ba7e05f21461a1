"""The layout of a ``.pte`` file: store each run of bytes once.

The exporter writes a table twice if both ops and a delegate read it: among the constants, and as
data that the delegate finds by name. Both are offsets in the file, so the second may point to the
first::

    offset  what
         0  FlatBuffer of the program; from byte 8 on a header: "eh00", its own length,
            uint64 size of the program, base of the segments, size of all segments
      base  segments: the constants, the delegates' graphs, then named data, each at the
            offset from the base given in the program's list of segments
"""

from __future__ import annotations

import struct

from flatbuffers import encode
from flatbuffers.number_types import Uint32Flags, Uint64Flags
from flatbuffers.packer import uoffset
from flatbuffers.table import Table

from edgerec.plugin import TargetError

__all__ = ["operators", "share"]

#: The offsets of two numbers in the header: the base and the size of the segments.
BASE, SIZE = 24, 32

#: Fields of tables in the schema: of Program, ExecutionPlan, Operator, DataSegment and NamedData.
PLANS, SEGMENTS, NAMED_DATA = 6, 12, 18
OPERATORS = 16
NAME, OVERLOAD = 4, 6
SEGMENT_OFFSET, SEGMENT_SIZE = 4, 6
SEGMENT_INDEX = 6

#: The alignment of data that XNNPACK requires.
ALIGNMENT = 16


def share(data: bytes) -> bytes:
    """Remove named data that occurs earlier in the file, and point its name there.

    Raises:
        TargetError: the file does not have the layout above.
    """
    program = Table(data, encode.Get(uoffset, data, 0))
    segments = _entries(program, SEGMENTS)
    named = {t.GetSlot(SEGMENT_INDEX, 0, Uint32Flags) for t in _entries(program, NAMED_DATA)}
    first = len(segments) - len(named)
    if data[8:12] != b"eh00" or named != set(range(first, len(segments))):
        raise TargetError("executorch: the exporter wrote a file with an unknown layout")
    if not named:
        return data
    (base,) = struct.unpack_from("<Q", data, BASE)
    ends = [_number(s, SEGMENT_OFFSET) + _number(s, SEGMENT_SIZE) for s in segments[:first]]
    out = bytearray(data[: base + max(ends)])
    # Large ones first, because a small one may be part of a large one.
    for segment in sorted(segments[first:], key=lambda s: -_number(s, SEGMENT_SIZE)):
        start = base + _number(segment, SEGMENT_OFFSET)
        content = data[start : start + _number(segment, SEGMENT_SIZE)]
        place = out.find(content, base)
        if place < 0 or place % ALIGNMENT:
            out += bytes(-len(out) % ALIGNMENT)
            place = len(out)
            out += content
        struct.pack_into("<Q", out, segment.Pos + segment.Offset(SEGMENT_OFFSET), place - base)
    struct.pack_into("<Q", out, SIZE, len(out) - base)
    return bytes(out)


def operators(data: bytes) -> list[str]:
    """The names of the operators that a program runs outside delegates, as ``aten::mm.out``."""
    found = set()
    for plan in _entries(Table(data, encode.Get(uoffset, data, 0)), PLANS):
        for operator in _entries(plan, OPERATORS):
            parts = [operator.String(operator.Pos + operator.Offset(f)) for f in (NAME, OVERLOAD)]
            name, overload = (part.decode("utf-8") for part in parts)
            found.add(f"{name}.{overload}" if overload else name)
    return sorted(found)


def _entries(owner: Table, field: int) -> list[Table]:
    """The tables in a vector of tables."""
    at = owner.Offset(field)
    if not at:
        return []
    start = owner.Vector(at)
    return [Table(owner.Bytes, owner.Indirect(start + 4 * i)) for i in range(owner.VectorLen(at))]


def _number(segment: Table, field: int) -> int:
    return int(segment.GetSlot(field, 0, Uint64Flags))
