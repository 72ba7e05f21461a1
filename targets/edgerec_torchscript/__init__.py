"""torchscript target: a ``.ptl`` file for PyTorch Mobile's lite interpreter.

PyTorch has deprecated TorchScript and its mobile runtime in favour of ExecuTorch; this
target is for apps that have it in place.
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

#: Codecs that the interpreter's kernels read.
CODECS = ("fp32", "fp16", "int8", "int4")


@dataclass(frozen=True)
class TorchScriptTarget(Target):
    """Lite interpreter module; int8 and int4 tables are scanned by integer products."""

    name: ClassVar[str] = "torchscript"

    def refuse(self, model: DeviceModel, device: Device | None) -> list[str]:
        """Codecs that no kernel of the interpreter reads as they are stored."""
        reasons = [
            f"table {name!r}: no kernel of the lite interpreter reads codec {table.codec.name!r} "
            "as it is stored; use int8 or int4"
            for name, table in model.tables.items()
            if table.codec.name not in CODECS
        ]
        if model.needs_user_vector:
            reasons.append("the encoder reads user_vector")
        return reasons

    def lower(self, model: DeviceModel, signature: Signature) -> Payload:
        """Trace a module that holds the codec's own arrays."""
        from edgerec_torchscript.lower import lower

        return {"model.ptl": lower(model, signature)}

    def runtimes(self) -> list[str]:
        """torch, where it is installed."""
        return ["torch"] if importlib.util.find_spec("torch") else []

    def load(self, bundle: Bundle, runtime: str | None = None, threads: int = 1) -> Runner:
        """Open the module in the lite interpreter."""
        self.choose_runtime(runtime, "pip install torch")
        from edgerec_torchscript.run import load

        return load(bundle, threads)


@hookimpl
def edgerec_targets() -> list[type[Target]]:
    """Provide the torchscript target."""
    return [TorchScriptTarget]
