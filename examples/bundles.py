"""Write a model to a bundle of at most half its uncompressed size."""

from __future__ import annotations

from pathlib import Path

import edgerec

__all__ = ["ship"]


def ship(
    model: edgerec.DeviceModel, name: str, out: Path, *chain: str
) -> tuple[edgerec.Bundle, edgerec.Bundle]:
    """Return the uncompressed bundle and the compressed one, which was measured in its runtime.

    Raises:
        SystemExit: it breaks the budget.
    """
    whole = edgerec.export(model, "onnx", out / f"{name}-whole.edgerec")
    small = edgerec.compress(model, *chain)
    bundle = edgerec.export(small, "onnx", out / f"{name}.edgerec")
    device = edgerec.Device("half", edgerec.Budget(max_bundle_bytes=whole.nbytes // 2))
    _, broken = edgerec.verify(bundle.path, device)
    if broken:
        raise SystemExit(f"{name}: {'; '.join(broken)}")
    return whole, bundle
