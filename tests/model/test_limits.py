"""Numbers that ask for too much are refused before anything is allocated."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgerec.contracts.bundle import Bundle
from edgerec.contracts.opening import load_model, open_bundle
from edgerec.device.scorer import Scorer
from edgerec.errors import BundleError, ModelError
from edgerec.exporting.export import export
from edgerec.files.container import Container
from edgerec.files.container_writer import write_container
from edgerec.model.codecs import Int8
from edgerec.model.device_model import DeviceModel
from edgerec.model.history import pad_history
from edgerec.model.model_file import save_model
from edgerec.model.ops import Op


def doubling(times: int) -> tuple[Op, ...]:
    ops = [Op("Gather", ("items", "history"), "v0")]
    ops += [Op("Concat", (f"v{n}", f"v{n}"), f"v{n + 1}") for n in range(times)]
    return (*ops, Op("ReduceSum", ("v0",), "user"))


def test_an_encoder_is_limited(models: dict[str, DeviceModel]) -> None:
    model = models["sum"]
    with pytest.raises(ModelError, match=r"it computes .* numbers and .* products, at most"):
        model.replace(encoder=doubling(40))
    many = tuple(Op("Relu", ("weights",), f"v{n}") for n in range(1001))
    with pytest.raises(ModelError, match="expected at most 1,000 ops, got 1,001"):
        model.replace(encoder=many)
    with pytest.raises(ModelError, match="Concat takes at most 64 inputs, got 65"):
        Op("Concat", ("weights",) * 65, "x")
    for alpha in ("x", float("nan"), 1e40, None):
        with pytest.raises(ModelError, match="LeakyRelu: alpha: expected a finite number"):
            Op("LeakyRelu", ("weights",), "x", {"alpha": alpha})  # type: ignore[dict-item]  # mistakes
    wide = np.ones((4096, 4096), np.float32)
    products = [Op("MatMul", ("weights", "first"), "v0")]
    products += [Op("MatMul", (f"v{n}", "wide"), f"v{n + 1}") for n in range(9)]
    with pytest.raises(ModelError, match="products, at most"):
        model.replace(
            history_length=30,
            constants={"wide": wide, "first": wide[:1]},
            encoder=(*model.encoder, *products),
        )


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("history_length", 10**8),
        ("history_length", 16_385),
        ("normalization", -400.0),
        ("normalization", -1e308),
        ("recency", 8.5),
        ("recency", float("inf")),
    ],
)
def test_exponents_and_lengths(field: str, value: float, models: dict[str, DeviceModel]) -> None:
    with pytest.raises(ModelError, match=f"{field}: expected"):
        models["sum"].replace(**{field: value})


def test_a_longer_history_keeps_its_most_recent_items() -> None:
    history, weights = pad_history(np.arange(10), 4, 1.0, np.arange(10, dtype=np.float32))
    assert history.tolist() == [6, 7, 8, 9]
    assert np.allclose(weights, np.array([6, 7, 8, 9]) / 4)


Change = Callable[[dict[str, Any], dict[str, Any]], None]


def put(name: str, place: int, value: float) -> Change:
    """Change one number of a section."""

    def change(meta: dict[str, Any], sections: dict[str, Any]) -> None:
        sections[name] = np.array(sections[name])
        sections[name].reshape(-1)[place] = value

    return change


def described(**changes: Any) -> Change:
    """Change the description of a model, in the header or in the payload."""

    def change(meta: dict[str, Any], sections: dict[str, Any]) -> None:
        if "payload/model.json" in sections:
            value = json.loads(bytes(sections["payload/model.json"])) | changes
            sections["payload/model.json"] = json.dumps(value).encode()
        else:
            meta.update(changes)

    return change


HOSTILE: dict[str, tuple[Change, str]] = {
    "NaN in a scale": (put("table/items/scale", 3, np.nan), "items: scale: contains NaN"),
    "infinity in a scale": (put("table/items/scale", 0, np.inf), "items: scale: contains NaN"),
    "a long history": (described(history_length=10**9), "history_length: expected an integer"),
    "half a history": (described(history_length=1.5), "history_length: expected an integer"),
    "a true history": (described(history_length=True), "history_length: expected an integer"),
    "no history": (described(history_length=None), "history_length: expected an integer"),
    "an exponent": (described(normalization=-1e9), "normalization: expected a number from -8"),
    "a huge exponent": (described(recency=10**400), "recency: expected a number from -8"),
    "no tables": (described(tables=[]), "tables: expected an object, got list"),
    "an op": (described(encoder=[["Gather"]]), "encoder: expected entries"),
    "inputs": (described(encoder=[["Relu", [3], "user", {}]]), "encoder: expected entries"),
    "an attribute": (
        described(encoder=[["LeakyRelu", ["weights"], "user", {"alpha": "x"}]]),
        "alpha: expected a finite number",
    ),
    "a head": (described(head={"table": "items", "kind": 3}), "head.kind: expected text"),
    "metadata": (described(metadata=3), "metadata: expected an object"),
}


def rewritten(path: Path, change: Change, prefix: str = "") -> Path:
    """A file with a change, whose digests fit."""
    container = Container(path)
    sections: dict[str, Any] = {
        name.removeprefix(prefix): container.array(name) for name in container.names
    }
    meta = json.loads(json.dumps(container.meta))
    change(meta, sections)
    names = {name.removeprefix(prefix): name for name in container.names}
    other = path.with_name("other")
    write_container(other, container.kind, meta, {names[n]: s for n, s in sections.items()})
    return other


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_model(case: str, models: dict[str, DeviceModel], tmp_path: Path) -> None:
    change, message = HOSTILE[case]
    model = models["sum"].with_codec(Int8(), ["items"])
    save_model(model, tmp_path / "x.model")
    with pytest.raises(BundleError, match=rf"other: .*{message}.*; the file is damaged"):
        load_model(rewritten(tmp_path / "x.model", change))
    bundle = export(model, "numpy", tmp_path / "x.edgerec")

    def in_the_payload(meta: dict[str, Any], sections: dict[str, Any]) -> None:
        inner = {n.removeprefix("payload/"): s for n, s in sections.items()} | {
            "payload/model.json": sections["payload/model.json"]
        }
        change(meta, inner)
        for name in sections:
            sections[name] = inner.get(name, inner.get(name.removeprefix("payload/")))
        sections["payload/model.json"] = inner["payload/model.json"]

    with pytest.raises(BundleError, match=message):
        Scorer.open(rewritten(bundle.path, in_the_payload))


def test_a_payload_that_contradicts_its_manifest(
    models: dict[str, DeviceModel], tmp_path: Path
) -> None:
    path = export(models["two-tables"], "numpy", tmp_path / "x.edgerec").path
    for name, value in (("history_length", 12), ("normalization", 0.25), ("recency", 1.0)):
        other = rewritten(path, lambda meta, _, n=name, v=value: meta.update({n: v}))  # type: ignore[misc]  # bound here
        with pytest.raises(BundleError, match=f"{name}: the manifest has {value}"):
            open_bundle(other).model()


def test_what_is_not_a_model_says_so(models: dict[str, DeviceModel], tmp_path: Path) -> None:
    bundle = export(models["sum"], "onnx", tmp_path / "x.edgerec")
    with pytest.raises(BundleError, match="its payload is not a model but what a runtime reads"):
        bundle.model()


def nested(meta: dict[str, Any], sections: dict[str, Any]) -> None:
    sections["payload/model.json"] = b"[" * 100_000


def parts(*names: str) -> Change:
    return lambda meta, sections: sections.update({f"payload/{name}": b"x" for name in names})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (nested, r"model\.json: not JSON"),
        (lambda m, s: m.update(format=True), "bundle format True, this edgerec reads format 2"),
        (lambda m, s: m.update(format=7), "bundle format 7, this edgerec reads format 2; update"),
        (lambda m, s: m.pop("format"), "bundle format 0, of an older edgerec"),
        (lambda m, s: m.update(top_k=0), "top_k: expected an integer from 1"),
        (lambda m, s: s.update(popular=np.zeros((2, 2), np.int32)), r"popular: expected int32"),
        (lambda m, s: s.update(popular=np.array([10**6], np.int32)), "a row is outside the catal"),
    ],
)
def test_a_hostile_bundle(
    change: Change, message: str, models: dict[str, DeviceModel], tmp_path: Path
) -> None:
    path = export(models["sum"], "numpy", tmp_path / "x.edgerec").path
    with pytest.raises(BundleError, match=message):
        open_bundle(rewritten(path, change)).model()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (parts("a", "a/b"), "payload part 'a' is also the folder of another"),
        (parts("x" * 256), "has a name of more than 255 bytes"),
        (parts("a\x1b[31m"), "is not a relative path of plain names"),
    ],
)
def test_parts_that_cannot_be_unpacked(
    change: Change, message: str, models: dict[str, DeviceModel], tmp_path: Path
) -> None:
    path = export(models["sum"], "onnx", tmp_path / "x.edgerec").path
    container = Container(path)
    sections: dict[str, Any] = {name: container.array(name) for name in container.names}
    change({}, sections)
    write_container(tmp_path / "other", "bundle", container.meta, sections)
    with pytest.raises(BundleError, match=message):
        Bundle.open(tmp_path / "other")


def test_a_model_file_of_another_version(models: dict[str, DeviceModel], tmp_path: Path) -> None:
    save_model(models["sum"], tmp_path / "x.model")
    newer = rewritten(tmp_path / "x.model", lambda meta, _: meta.update(format=9))
    with pytest.raises(BundleError, match="model format 9, this edgerec reads format 1; update"):
        load_model(newer)
    older = rewritten(tmp_path / "x.model", lambda meta, _: meta.pop("format"))
    with pytest.raises(BundleError, match=r"format 0, of an older edgerec; .* write the file"):
        load_model(older)
