"""onnx target: an ONNX graph, and tables as its external data, which onnxruntime maps.

The same parts serve phones and browsers: external data is of the standard, and both take it.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from typing import ClassVar

from edgerec.plugin import (
    Bundle,
    Device,
    DeviceModel,
    Payload,
    Runner,
    Signature,
    Target,
    hookimpl,
)


@dataclass(frozen=True)
class OnnxTarget(Target):
    """ONNX for onnxruntime; int8 and int4 tables are scanned by integer kernels."""

    name: ClassVar[str] = "onnx"
    codecs: ClassVar[tuple[str, ...]] = ("fp32", "fp16", "int8", "int4")

    def refuse(self, model: DeviceModel, device: Device | None) -> list[str]:
        """Codecs without a kernel, widths that the 4-bit kernel does not take."""
        reasons = super().refuse(model, device)
        if model.tables[model.head.table].codec.name == "int4" and model.width % 16:
            reasons.append(f"int4: MatMulNBits takes widths that 16 divides, got {model.width}")
        return reasons

    def lower(self, model: DeviceModel, signature: Signature) -> Payload:
        """Write the graph node by node, so that the bytes of a table are its codec's."""
        from edgerec_onnx.lower import lower

        return lower(model, signature)

    def runtimes(self) -> list[str]:
        """onnxruntime, where it is installed."""
        return ["onnxruntime"] if importlib.util.find_spec("onnxruntime") else []

    def load(self, bundle: Bundle, runtime: str | None = None, threads: int = 1) -> Runner:
        """Open the graph in onnxruntime."""
        self.choose_runtime(runtime, "pip install onnxruntime")
        from edgerec_onnx.run import load

        return load(bundle, threads)

    def operators(self, bundle: Bundle) -> str:
        """Lines of onnxruntime's ``required_operators_and_types.config``."""
        from edgerec_onnx.operators import required_operators

        return required_operators(bundle)


@hookimpl
def edgerec_targets() -> list[type[Target]]:
    """Provide the onnx target."""
    return [OnnxTarget]
