"""Tests specific to onnx: a valid graph in the oldest op set, and the operators it needs."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import onnx
import pytest
from onnx import GraphProto, ModelProto, NodeProto

from edgerec.contracts.signature import Signature
from edgerec.exporting.export import export
from edgerec.model.codecs import Codec, Fp16, Fp32, Int4, Int8
from edgerec.testing import example_models
from edgerec_onnx import OnnxTarget
from edgerec_onnx.onnx_graph import OPSET

PAGE = (Path(__file__).parents[2] / "docs" / "targets.md").read_text("utf-8")

#: Operators of op set 13 in onnxruntime-mobile, onnxruntime's prebuilt package for phones.
MOBILE = set(
    re.findall(
        r"\w+",
        """Abs Add And ArgMax ArgMin AveragePool Cast Ceil Clip Concat ConstantOfShape Conv
    ConvTranspose Cos CumSum DepthToSpace DequantizeLinear Div DynamicQuantizeLinear Elu Equal Erf
    Exp Expand Flatten Floor Gather GatherND Gemm GlobalAveragePool Greater GreaterOrEqual Identity
    If InstanceNormalization LRN LeakyRelu Less LessOrEqual Log LogSoftmax Loop MatMul
    MatMulInteger Max MaxPool Mean Min Mul Neg NonMaxSuppression NonZero Not Or PRelu Pad Pow
    QLinearConv QLinearMatMul QuantizeLinear Range Reciprocal ReduceMax ReduceMean ReduceMin
    ReduceProd ReduceSum Relu Reshape Resize ReverseSequence Round Scan ScatterND Shape Sigmoid Sin
    Size Slice Softmax SpaceToDepth Split Sqrt Squeeze Sub Sum Tanh ThresholdedRelu Tile TopK
    Transpose Unique Unsqueeze Where""",
    )
)

CODECS = [Fp32(), Fp16(), Int8(symmetric=False), Int4()]
every_codec = pytest.mark.parametrize("codec", CODECS, ids=lambda c: c.name)
every_model = pytest.mark.parametrize(
    "name", ["sum", "two-tables", "dense", "attention", "transformer"]
)


def lowered(name: str, codec: Codec, folder: Path) -> ModelProto:
    model = example_models(600, 16)[name]
    coded = model.with_codec(codec, [n for n, t in model.tables.items() if t.shape[1] > 1])
    payload = OnnxTarget().lower(coded, Signature(600, model.history_length, 20))
    for part, content in payload.items():
        (folder / part).write_bytes(content if isinstance(content, bytes) else content.tobytes())
    return onnx.load(folder / "model.onnx")


@every_codec
@every_model
def test_the_graph_is_valid_and_no_older_op_set_has_its_ops(
    name: str, codec: Codec, tmp_path: Path
) -> None:
    model = lowered(name, codec, tmp_path)
    onnx.checker.check_model(model, full_check=True)
    assert all(re.search(rf"\b{node.op_type}\b", PAGE) for node in nodes(model.graph))
    versions = {entry.domain: entry.version for entry in model.opset_import}
    assert versions.pop("") == OPSET == 13
    assert versions == ({"com.microsoft": 1} if codec.name == "int4" else {})
    # This is the oldest format with this op set, which older runtimes can read as well.
    assert model.ir_version == onnx.helper.find_min_ir_version_for(
        [e for e in model.opset_import if not e.domain]
    )
    for entry in model.opset_import:
        entry.version -= not entry.domain
    with pytest.raises((onnx.checker.ValidationError, onnx.shape_inference.InferenceError)):
        onnx.checker.check_model(model, full_check=True)


@every_model
@every_codec
def test_the_prebuilt_mobile_package_has_the_operators(
    name: str, codec: Codec, tmp_path: Path
) -> None:
    used = {node.op_type for node in nodes(lowered(name, codec, tmp_path).graph)}
    assert used - MOBILE == ({"MatMulNBits"} if codec.name == "int4" else set())


def nodes(graph: GraphProto) -> Iterator[NodeProto]:
    """Yield the nodes of a graph and of the loops in it."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from nodes(attribute.g)


@pytest.mark.parametrize("name", ["dense", "attention", "transformer"])
@every_codec
def test_a_reduced_build_accepts_the_list_of_operators(
    codec: Codec, name: str, tmp_path: Path
) -> None:
    from onnxruntime.tools.reduced_build_config_parser import parse_config

    model = example_models(600, 16)[name].with_codec(codec)
    bundle = export(model, "onnx", tmp_path / "x.edgerec", top_k=20)
    # --operators prints what the target's own method returns.
    command = [sys.executable, "-m", "edgerec", "inspect", str(bundle.path), "--operators"]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert text == OnnxTarget().operators(bundle) + "\n"
    config = tmp_path / "required_operators.config"
    config.write_text(text)
    operators, types = parse_config(str(config), True)
    listed = {name for opsets in operators.values() for names in opsets.values() for name in names}
    written = {node.op_type for node in nodes(lowered(name, codec, tmp_path).graph)}
    assert written <= listed
    # onnxruntime fuses a Transpose with a MatMul, a MatMul with an Add, and a Gemm with a Relu.
    assert listed - written <= {"FusedMatMul", "Gemm", "FusedGemm"}
    assert types is not None
    assert all(re.search(rf"\b{operator}\b", PAGE) for operator in listed)
    read = {"fp32": "float", "fp16": "MLFloat16", "int8": "int8_t", "int4": "uint8_t"}
    # The GatherND that reads tiles accepts any type.
    reader = "Cast" if codec.name == "int8" else "Gather"
    assert re.search(rf'{reader}{{"inputs": {{"0": \[[^]]*"{read[codec.name]}"', text)
