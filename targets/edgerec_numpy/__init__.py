"""numpy target: runs any codec with numpy only, the smallest installation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from edgerec.plugin import (
    Artefact,
    Bundle,
    DeviceModel,
    Payload,
    Signature,
    Target,
    candidate_centroids,
    hookimpl,
    model_payload,
)

#: The plugin API version that this plugin was written for.
edgerec_api = 2


@dataclass(frozen=True)
class NumpyTarget(Target):
    """Run with numpy only, block by block, without a float copy of any table."""

    name: ClassVar[str] = "numpy"
    signature: ClassVar[int] = 2
    blocks: ClassVar[bool] = True

    def lower(self, model: DeviceModel, signature: Signature) -> Payload:
        """Write the model's own arrays, without conversion, and the centroids of blocks."""
        centroids = candidate_centroids(model)
        if centroids is None:
            return model_payload(model)
        from edgerec_numpy.nearest import payload_of

        return {**model_payload(model), **payload_of(centroids)}

    def runtimes(self) -> list[str]:
        """Return numpy, which edgerec itself needs."""
        return ["numpy"]

    def load(self, bundle: Bundle, runtime: str | None = None, threads: int = 1) -> Artefact:
        """Map the tables from the file; numpy's BLAS determines the number of threads."""
        from edgerec_numpy.run import load

        self.choose_runtime(runtime, "this target runs on numpy only")
        return load(bundle)


@hookimpl
def edgerec_targets() -> list[type[Target]]:
    """Provide the numpy target."""
    return [NumpyTarget]
