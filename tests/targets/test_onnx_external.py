"""Tests specific to onnx: external data, in the bundle and next to an unpacked graph."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from edgerec.contracts.bundle import Bundle
from edgerec.exporting.export import export
from edgerec.model.codecs import Codec, Fp32, Int4, Int8
from edgerec.testing import example_models
from edgerec_onnx import OnnxTarget, packed
from edgerec_onnx.external import relocate
from edgerec_onnx.graph_check import check_graph

CODECS = [Fp32(), Int8(), Int8(symmetric=False), Int4()]


def exported(codec: Codec, path: Path) -> Bundle:
    return export(example_models(500, 32)["sum"].with_codec(codec, ["items"]), "onnx", path)


def one_history() -> dict[str, np.ndarray]:
    history, weights = np.full(30, -1, np.int32), np.zeros(30, np.float32)
    history[-2:], weights[-2:] = [7, 8], [1, 0.5]
    return {"history": history, "weights": weights}


@pytest.mark.parametrize("codec", CODECS, ids=str)
def test_an_unpacked_graph_is_standard_onnx(codec: Codec, tmp_path: Path) -> None:
    bundle = exported(codec, tmp_path / "x.edgerec")
    bundle.unpack(tmp_path / "app")
    path = tmp_path / "app" / "model.onnx"
    onnx.checker.check_model(str(path))
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    ids, scores = session.run(["ids", "scores"], one_history())
    expected_ids, expected, _ = OnnxTarget().load(bundle)(*one_history().values())
    # The artefact omits the padding, and the rows that would be returned because of it.
    assert (len(ids), len(expected_ids)) == (80, 52)
    real = expected_ids >= 0
    assert np.array_equal(ids[:52][real], expected_ids[real])
    assert np.allclose(scores[:52][real], expected[real])


def test_unpacking_does_not_overwrite(tmp_path: Path) -> None:
    with pytest.raises(FileExistsError):
        exported(Int8(), tmp_path / "x.edgerec").unpack(tmp_path)


def test_a_bundle_may_be_renamed_and_linked_to(tmp_path: Path) -> None:
    bundle = exported(Int8(), tmp_path / "x.edgerec")
    ids, *_ = OnnxTarget().load(bundle)(*one_history().values())
    folder = tmp_path / "ein Ordner"
    folder.mkdir()
    moved = bundle.path.rename(folder / "größer.edgerec")
    link = tmp_path / "link.edgerec"
    link.symlink_to(moved)
    for path in (moved, link):
        again, *_ = OnnxTarget().load(Bundle.open(path))(*one_history().values())
        assert np.array_equal(ids, again)


def test_external_data_is_relocated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed, "PART", 256)
    bundle = exported(Int4(), tmp_path / "x.edgerec")
    graph = bundle.read("model.onnx")
    places = dict.fromkeys(bundle.payload, (2**20 + 4096, 9000)) | {"items.codes": (4096, 8064)}
    moved = onnx.load_from_string(relocate(graph, "a" * 300, places))
    before = onnx.load_from_string(graph)
    lengths = {}
    for old, new in zip(before.graph.initializer, moved.graph.initializer, strict=True):
        entries = {e.key: e.value for e in new.external_data}
        if entries.get("location") == "a" * 300:
            written = {e.key: e.value for e in old.external_data}
            if written["location"] == "items.codes":
                lengths[new.name] = written["length"]
            offset = str(places[written["location"]][0] + int(written["offset"]))
            assert entries == written | {"location": "a" * 300, "offset": offset}
            del old.external_data[:], new.external_data[:]
        assert old == new
    # The table, and the parts in which it is scanned.
    assert lengths == {
        "items.codes": "8064",
        "items.codes[0:256]": "4096",
        "items.codes[256:504]": "3968",
    }
    del before.graph.initializer[:], moved.graph.initializer[:]
    assert before == moved


@pytest.mark.parametrize("damage", [b"\x3a\xff", b"\x3a", b"\x07", b"\xff" * 12])
def test_bytes_that_are_not_a_graph(damage: bytes) -> None:
    with pytest.raises(ValueError, match="not a protocol buffer"):
        relocate(damage, "x", {})


def tampered(bundle: Bundle, change: Callable[[onnx.ModelProto], None]) -> bytes:
    graph = onnx.load_from_string(bundle.read("model.onnx"))
    change(graph)
    return graph.SerializeToString()


def first_external(model: onnx.ModelProto) -> onnx.TensorProto:
    return next(tensor for tensor in model.graph.initializer if tensor.external_data)


def set_entry(tensor: onnx.TensorProto, key: str, value: str) -> None:
    for entry in tensor.external_data:
        if entry.key == key:
            entry.value = value


def hide_in_a_node(model: onnx.ModelProto) -> None:
    node = model.graph.node.add(op_type="Constant", output=["stolen"])
    node.attribute.add(name="value", type=onnx.AttributeProto.TENSOR).t.CopyFrom(
        first_external(model)
    )


def hide_in_a_graph(model: onnx.ModelProto) -> None:
    node = model.graph.node.add(op_type="If", input=["weights"], output=["stolen"])
    body = node.attribute.add(name="then_branch", type=onnx.AttributeProto.GRAPH).g
    body.initializer.add().CopyFrom(first_external(model))


def set_count(model: onnx.ModelProto) -> None:
    number = next(t for t in model.graph.initializer if len(t.raw_data) == 8 and t.data_type == 7)
    number.raw_data = (10**7).to_bytes(8, "little")


HOSTILE: dict[str, tuple[Callable[[onnx.ModelProto], None], str]] = {
    "another file in the folder": (
        lambda m: set_entry(first_external(m), "location", "secret.bin"),
        "'secret.bin', which is no part of it",
    ),
    "beyond its end": (lambda m: set_entry(first_external(m), "length", "99999999"), "beyond the"),
    "a negative offset": (
        lambda m: set_entry(first_external(m), "offset", "-64"),
        "offset: expected a number, got '-64'",
    ),
    "within a node": (hide_in_a_node, "external data outside the initializers"),
    "within a graph of a node": (hide_in_a_graph, "external data outside the initializers"),
    "sparse": (lambda m: m.graph.sparse_initializer.add(), "sparse initializers"),
    "a count that would fill the memory": (set_count, "an integer is beyond 67,536"),
    "a loop without a constant count": (
        lambda m: m.graph.node.add(op_type="Loop", input=["history"], output=["x"]),
        "a loop should have a constant number of rounds",
    ),
    "a function": (lambda m: m.functions.add(name="f"), "functions of its own"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_external_data_is_only_read_from_the_bundle(case: str, tmp_path: Path) -> None:
    change, message = HOSTILE[case]
    bundle = exported(Int8(), tmp_path / "x.edgerec")
    places = {part: (4096, bundle.nbytes_of(part)) for part in bundle.payload}
    graph = tampered(bundle, change)

    def read() -> bytes:
        check_graph(graph, 500)
        return relocate(graph, "x", places)

    with pytest.raises(ValueError, match=message):
        read()
