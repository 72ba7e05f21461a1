"""The files that are mutated, taken apart: a header, and the bytes of each section."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgerec.contracts.host import Host
from edgerec.errors import EdgerecError
from edgerec.exporting.export import export
from edgerec.files.container import Container
from edgerec.files.header import ALIGN
from edgerec.model.codecs import Codec, Fp16, Fp32, Int4, Int8
from edgerec.model.model_file import save_model
from edgerec.testing import example_models
from edgerec_pq.codec import PQ

__all__ = ["Seed", "assemble", "seeds"]


@dataclass(frozen=True)
class Seed:
    """A sound file, taken apart.

    Args:
        target: the name of its target, or ``model`` for a saved model.
        kind: the kind of the container.
        meta: its meta.
        sections: the bytes of each section, with dtype and shape.
    """

    target: str
    kind: str
    meta: dict[str, Any]
    sections: dict[str, tuple[bytes, str, list[int]]]

    @classmethod
    def of(cls, target: str, path: Path) -> Seed:
        """Take a file apart."""
        container = Container(path)
        sections = {}
        for name in container.names:
            array = container.array(name)
            sections[name] = (container.read(name), array.dtype.str, list(array.shape))
        return cls(target, container.kind, container.meta, sections)


def assemble(
    kind: Any,
    meta: Any,
    sections: dict[str, tuple[bytes, str, list[int]]],
    entries: dict[str, dict[str, Any]] | None = None,
) -> bytes:
    """Put a file together, with digests that fit.

    Args:
        kind: the kind of the container.
        meta: any value that JSON can have; NaN is written as Python does.
        sections: the bytes of each section, with dtype and shape.
        entries: changes of the header's entry for a section, by its name.
    """
    header = b""
    while True:
        position, found = 48 + len(header), {}
        for name, (content, dtype, shape) in sections.items():
            position += -position % ALIGN
            entry = {"offset": position, "size": len(content), "dtype": dtype, "shape": shape}
            entry["sha256"] = hashlib.sha256(content).hexdigest()
            found[name] = entry | (entries or {}).get(name, {})
            position += len(content)
        text = json.dumps({"kind": kind, "meta": meta, "sections": found}, ensure_ascii=False)
        encoded = text.encode("utf-8", "surrogatepass")
        if len(encoded) <= len(header):
            break
        header = encoded
    header = encoded.ljust(len(header))
    file = b"EDGEREC1" + len(header).to_bytes(8, "little") + hashlib.sha256(header).digest()
    file += header
    for content, _, _ in sections.values():
        file += bytes(-len(file) % ALIGN) + content
    return file + bytes(-len(file) % ALIGN)


def seeds(target: str, folder: Path) -> list[Seed]:
    """Small bundles of a target, or saved models, that use every op, head and codec."""
    codecs: list[Codec] = [Fp32(), Fp16(), Int8(), Int8(symmetric=False), Int4()]
    if target in ("numpy", "model"):
        codecs += [PQ(4), *(c() for n, c in Host.installed().codecs.items() if n == "sparse")]
    found = []
    for number, (name, model) in enumerate(example_models(60, 16).items()):
        codec = codecs[number % len(codecs)]
        wide = [n for n, table in model.tables.items() if table.shape[1] > 1]
        path = folder / f"{target}-{name}"
        try:
            small = model.with_codec(codec, wide).replace(
                metadata={"family": name, "steps": [1, 2.5, None]}
            )
            if target == "model":
                save_model(small, path)
            else:
                export(small, target, path, top_k=10, provenance={"steps": [{"a": "b"}]})
        except EdgerecError:
            continue
        found.append(Seed.of(target, path))
    assert found, f"{target} takes no example"
    assert all(np.dtype(s[1]) for seed in found for s in seed.sections.values())
    return found
