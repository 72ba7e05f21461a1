"""The operators and types that a bundle needs, for a reduced build of onnxruntime."""

from __future__ import annotations

import tempfile
import warnings
from pathlib import Path
from typing import Any

import onnxruntime

from edgerec.plugin import Bundle

__all__ = ["required_operators"]


def required_operators(bundle: Bundle) -> str:
    """Return the lines of a ``required_operators_and_types.config``.

    They cover the graph as written and as onnxruntime rewrites it on loading, so that a build with
    ``--include_ops_by_config FILE --enable_reduced_operator_type_support`` runs it at any level of
    optimization. onnxruntime's own tools determine the types.
    """
    # These import onnxruntime's FlatBuffer schema, which scoring does not need.
    from onnxruntime.tools.ort_format_model import OperatorTypeUsageManager, OrtFormatModelProcessor

    operators: dict[str, dict[int, set[str]]] = {}
    types: Any = OperatorTypeUsageManager()
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "bundle" / "model.onnx"
        bundle.unpack(model.parent)
        for level in ("ORT_DISABLE_ALL", "ORT_ENABLE_ALL"):
            rewritten = str(Path(folder) / f"{level}.ort")
            options = onnxruntime.SessionOptions()
            options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, level)
            options.optimized_model_filepath = rewritten
            options.add_session_config_entry("session.save_model_format", "ORT")
            options.log_severity_level = 3
            onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
            with warnings.catch_warnings():
                # The processor leaves its file open for the garbage collector to close.
                warnings.simplefilter("ignore", ResourceWarning)
                OrtFormatModelProcessor(rewritten, operators, types).process()
    return "\n".join(
        f"{domain};{opset};"
        + ",".join(f"{name}{types.get_config_entry(domain, name) or ''}" for name in sorted(names))
        for domain, opsets in sorted(operators.items())
        for opset, names in sorted(opsets.items())
        if names
    )
