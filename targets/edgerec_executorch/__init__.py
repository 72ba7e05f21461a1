"""executorch target: a ``.pte`` program for ExecuTorch, the successor of PyTorch Mobile."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
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


@dataclass(frozen=True)
class ExecuTorchTarget(Target):
    """ExecuTorch, with the XNNPACK delegate scanning int8, int4 and fp16 tables."""

    name: ClassVar[str] = "executorch"
    signature: ClassVar[int] = 2
    needs_trust: ClassVar[bool] = True
    codecs: ClassVar[tuple[str, ...]] = ("fp32", "fp16", "int8", "int4")
    structures: ClassVar[tuple[type, ...]] = STRUCTURES
    blocks: ClassVar[bool] = True

    def lower(self, model: DeviceModel, signature: Signature) -> Payload:
        """Export a module that contains the codec's own arrays, and store each of them once."""
        from edgerec_executorch.lower import lower

        return {"model.pte": lower(model, signature)}

    def runtimes(self) -> list[str]:
        """Return executorch if it is installed."""
        return ["executorch"] if importlib.util.find_spec("executorch") else []

    def load(self, bundle: Bundle, runtime: str | None = None, threads: int = 1) -> Artefact:
        """Open the program in ExecuTorch's runtime."""
        hint = "pip install 'edgerec[executorch]', in an environment of its own (it needs numpy 2)"
        self.choose_runtime(runtime, hint)
        from edgerec_executorch.run import load

        return load(bundle, threads)

    def operators(self, bundle: Bundle) -> str:
        """Return names for the ROOT_OPS of a selective build, separated by commas."""
        from edgerec_executorch.pte import operators

        return ",".join(operators(bundle.read("model.pte")))


@hookimpl
def edgerec_targets() -> list[type[Target]]:
    """Provide the executorch target."""
    return [ExecuTorchTarget]
