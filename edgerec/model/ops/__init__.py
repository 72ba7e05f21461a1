"""Ops: the steps of a user encoder, named and defined as ONNX defines them (``docs/ops.md``).

Each op is a class that has its inputs, attributes, shape, padding and numpy rule in one place. The
torch rule of each is in ``training/torch_rules.py``, and each target has its own lowering.
"""

from edgerec.model.ops.inference import counts_padding, infer_shapes
from edgerec.model.ops.op import BUILT_IN, OPS, Op
from edgerec.model.ops.rule import MASKED, Padding, Rule, Shape

__all__ = [
    "BUILT_IN",
    "MASKED",
    "OPS",
    "Op",
    "Padding",
    "Rule",
    "Shape",
    "counts_padding",
    "infer_shapes",
]
