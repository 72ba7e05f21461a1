"""Sizes of bundles before they are written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from edgerec.contracts.host import Host
from edgerec.exporting.export import foreseen_bytes
from edgerec.model.device_model import DeviceModel
from edgerec.model.model_file import catalogue_sections

__all__ = ["Sizes", "fixed_parts", "shape_of"]


class Sizes:
    """Computes the bytes of bundles, each shape of a model once.

    Args:
        host: the plugins with the targets.
        top_k: the maximum number of recommendations that a bundle can be asked for.
    """

    def __init__(self, host: Host, top_k: int) -> None:
        self.host, self.top_k = host, top_k
        self._known: dict[str, int] = {}

    def of(self, model: DeviceModel, targets: Sequence[str], provenance: Any) -> list[int]:
        """The bytes of a bundle for each target."""
        sizes = []
        for name in targets:
            key = f"{name} {shape_of(model)}"
            if key not in self._known:
                target = self.host.target(name)
                self._known[key] = foreseen_bytes(model, target, self.top_k, provenance, self.host)
            sizes.append(self._known[key])
        return sizes


def fixed_parts(model: DeviceModel) -> dict[str, int]:
    """Bytes of the ids, the titles and the popular items, which every bundle of a model has."""
    sections = catalogue_sections(model)
    sizes = {"ids": 0, "titles": 0, "popular items": model.popular.nbytes}
    for name, section in sections.items():
        part = "titles" if "titles" in name else "ids"
        sizes[part] += len(section) if isinstance(section, bytes) else section.nbytes
    return sizes


def shape_of(model: DeviceModel) -> str:
    """Everything about a model that its size depends on, as text."""
    tables = [
        (name, table.codec, table.shape, [(k, a.shape, a.dtype.str) for k, a in t.items()])
        for name, table in model.tables.items()
        for t in [table.arrays]
    ]
    constants = [(name, constant.shape) for name, constant in model.constants.items()]
    order = model.items.order is not None
    return repr(
        (
            len(model.items),
            len(model.history_items),
            order,
            tables,
            constants,
            model.encoder,
            model.head,
        )
    )
