"""numpy target: no runtime but numpy, any codec; the smallest thing to install."""

from __future__ import annotations

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
    model_payload,
)


@dataclass(frozen=True)
class NumpyTarget(Target):
    """Run with numpy alone, block by block, so that no float copy of a table is held."""

    name: ClassVar[str] = "numpy"

    def lower(self, model: DeviceModel, signature: Signature) -> Payload:
        """Write the model's own arrays; nothing is converted."""
        return model_payload(model)

    def runtimes(self) -> list[str]:
        """Only numpy, which edgerec itself needs."""
        return ["numpy"]

    def load(self, bundle: Bundle, runtime: str | None = None, threads: int = 1) -> Runner:
        """Map the tables from the file; threads are up to numpy's BLAS."""
        from edgerec_numpy.run import load

        self.choose_runtime(runtime, "this target runs on numpy alone")
        return load(bundle)


@hookimpl
def edgerec_targets() -> list[type[Target]]:
    """Provide the numpy target."""
    return [NumpyTarget]
