"""Point a graph's external data at the bundle that holds it, without the onnx package.

A device has onnxruntime only. This much of the protocol buffers' wire format is needed: a message
is a sequence of fields, each with a key, (number << 3) | kind, and a value. A value
of kind 2, a length followed by that many bytes, is a string or a nested message.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

__all__ = ["check_loops", "relocate"]

#: Field numbers of ModelProto, GraphProto, NodeProto and TensorProto (pairs of key and value).
GRAPH, FUNCTIONS = 7, 25
NODE, INITIALIZER, SPARSE_INITIALIZER = 1, 5, 15
INPUT, OPERATOR, ATTRIBUTE = 1, 4, 5
NAME, RAW, EXTERNAL = 8, 9, 13

#: Field numbers of AttributeProto that hold tensors, graphs, and sparse tensors.
TENSORS, GRAPHS, SPARSE_TENSORS = (5, 10), (6, 11), (22, 23)

#: How deep graphs may be nested in nodes.
DEEPEST = 4


def relocate(model: bytes, file: str, places: Mapping[str, tuple[int, int]]) -> bytes:
    """Return the model with all external data, in separate files, relocated to one file.

    Args:
        model: a serialized ModelProto.
        file: the name of that file, without its folder.
        places: the offset within that file and the size of each file of external data, by name.

    Raises:
        ValueError: the bytes are not protocol buffers, or external data is anywhere else.
    """

    def initializer(tensor: bytes) -> bytes:
        fields = list(_fields(tensor))
        entries = dict(_pair(value) for number, value, _ in fields if number == EXTERNAL)
        if not entries:
            return tensor
        start, length = (_number(entries, name) for name in ("offset", "length"))
        if entries.get("location") not in places:
            raise ValueError(
                f"external data in {entries.get('location')!r}, which is no part of it"
            )
        place, size = places[entries["location"]]
        if start + length > size:
            raise ValueError(f"external data beyond the end of {entries['location']!r}")
        entries |= {"location": file, "offset": str(place + start)}
        kept = b"".join(raw for number, _, raw in fields if number != EXTERNAL)
        new = (_field(1, k.encode()) + _field(2, v.encode("utf-8")) for k, v in entries.items())
        return kept + b"".join(_field(EXTERNAL, entry) for entry in new)

    def graph(message: bytes) -> bytes:
        _check_nodes(message)
        return _change(message, INITIALIZER, initializer)

    if any(number == FUNCTIONS for number, _, _ in _fields(model)):
        raise ValueError("it has functions of its own, which this target does not write")
    return _change(model, GRAPH, graph)


def _check_nodes(graph: bytes, depth: int = 0) -> None:
    """Refuse external data anywhere but in the initializers of the outermost graph.

    Raises:
        ValueError: there is some; onnxruntime would read it from any file in the folder.
    """
    if depth > DEEPEST:
        raise ValueError(f"it has graphs nested more than {DEEPEST} deep")
    for kind, value, _ in _fields(graph):
        if kind == SPARSE_INITIALIZER:
            raise ValueError("it has sparse initializers, which this target does not write")
        if kind == INITIALIZER and depth:
            _check_tensor(value)
        fields = list(_fields(value)) if kind == NODE else []
        if depth and any(number == OPERATOR and op == b"Loop" for number, op, _ in fields):
            raise ValueError("it has a loop within a graph of a node")
        attributes = (attribute for number, attribute, _ in fields if number == ATTRIBUTE)
        for number, inner, _ in (field for a in attributes for field in _fields(a)):
            if number in SPARSE_TENSORS:
                raise ValueError("a node has a sparse tensor, which this target does not write")
            if number in GRAPHS:
                _check_nodes(inner, depth + 1)
            if number in TENSORS:
                _check_tensor(inner)


def check_loops(model: bytes, most: int) -> None:
    """Check that every loop of a graph has a constant number of rounds, and not too many.

    Raises:
        ValueError: one does not, so that it may never end.
    """
    for _, graph, _ in (field for field in _fields(model) if field[0] == GRAPH):
        counts = dict(_count(value) for kind, value, _ in _fields(graph) if kind == INITIALIZER)
        for node in (value for kind, value, _ in _fields(graph) if kind == NODE):
            fields = list(_fields(node))
            if (OPERATOR, b"Loop") not in [(number, value) for number, value, _ in fields]:
                continue
            inputs = [value for number, value, _ in fields if number == INPUT]
            if not inputs or not 0 <= counts.get(inputs[0], -1) <= most:
                raise ValueError(f"a loop should have at most {most:,} rounds")


def _count(tensor: bytes) -> tuple[bytes, int]:
    """The name of a tensor, and its number if it is a single int64; otherwise -1."""
    fields = {number: value for number, value, _ in _fields(tensor)}
    raw = fields.get(RAW, b"")
    return fields.get(NAME, b""), int.from_bytes(raw, "little", signed=True) if len(
        raw
    ) == 8 else -1


def _check_tensor(tensor: bytes) -> None:
    if any(number == EXTERNAL for number, _, _ in _fields(tensor)):
        raise ValueError("external data outside the initializers of the graph")


def _change(message: bytes, wanted: int, change: Callable[[bytes], bytes]) -> bytes:
    return b"".join(
        _field(number, change(value)) if number == wanted else raw
        for number, value, raw in _fields(message)
    )


def _pair(entry: bytes) -> tuple[str, str]:
    texts = [value.decode("utf-8") for _, value, _ in _fields(entry)]
    if len(texts) != 2:
        raise ValueError("external data: expected pairs of key and value")
    return texts[0], texts[1]


def _number(entries: Mapping[str, str], name: str) -> int:
    """A number of external data, 0 by default; Python's ``int`` would take more than digits."""
    text = entries.get(name, "0")
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise ValueError(f"external data: {name}: expected a number, got {text!r:.60}")
    return int(text)


def _fields(message: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """The number, the value (of kind 2, otherwise empty) and the raw bytes of each field."""
    at = 0
    while at < len(message):
        start = at
        key, at = _varint(message, at)
        kind, value = key & 7, b""
        if kind == 0:
            _, at = _varint(message, at)
        elif kind == 2:
            size, at = _varint(message, at)
            value, at = message[at : at + size], at + size
        elif kind in (1, 5):
            at += 8 if kind == 1 else 4
        else:
            raise ValueError(f"not a protocol buffer: kind {kind} at byte {start}")
        if at > len(message):
            raise ValueError("not a protocol buffer: truncated")
        yield key >> 3, value, message[start:at]


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(message):
        byte = message[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at
    raise ValueError("not a protocol buffer: truncated")


def _field(number: int, value: bytes) -> bytes:
    return _encode(number << 3 | 2) + _encode(len(value)) + value


def _encode(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes(out + bytes([value]))
