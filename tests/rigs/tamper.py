"""Change one part of a bundle, with digests that fit, as somebody does who means harm."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import flatbuffers
import onnx
from ai_edge_litert import schema_py_generated as schema

from tests.fuzz.corpus import Seed, assemble

__all__ = ["flatbuffer", "protobuf", "tamper"]


def tamper(
    path: Path,
    part: str | None = None,
    change: Callable[[bytes], bytes] | None = None,
    **entries: Any,
) -> Path:
    """Change a part of the payload, or entries of the manifest, in place."""
    seed = Seed.of("", path)
    sections = dict(seed.sections)
    if part is not None and change is not None:
        content, dtype, _ = sections[f"payload/{part}"]
        content = change(content)
        sections[f"payload/{part}"] = (content, dtype, [len(content)])
    path.write_bytes(assemble(seed.kind, seed.meta | entries, sections))
    return path


def protobuf(change: Callable[[onnx.ModelProto], object]) -> Callable[[bytes], bytes]:
    """Change an ONNX graph."""

    def apply(content: bytes) -> bytes:
        model = onnx.load_from_string(content)
        change(model)
        return bytes(model.SerializeToString())

    return apply


def flatbuffer(change: Callable[[Any], object]) -> Callable[[bytes], bytes]:
    """Change a TFLite model, which is passed as an object."""

    def apply(content: bytes) -> bytes:
        model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))
        for graph in model.subgraphs:
            for operator in graph.operators:
                operator.inputs, operator.outputs = list(operator.inputs), list(operator.outputs)
            for tensor in graph.tensors:
                tensor.shape = list(tensor.shape) if tensor.shape is not None else None
        change(model)
        builder = flatbuffers.Builder(len(content))
        builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
        return bytes(builder.Output())

    return apply
