"""tflite target: a TFLite model for tflite-runtime and LiteRT (ai-edge-litert)."""

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

#: A FlatBuffer's offsets are signed 32-bit; the catalogue's tables need nearly all of it.
MAX_TABLE_BYTES = 2**31 - 2**20

#: Runtimes by the distribution that brings them, and their modules. LiteRT's own kernels scan a
#: table where it lies; XNNPACK's are faster on x86-64 and pack it into a second copy on loading.
RUNTIMES = {
    "ai-edge-litert": "ai_edge_litert",
    "ai-edge-litert+xnnpack": "ai_edge_litert",
    "tflite-runtime": "tflite_runtime",
}


@dataclass(frozen=True)
class TFLiteTarget(Target):
    """TFLite with builtin ops alone; int8 and int4 tables are scanned by integer kernels."""

    name: ClassVar[str] = "tflite"
    codecs: ClassVar[tuple[str, ...]] = ("fp32", "fp16", "int8", "int4")

    def refuse(self, model: DeviceModel, device: Device | None) -> list[str]:
        """Codecs without a kernel, and files beyond what the format can hold."""
        reasons = super().refuse(model, device)
        if model.table_bytes > MAX_TABLE_BYTES:
            reasons.append(
                f"the tables have {model.table_bytes:,} bytes, a .tflite file holds "
                f"{MAX_TABLE_BYTES:,}; use a smaller codec or fewer items"
            )
        return reasons

    def lower(self, model: DeviceModel, signature: Signature) -> Payload:
        """Write the FlatBuffer op by op, so that the bytes of a table are its codec's."""
        from edgerec_tflite.lower import lower

        return {"model.tflite": lower(model, signature)}

    def runtimes(self) -> list[str]:
        """Installed ones of ai-edge-litert and tflite-runtime."""
        return [name for name, module in RUNTIMES.items() if importlib.util.find_spec(module)]

    def load(self, bundle: Bundle, runtime: str | None = None, threads: int = 1) -> Runner:
        """Open the model in a runtime."""
        chosen = self.choose_runtime(runtime, "pip install ai-edge-litert or tflite-runtime")
        from edgerec_tflite.run import load

        return load(bundle, chosen, threads)


@hookimpl
def edgerec_targets() -> list[type[Target]]:
    """Provide the tflite target."""
    return [TFLiteTarget]
