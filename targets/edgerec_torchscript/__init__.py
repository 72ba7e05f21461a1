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
    DeviceModel,
    Payload,
    Runner,
    Signature,
    Target,
    hookimpl,
)


@dataclass(frozen=True)
class TorchScriptTarget(Target):
    """Lite interpreter module; int8 and int4 tables are scanned by integer products."""

    name: ClassVar[str] = "torchscript"
    codecs: ClassVar[tuple[str, ...]] = ("fp32", "fp16", "int8", "int4")

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
