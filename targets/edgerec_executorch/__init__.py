"""executorch target: a ``.pte`` program for ExecuTorch, the successor of PyTorch Mobile."""

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
class ExecuTorchTarget(Target):
    """ExecuTorch; int8, int4 and fp16 tables are scanned by the XNNPACK delegate."""

    name: ClassVar[str] = "executorch"
    codecs: ClassVar[tuple[str, ...]] = ("fp32", "fp16", "int8", "int4")

    def lower(self, model: DeviceModel, signature: Signature) -> Payload:
        """Export a module that holds the codec's own arrays, and store each of them once."""
        from edgerec_executorch.lower import lower

        return {"model.pte": lower(model, signature)}

    def runtimes(self) -> list[str]:
        """executorch, where it is installed."""
        return ["executorch"] if importlib.util.find_spec("executorch") else []

    def load(self, bundle: Bundle, runtime: str | None = None, threads: int = 1) -> Runner:
        """Open the program in ExecuTorch's runtime."""
        hint = "pip install 'edgerec[executorch]', in an environment of its own (it needs numpy 2)"
        self.choose_runtime(runtime, hint)
        from edgerec_executorch.run import load

        return load(bundle, threads)

    def operators(self, bundle: Bundle) -> str:
        """Names for the ROOT_OPS of a selective build, comma-separated."""
        from edgerec_executorch.pte import operators

        return ",".join(operators(bundle.read("model.pte")))


@hookimpl
def edgerec_targets() -> list[type[Target]]:
    """Provide the executorch target."""
    return [ExecuTorchTarget]
