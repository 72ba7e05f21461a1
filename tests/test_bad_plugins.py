"""Faulty plugins: artefacts, compressors, codecs and targets that return what they must not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NoReturn

import numpy as np
import pytest
from numpy.typing import NDArray

import edgerec
from edgerec.building.build import build
from edgerec.building.recipe import Recipe
from edgerec.contracts.bundle import Bundle
from edgerec.contracts.compressor import Compressor, Context
from edgerec.contracts.host import Host
from edgerec.contracts.runner import Artefact
from edgerec.data.dataset import Dataset
from edgerec.errors import (
    BundleError,
    CodecError,
    CompressError,
    OptionError,
    TargetError,
)
from edgerec.exporting.answers import Answers, measure_parity
from edgerec.exporting.export import export
from edgerec.exporting.proof import sample_histories
from edgerec.model.codecs import F32, Arrays, Codec, Int8
from edgerec.model.device_model import DeviceModel
from edgerec.model.table import Table
from edgerec.testing import check_codec
from edgerec.training.loop import train
from edgerec_pq.codec import PQ
from edgerec_pq.runs import Runs


@pytest.fixture(scope="module")
def bundle(models: dict[str, DeviceModel], tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    path = tmp_path_factory.mktemp("bad") / "x.edgerec"
    return export(models["sum"].with_codec(Int8(), ["items"]), "numpy", path, top_k=20)


Found = tuple[NDArray[np.int32], F32]


WRONG: dict[str, tuple[Callable[[Found], Any], str]] = {
    "reversed": (lambda f: (f[0][f[0] >= 0][::-1], f[1][f[0] >= 0][::-1]), "scores out of order"),
    "too few": (lambda f: (f[0][:10], f[1][:10]), "expected at least .* items, got 10"),
    "wide ids": (lambda f: (f[0].astype(np.int64), f[1]), "got int64"),
    "lists": (lambda f: (f[0].tolist(), f[1].tolist()), "expected the arrays ids and scores, got"),
    "nothing": (lambda f: None, "got NoneType"),
    "no numbers": (lambda f: (f[0], np.full_like(f[1], np.nan)), "expected finite scores"),
    "twice": (lambda f: (np.repeat(f[0][:1], len(f[0])), f[1]), "a row twice"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_no_list(case: str, bundle: Bundle, models: dict[str, DeviceModel]) -> None:
    change, message = WRONG[case]
    run: Artefact = Host.installed().target("numpy").load(bundle)
    model = models["sum"].with_codec(Int8(), ["items"])

    def changed(found: Any) -> Any:
        other = change(found[:2])
        return other if other is None else (*other, found[2])

    with pytest.raises(TargetError, match=message):
        measure_parity(
            lambda *inputs: changed(run(*inputs)), Answers(model, sample_histories(model, 3), 20)
        )


@dataclass(frozen=True)
class _Forgot(Compressor):
    """Returns nothing."""

    name: ClassVar[str] = "forgot"

    def compress(self, model: DeviceModel, context: Context) -> DeviceModel:
        return None  # type: ignore[return-value]  # the mistake


def test_what_is_no_model_or_payload(
    models: dict[str, DeviceModel], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(CompressError, match=r"step 1 \(forgot\): returned NoneType"):
        edgerec.compress(models["sum"], _Forgot())
    target = Host.installed().target("numpy")
    monkeypatch.setattr(type(target), "lower", lambda *_: b"bytes")
    with pytest.raises(TargetError, match=r"lower: expected a Payload, .* got bytes"):
        export(models["sum"], target, tmp_path / "x.edgerec")
    assert not list(tmp_path.iterdir())


@dataclass(frozen=True)
class _OneScale(Codec):
    """Writes well and reads badly: a file has no arrays without an axis."""

    name: ClassVar[str] = "one-scale"

    def encode(self, matrix: F32) -> dict[str, NDArray[Any]]:
        scale = np.array(np.abs(matrix).max(), np.float32)
        return {"codes": np.rint(matrix / scale * 127).astype(np.int8), "scale": scale}

    def decode(self, arrays: Arrays, rows: NDArray[Any] | slice) -> F32:
        values: F32 = arrays["codes"][rows].astype(np.float32) * (arrays["scale"] / 127)
        return values

    def layout(self, n: int, d: int) -> dict[str, tuple[str, tuple[int, ...]]]:
        return {"codes": ("|i1", (n, d)), "scale": ("<f4", ())}


def test_a_codec_whose_file_cannot_be_read() -> None:
    with pytest.raises((AssertionError, BundleError), match="scale"):
        check_codec(_OneScale())


@pytest.mark.parametrize("codec", [PQ(2, runs=4), Runs(4)], ids=str)
@pytest.mark.parametrize("ends", [[10, 20, 30, 49], [10, 30, 20, 50], [0, 0, 0, 0]], ids=str)
def test_runs_that_do_not_follow_one_another(codec: Codec, ends: list[int]) -> None:
    table = Table.encode(np.ones((50, 1 if isinstance(codec, Runs) else 8), np.float32), codec)
    with pytest.raises(CodecError, match="ends should rise to 50, the number of rows"):
        Table(codec, table.shape, {**table.arrays, "ends": np.array(ends, np.uint32)})


@dataclass(frozen=True)
class _Listed(_OneScale):
    name: ClassVar[str] = "listed"

    def encode(self, matrix: F32) -> dict[str, NDArray[Any]]:
        return [matrix]  # type: ignore[return-value]  # the mistake


def test_a_codec_that_returns_no_arrays(
    models: dict[str, DeviceModel], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(CodecError, match="codec listed: encode returned list, not arrays by name"):
        models["sum"].with_codec(_Listed())
    target = Host.installed().target("numpy")
    monkeypatch.setattr(type(target), "lower", lambda *_: {"x": "text"})
    with pytest.raises(TargetError, match="lower: expected bytes or an array for 'x', got str"):
        export(models["sum"], target, tmp_path / "x.edgerec")


def test_a_plugin_that_raises_is_named(
    models: dict[str, DeviceModel],
    dataset: Dataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object) -> NoReturn:
        raise KeyError("lost")

    monkeypatch.setattr(_Forgot, "compress", fail)
    with pytest.raises(CompressError, match=r"step 1 \(forgot\): KeyError: 'lost'"):
        edgerec.compress(models["sum"], _Forgot())
    model = train(dataset, epochs=1, dim=8).to_device_model()
    monkeypatch.setattr(type(Host.installed().target("onnx")), "lower", fail)
    with pytest.raises(TargetError, match="target onnx: KeyError: 'lost'"):
        export(model, "onnx", tmp_path / "x.edgerec")
    # One that nobody asked for by name is left out, and told.
    built = build(model, dataset, Recipe(), tmp_path / "all", users=20)
    assert {"numpy", "tflite"} <= {one.target for one in built}
    assert "target onnx: KeyError: 'lost'" in built.left_out["onnx"]
    with pytest.raises(OptionError, match="targets: numpy is given twice"):
        Recipe((), ("numpy", "numpy"))
    (tmp_path / "file").write_text("")
    with pytest.raises(OptionError, match="file: is a file; name a folder"):
        build(model, dataset, Recipe(), tmp_path / "file")
