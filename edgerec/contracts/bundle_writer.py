"""Write a bundle."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgerec.contracts.bundle import FORMAT
from edgerec.contracts.host import Host
from edgerec.contracts.parts import check_part
from edgerec.contracts.signature import Signature
from edgerec.contracts.target import Payload
from edgerec.files.container_writer import write_container
from edgerec.model.device_model import DeviceModel
from edgerec.model.head import head_values
from edgerec.model.model_file import Sections, catalogue_sections

__all__ = ["bundle_content", "popular_rows", "write_bundle"]

#: The number of rows that stand in for popular items.
_FALLBACK = 1000


def write_bundle(
    path: str | Path,
    model: DeviceModel,
    target: str,
    signature: Signature,
    payload: Payload,
    provenance: Mapping[str, Any],
    host: Host | None = None,
    vectors: Sections | None = None,
) -> int:
    """Write a bundle atomically; return its size in bytes."""
    manifest, sections = bundle_content(
        model, target, signature, payload, provenance, host, vectors
    )
    return write_container(path, "bundle", manifest, sections)


def bundle_content(
    model: DeviceModel,
    target: str,
    signature: Signature,
    payload: Payload,
    provenance: Mapping[str, Any],
    host: Host | None = None,
    vectors: Sections | None = None,
) -> tuple[dict[str, Any], Sections]:
    """The manifest and the sections of a bundle, as a container takes them.

    The manifest names the plugins of ``host``, by default the installed ones, that provide the
    target and the codecs. ``vectors`` are the sections of the test vectors, if there are any.
    """
    manifest = {
        "format": FORMAT,
        "target": target,
        "signature": signature.version,
        "inputs": dict(signature.inputs),
        "history_length": signature.history_length,
        "top_k": signature.top_k,
        "normalization": model.normalization,
        "recency": model.recency,
        "repeats": model.repeats,
        "drop_seen": model.drop_seen,
        "fallback": "popular" if len(model.popular) else "longest",
        "tables": {
            name: {"codec": table.codec.name, "shape": list(table.shape), "bytes": table.nbytes}
            for name, table in model.tables.items()
        },
        "head": head_values(model.head),
        "providers": _providers(model, target, host or Host.installed()),
        "metadata": dict(model.metadata),
        "provenance": dict(provenance),
    }
    for name in payload:
        check_part(name)
    sections = catalogue_sections(model) | {"popular": popular_rows(model)} | (vectors or {})
    sections |= {f"payload/{name}": content for name, content in payload.items()}
    return manifest, sections


def popular_rows(model: DeviceModel) -> NDArray[np.int32]:
    """The popular rows; if there are none, the longest ones, which many histories score high."""
    if len(model.popular):
        return model.popular
    lengths = np.linalg.norm(model.tables[model.head.table].decode(), axis=1)
    return np.argsort(-lengths, kind="stable")[:_FALLBACK].astype(np.int32)


def _providers(model: DeviceModel, target: str, host: Host) -> dict[str, dict[str, dict[str, str]]]:
    """The plugins that provide the target and each codec that is not core's."""
    codecs = sorted(codec.name for codec in model.codecs)
    found: dict[str, dict[str, dict[str, str]]] = {}
    for kind, names in (("target", [target]), ("codec", codecs)):
        plugins = {name: host.provider(kind, name) for name in names}
        found[kind] = {
            name: {"distribution": plugin.distribution, "entry_point": plugin.name}
            for name, plugin in plugins.items()
            if plugin is not None
        }
    return found
