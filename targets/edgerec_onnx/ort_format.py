"""Write a bundle's graphs in onnxruntime's own format, which its smaller builds read."""

from __future__ import annotations

import tempfile
from pathlib import Path

import onnxruntime

from edgerec.plugin import Bundle

__all__ = ["write_ort"]


def write_ort(bundle: Bundle, folder: Path) -> None:
    """Write ``model.ort`` and ``score.ort``, each with the tables that it reads.

    Only rewritings that do not depend on the processor are applied.
    """
    with tempfile.TemporaryDirectory() as scratch:
        unpacked = Path(scratch) / "bundle"
        bundle.unpack(unpacked)
        for graph in sorted(unpacked.glob("*.onnx")):
            options = onnxruntime.SessionOptions()
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
            options.optimized_model_filepath = str(folder / graph.with_suffix(".ort").name)
            options.add_session_config_entry("session.save_model_format", "ORT")
            options.log_severity_level = 3
            onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
