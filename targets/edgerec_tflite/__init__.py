"""tflite target: a TFLite model for tflite-runtime and LiteRT (ai-edge-litert)."""

from __future__ import annotations

import dataclasses
import importlib.util
from dataclasses import dataclass, field
from typing import ClassVar

from edgerec.plugin import (
    STRUCTURES,
    Artefact,
    Bundle,
    DeviceModel,
    Payload,
    Signature,
    Target,
    hookimpl,
)

#: The plugin API version that this plugin was written for.
edgerec_api = 2

#: Offsets in a FlatBuffer are signed 32-bit integers, and tables take nearly all of the file.
MAX_TABLE_BYTES = 2**31 - 2**20

#: The package of each runtime, which is named after its distribution. LiteRT's own kernels scan a
#: table in place; XNNPACK's are faster on x86-64, but pack it into a second copy on loading.
RUNTIMES = {
    "ai-edge-litert": "ai_edge_litert",
    "ai-edge-litert+xnnpack": "ai_edge_litert",
    "tflite-runtime": "tflite_runtime",
}


@dataclass(frozen=True)
class TFLiteTarget(Target):
    """TFLite with builtin ops only; integer kernels scan int8 and int4 tables."""

    name: ClassVar[str] = "tflite"
    signature: ClassVar[int] = 2
    codecs: ClassVar[tuple[str, ...]] = ("fp32", "fp16", "int8", "int4")
    structures: ClassVar[tuple[type, ...]] = STRUCTURES
    blocks: ClassVar[bool] = True
    integers: bool = field(
        default=True, metadata={"help": "scan int8 tables in integers, not widened on loading"}
    )

    def refuse(self, model: DeviceModel) -> list[str]:
        """Refuse codecs without a kernel, and tables that exceed the format."""
        reasons = super().refuse(model)
        if model.table_bytes > MAX_TABLE_BYTES:
            reasons.append(
                f"the tables have {model.table_bytes:,} bytes, but a .tflite file holds at most "
                f"{MAX_TABLE_BYTES:,}; use a smaller codec or fewer items"
            )
        return reasons

    def exact(self) -> Target | None:
        """Widen int8 tables to float, once, on loading."""
        return dataclasses.replace(self, integers=False) if self.integers else None

    def lower(self, model: DeviceModel, signature: Signature) -> Payload:
        """Write the FlatBuffer op by op, so that the bytes of a table are those of its codec."""
        from edgerec_tflite.lower import lower

        return {"model.tflite": lower(model, signature, self.integers)}

    def runtimes(self) -> list[str]:
        """Return the variants of ai-edge-litert and tflite-runtime that are installed."""
        return [name for name, module in RUNTIMES.items() if importlib.util.find_spec(module)]

    def load(self, bundle: Bundle, runtime: str | None = None, threads: int = 1) -> Artefact:
        """Open the model in a runtime."""
        chosen = self.choose_runtime(runtime, "pip install ai-edge-litert or tflite-runtime")
        from edgerec_tflite.run import load

        return load(bundle, RUNTIMES[chosen], chosen.endswith("+xnnpack"), threads)


@hookimpl
def edgerec_targets() -> list[type[Target]]:
    """Provide the tflite target."""
    return [TFLiteTarget]
