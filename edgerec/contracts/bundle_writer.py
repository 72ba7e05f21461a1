"""Write a bundle."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgerec.contracts.bundle import FORMAT, check_part
from edgerec.contracts.signature import Signature
from edgerec.contracts.target import Payload
from edgerec.files.container_writer import write_container
from edgerec.model.device_model import DeviceModel
from edgerec.model.model_file import Sections, items_sections

__all__ = ["bundle_content", "write_bundle"]


def write_bundle(
    path: str | Path,
    model: DeviceModel,
    target: str,
    signature: Signature,
    payload: Payload,
    provenance: Mapping[str, Any],
) -> int:
    """Write a bundle atomically; return its size in bytes."""
    manifest, sections = bundle_content(model, target, signature, payload, provenance)
    return write_container(path, "bundle", manifest, sections)


def bundle_content(
    model: DeviceModel,
    target: str,
    signature: Signature,
    payload: Payload,
    provenance: Mapping[str, Any],
) -> tuple[dict[str, Any], Sections]:
    """The manifest and the sections of a bundle, as a container takes them."""
    manifest = {
        "format": FORMAT,
        "target": target,
        "history_length": signature.history_length,
        "top_k": signature.top_k,
        "normalization": model.normalization,
        "recency": model.recency,
        "tables": {
            name: {"codec": table.codec.name, "shape": list(table.shape), "bytes": table.nbytes}
            for name, table in model.tables.items()
        },
        "head": {"table": model.head.table, "kind": model.head.kind},
        "metadata": dict(model.metadata),
        "provenance": dict(provenance),
    }
    for name in payload:
        check_part(name)
    sections = items_sections(model.items) | {"popular": model.popular}
    sections |= {f"payload/{name}": content for name, content in payload.items()}
    return manifest, sections
