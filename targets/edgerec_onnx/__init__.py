"""onnx target: an ONNX graph with tables as external data, which onnxruntime maps.

The same parts work on phones and in browsers, because external data is part of the standard.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from edgerec.plugin import (
    STRUCTURES,
    Affine,
    Artefact,
    Bundle,
    DeviceModel,
    Payload,
    Signature,
    Table,
    Target,
    hookimpl,
)

#: The plugin API version that this plugin was written for.
edgerec_api = 2


@dataclass(frozen=True)
class OnnxTarget(Target):
    """ONNX for onnxruntime; int8 and int4 tables are scanned by integer kernels."""

    name: ClassVar[str] = "onnx"
    signature: ClassVar[int] = 2
    codecs: ClassVar[tuple[str, ...]] = ("fp32", "fp16", "int8", "int4")
    structures: ClassVar[tuple[type, ...]] = STRUCTURES
    blocks: ClassVar[bool] = True

    def is_native(self, table: Table) -> bool:
        """Also 4-bit integers whose groups of columns are whole blocks of MatMulNBits."""
        structure = table.codec.structure(table.arrays)
        if isinstance(structure, Affine) and structure.bits == 4:
            return structure.columns // structure.groups % 16 == 0
        return super().is_native(table)

    def lower(self, model: DeviceModel, signature: Signature) -> Payload:
        """Write the graph node by node, so that the bytes of a table are those of its codec."""
        from edgerec_onnx.lower import lower

        return lower(model, signature)

    def runtimes(self) -> list[str]:
        """Return onnxruntime if it is installed."""
        return ["onnxruntime"] if importlib.util.find_spec("onnxruntime") else []

    def load(self, bundle: Bundle, runtime: str | None = None, threads: int = 1) -> Artefact:
        """Open the graph in onnxruntime."""
        self.choose_runtime(runtime, "pip install onnxruntime")
        from edgerec_onnx.run import load

        return load(bundle, threads)

    def operators(self, bundle: Bundle) -> str:
        """Return the lines of onnxruntime's ``required_operators_and_types.config``."""
        from edgerec_onnx.operators import required_operators

        return required_operators(bundle)

    def convert(self, bundle: Bundle, form: str, folder: Path) -> None:
        """Write ``model.ort`` and ``score.ort`` for the form ``ort``."""
        if form != "ort":
            return super().convert(bundle, form, folder)
        from edgerec_onnx.ort_format import write_ort

        return write_ort(bundle, folder)


@hookimpl
def edgerec_targets() -> list[type[Target]]:
    """Provide the onnx target."""
    return [OnnxTarget]
