"""Point a graph's external data at the bundle that holds it, without the onnx package.

A device has onnxruntime only. This much of the protocol buffers' wire format is needed: a message
is a sequence of fields, each with a key, (number << 3) | kind, and a value. A value
of kind 2, a length followed by that many bytes, is a string or a nested message.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

__all__ = ["relocate"]

#: Field numbers: ModelProto.graph, GraphProto.initializer and TensorProto.external_data (pairs of
#: key and value).
GRAPH, INITIALIZER, EXTERNAL = 7, 5, 13


def relocate(model: bytes, file: str, places: dict[str, int]) -> bytes:
    """Return the model with external data in separate files relocated to one file.

    Args:
        model: a serialized ModelProto.
        file: the name of that file, without its folder.
        places: the offset of each file of external data within that file, by name.

    Raises:
        ValueError: the bytes are not protocol buffers.
    """

    def initializer(tensor: bytes) -> bytes:
        fields = list(_fields(tensor))
        entries = dict(_pair(value) for number, value, _ in fields if number == EXTERNAL)
        if entries.get("location") not in places:
            return tensor
        offset = places[entries["location"]] + int(entries.get("offset", "0"))
        entries |= {"location": file, "offset": str(offset)}
        kept = b"".join(raw for number, _, raw in fields if number != EXTERNAL)
        new = (_field(1, k.encode()) + _field(2, v.encode("utf-8")) for k, v in entries.items())
        return kept + b"".join(_field(EXTERNAL, entry) for entry in new)

    return _change(model, GRAPH, lambda graph: _change(graph, INITIALIZER, initializer))


def _change(message: bytes, wanted: int, change: Callable[[bytes], bytes]) -> bytes:
    return b"".join(
        _field(number, change(value)) if number == wanted else raw
        for number, value, raw in _fields(message)
    )


def _pair(entry: bytes) -> tuple[str, str]:
    key, value = (value.decode("utf-8") for _, value, _ in _fields(entry))
    return key, value


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
