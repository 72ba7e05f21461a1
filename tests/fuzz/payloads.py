"""Mutations of the files that runtimes read: ONNX graphs, FlatBuffers and zip archives."""

from __future__ import annotations

import io
import random
import struct
import zipfile
from typing import Any

__all__ = ["change_payload"]


def change_payload(name: str, content: bytes, rng: random.Random) -> tuple[str, bytes]:
    """Change a payload where it matters to its format, or anywhere."""
    if rng.random() < 0.2:
        return "bytes", _bytes(content, rng)
    if name.endswith(".onnx"):
        return _onnx(content, rng)
    if name.endswith(".ptl"):
        return _zip(content, rng)
    return _words(content, rng)


def _bytes(content: bytes, rng: random.Random) -> bytes:
    """Flip bits, cut off, repeat or insert."""
    data = bytearray(content)
    what, place = rng.randrange(5), rng.randrange(len(data))
    if what == 0:
        return bytes(data[:place])
    if what == 1:
        return bytes(data + data[place:])
    if what == 2:
        return bytes(data[:place] + rng.randbytes(4) + data[place:])
    for _ in range(rng.randint(1, 8)):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(data)


def _words(content: bytes, rng: random.Random) -> tuple[str, bytes]:
    """Change 32-bit words of a FlatBuffer: offsets, indexes, shapes, and entries of vtables."""
    data = bytearray(content)
    # Tables and shapes are small and near both ends; most of the rest is the contents of buffers.
    span = len(data) // 4
    for _ in range(rng.randint(1, 2)):
        near = rng.randrange(min(span, 1500))
        place = 4 * (near if rng.random() < 0.5 else span - 1 - near)
        (old,) = struct.unpack_from("<i", data, place)
        new = rng.choice([old + 1, old - 1, 0, -1, 1, 2**31 - 1, old * 2, old ^ 0xFF, old + 4, 64])
        struct.pack_into("<i", data, place, (new + 2**31) % 2**32 - 2**31)
    return "words", bytes(data)


def _zip(content: bytes, rng: random.Random) -> tuple[str, bytes]:
    """Change a member of a zip archive, with a CRC that fits."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name = rng.choice([name for name, data in members.items() if data])
    members[name] = _bytes(members[name], rng)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for member, data in members.items():
            archive.writestr(member, data)
    return "member", out.getvalue()


def _onnx(content: bytes, rng: random.Random) -> tuple[str, bytes]:
    import onnx  # not in the environment of executorch

    model = onnx.load_from_string(content)
    graph = model.graph
    node = rng.choice(graph.node)
    tensor = rng.choice(graph.initializer)
    number: Any = rng.choice([0, -1, 1, 2, 7, 100, 2**20, 2**31 - 1, -(2**31)])
    names = [i.name for i in graph.initializer] + [o for n in graph.node for o in n.output]
    match what := rng.choice(
        ["input", "op", "attribute", "dims", "type", "external", "data", "io", "drop", "swap"]
    ):
        case "input":
            if node.input:
                node.input[rng.randrange(len(node.input))] = rng.choice([*names, "", "nope"])
        case "op":
            kinds = ["Identity", "Exp", "Add", "Expand", "Gather", "TopK", "Nope", "NonZero"]
            node.op_type = rng.choice(kinds)
        case "attribute":
            if node.attribute:
                attribute = rng.choice(node.attribute)
                attribute.i, attribute.f = number, float(number)
        case "dims":
            if tensor.dims:
                tensor.dims[rng.randrange(len(tensor.dims))] = number
        case "type":
            tensor.data_type = rng.randrange(20)
        case "external":
            if tensor.external_data:
                entry = rng.choice(tensor.external_data)
                entry.value = rng.choice([str(number), "/etc/passwd", "x", "", "-", "9" * 30])
        case "data":
            if tensor.raw_data:
                data = bytearray(tensor.raw_data)
                data[rng.randrange(len(data))] = rng.randrange(256)
                tensor.raw_data = bytes(data)
        case "io":
            value = rng.choice([*graph.input, *graph.output])
            shape = value.type.tensor_type.shape.dim
            if shape and rng.random() < 0.6:
                shape[0].dim_value = number
            else:
                value.name = rng.choice([*names, "x"])
        case "drop":
            graph.node.remove(node)
        case "swap":
            other = rng.choice(graph.node)
            node.input[:], other.input[:] = list(other.input), list(node.input)
    return what, model.SerializeToString()
