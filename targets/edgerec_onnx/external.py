"""Point a graph's external data at the bundle that holds it, without the onnx package."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from edgerec_onnx.protobuf import encode_field, fields

__all__ = ["relocate"]

#: Field numbers of ModelProto, GraphProto and TensorProto (pairs of key and value).
GRAPH, INITIALIZER, EXTERNAL = 7, 5, 13


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
        found = list(fields(tensor))
        entries = dict(_pair(value) for number, value, _ in found if number == EXTERNAL)
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
        kept = b"".join(raw for number, _, raw in found if number != EXTERNAL)
        for pair in entries.items():
            key, value = (text.encode("utf-8") for text in pair)
            kept += encode_field(EXTERNAL, encode_field(1, key) + encode_field(2, value))
        return kept

    return _change(model, GRAPH, lambda graph: _change(graph, INITIALIZER, initializer))


def _change(message: bytes, wanted: int, change: Callable[[bytes], bytes]) -> bytes:
    return b"".join(
        encode_field(number, change(value)) if number == wanted else raw
        for number, value, raw in fields(message)
    )


def _pair(entry: bytes) -> tuple[str, str]:
    texts = [value.decode("utf-8") for _, value, _ in fields(entry)]
    if len(texts) != 2:
        raise ValueError("external data: expected pairs of key and value")
    return texts[0], texts[1]


def _number(entries: Mapping[str, str], name: str) -> int:
    """A number of external data, 0 by default; Python's ``int`` would take more than digits."""
    text = entries.get(name, "0")
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise ValueError(f"external data: {name}: expected a number, got {text!r:.60}")
    return int(text)
