"""The wire format of protocol buffers, as far as a device needs it, which has no onnx package.

A message is a sequence of fields, each with a key, (number << 3) | kind, and a value. A value of
kind 2, a length followed by that many bytes, is a string or a nested message.
"""

from __future__ import annotations

from collections.abc import Iterator

__all__ = ["encode_field", "fields"]


def fields(message: bytes) -> Iterator[tuple[int, bytes, bytes]]:
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


def encode_field(number: int, value: bytes) -> bytes:
    """A field of kind 2."""
    return _encode(number << 3 | 2) + _encode(len(value)) + value


def _encode(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes(out + bytes([value]))
