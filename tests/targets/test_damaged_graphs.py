"""Graphs that were tampered with are refused before a runtime reads them, and name the file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgerec.device.scorer import Scorer
from edgerec.errors import TargetError
from edgerec.exporting.export import export
from edgerec.model.codecs import Int8
from edgerec.testing import example_models
from edgerec_tflite import RUNTIMES
from tests.rigs.tamper import flatbuffer, protobuf, tamper

Change = Callable[[bytes], bytes]

#: A type of tensors in the schema of TFLite.
INT8 = 9


def exported(target: str, folder: Path) -> Path:
    path = folder / "x.edgerec"
    model = example_models(500, 16)["sum"].with_codec(Int8(), ["items"])
    return export(model, target, path, top_k=10).path


def of_operators(change: Callable[[Any], object]) -> Change:
    return flatbuffer(lambda model: change(model.subgraphs[0].operators))


def of_tensors(change: Callable[[Any], object]) -> Change:
    return flatbuffer(lambda model: change(model.subgraphs[0].tensors))


def set_input(value: int) -> Change:
    return of_operators(lambda operators: operators[3].inputs.__setitem__(0, value))


def read_later(operators: Any) -> None:
    operators[0].inputs[0] = operators[-1].outputs[0]


def write_an_input(operators: Any) -> None:
    operators[-1].outputs[0] = operators[0].inputs[0]


def write_twice(operators: Any) -> None:
    operator = next(one for one in operators if len(one.outputs) == 2)
    operator.outputs[1] = operator.outputs[0]


def lengthen(tensors: Any) -> None:
    next(tensor for tensor in tensors if tensor.type == INT8).shape[0] += 1


def set_type(tensors: Any) -> None:
    tensors[0].type = 5


def negate(tensors: Any) -> None:
    tensors[-1].shape[0] = -1


def point_past_the_end(tensors: Any) -> None:
    tensors[-1].buffer = 10_000


FLATBUFFERS: dict[str, tuple[Change, str]] = {
    "a missing input": (set_input(-1), "operator 3 reads what is not computed before it"),
    "an input that does not exist": (set_input(9999), "operator 3 reads what is not"),
    "an input computed later": (of_operators(read_later), "operator 0 reads what is not"),
    "an output over an input": (of_operators(write_an_input), "writes to a tensor that is taken"),
    "two outputs in one tensor": (of_operators(write_twice), "writes to a tensor that is taken"),
    "a constant of another size": (of_tensors(lengthen), "the size of its constant"),
    "an unknown type": (of_tensors(set_type), "tensor 0 has no type, shape or buffer"),
    "a negative length": (of_tensors(negate), "has no type, shape or buffer"),
    "no such buffer": (of_tensors(point_past_the_end), "has no type, shape or buffer"),
    "an output that nothing computes": (
        of_operators(lambda operators: operators.pop()),
        "an output is not computed",
    ),
    "three subgraphs": (
        flatbuffer(lambda model: model.subgraphs.append(model.subgraphs[0])),
        "expected one or two subgraphs, got 3",
    ),
    "a function without its input": (
        flatbuffer(lambda model: model.signatureDefs[1].inputs.pop()),
        "of score; the file is damaged",
    ),
    "no function": (
        flatbuffer(lambda model: model.signatureDefs.clear()),
        "of serving_default; the file is damaged",
    ),
    "half of it": (lambda content: content[: len(content) // 2], "not a FlatBuffer of TFLite"),
    "nothing": (lambda content: b"", "not a FlatBuffer of TFLite"),
    "an input of another length": (
        flatbuffer(lambda model: _shorten_inputs(model)),
        "expected the inputs",
    ),
}


def _shorten_inputs(model: Any) -> None:
    graph = model.subgraphs[0]
    for index in graph.inputs:
        graph.tensors[index].shape[0] -= 1


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("case", FLATBUFFERS)
def test_tflite(case: str, runtime: str, tmp_path: Path) -> None:
    pytest.importorskip(RUNTIMES[runtime])
    change, message = FLATBUFFERS[case]
    path = tamper(exported("tflite", tmp_path), "model.tflite", change)
    with pytest.raises(TargetError, match=message) as caught:
        Scorer.open(path, runtime=runtime)
    assert str(caught.value).startswith(f"{path}: model.tflite: ")
    assert str(caught.value).endswith("the file is damaged")


def steal(model: Any) -> None:
    tensor = next(t for t in model.graph.initializer if t.external_data)
    next(e for e in tensor.external_data if e.key == "location").value = "secret.bin"


def loop(model: Any) -> None:
    model.graph.node.add(op_type="Loop", input=["history"], output=["x"])


def rename(model: Any) -> None:
    model.graph.input[0].name = "past"
    for node in model.graph.node:
        node.input[:] = ["past" if name == "history" else name for name in node.input]


PROTOBUFS: dict[str, tuple[Change, str]] = {
    "a file of the user's": (protobuf(steal), "'secret.bin', which is no part of it"),
    "a loop without an end": (protobuf(loop), "a constant number of rounds"),
    "another input": (
        protobuf(rename),
        "expected the inputs history .30., weights .30., and the outputs ids",
    ),
    "half of it": (lambda content: content[: len(content) // 2], "not a protocol buffer"),
}


@pytest.mark.parametrize("case", PROTOBUFS)
def test_onnx(case: str, tmp_path: Path) -> None:
    change, message = PROTOBUFS[case]
    path = tamper(exported("onnx", tmp_path), "model.onnx", change)
    (tmp_path / "secret.bin").write_bytes(bytes(16_000))
    with pytest.raises(TargetError, match=message) as caught:
        Scorer.open(path)
    assert str(caught.value).startswith(f"{path}: model.onnx: ")
    assert str(caught.value).endswith("the file is damaged")


def test_a_manifest_of_another_graph(tmp_path: Path) -> None:
    path = tamper(exported("tflite", tmp_path), history_length=31, inputs={"weights": 31})
    with pytest.raises(TargetError, match=r"expected the inputs .*\[31\].*the file is damaged"):
        Scorer.open(path)


@pytest.mark.parametrize("target", ["numpy", "tflite", "onnx"])
def test_what_is_put_together_anew_still_runs(target: str, tmp_path: Path) -> None:
    path = exported(target, tmp_path)
    with Scorer.open(path) as scorer:
        expected = scorer.recommend([1, 2, 3], 5)
    part, change = {
        "numpy": (None, None),
        "tflite": ("model.tflite", flatbuffer(lambda model: None)),
        "onnx": ("model.onnx", protobuf(lambda model: None)),
    }[target]
    with Scorer.open(tamper(path, part, change)) as scorer:
        assert scorer.recommend([1, 2, 3], 5) == expected
