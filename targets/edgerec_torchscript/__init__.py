"""torchscript target: a ``.ptl`` file for PyTorch Mobile's lite interpreter.

PyTorch has deprecated TorchScript and its mobile runtime in favor of ExecuTorch. This target is for
apps that already use it.
"""

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


@dataclass(frozen=True)
class TorchScriptTarget(Target):
    """A lite interpreter module, with integer products scanning int8 and int4 tables."""

    name: ClassVar[str] = "torchscript"
    signature: ClassVar[int] = 2
    needs_trust: ClassVar[bool] = True
    codecs: ClassVar[tuple[str, ...]] = ("fp32", "fp16", "int8", "int4")
    structures: ClassVar[tuple[type, ...]] = STRUCTURES
    blocks: ClassVar[bool] = True
    integers: bool = field(
        default=True, metadata={"help": "scan int8 and int4 tables in integers, not in float"}
    )

    def exact(self) -> Target | None:
        """Widen int8 and int4 tables to float, block by block, in each scan."""
        return dataclasses.replace(self, integers=False) if self.integers else None

    def lower(self, model: DeviceModel, signature: Signature) -> Payload:
        """Trace a module that contains the codec's own arrays."""
        from edgerec_torchscript.lower import lower

        return {"model.ptl": lower(model, signature, self.integers)}

    def runtimes(self) -> list[str]:
        """Return torch if it is installed."""
        return ["torch"] if importlib.util.find_spec("torch") else []

    def load(self, bundle: Bundle, runtime: str | None = None, threads: int = 1) -> Artefact:
        """Open the module in the lite interpreter."""
        self.choose_runtime(runtime, "pip install torch")
        from edgerec_torchscript.run import load

        return load(bundle, threads)


@hookimpl
def edgerec_targets() -> list[type[Target]]:
    """Provide the torchscript target."""
    return [TorchScriptTarget]
