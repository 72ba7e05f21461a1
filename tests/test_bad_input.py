"""What crafted files, other data, faulty plugins and wrong artefacts come up against."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NoReturn

import numpy as np
import pytest
from numpy.typing import NDArray

import edgerec
from edgerec.bench import measure
from edgerec.bundle import Bundle
from edgerec.codecs import F32, Arrays, Codec, Int8
from edgerec.compressor import Compressor, Context
from edgerec.container import Container, write_container
from edgerec.data import Dataset
from edgerec.device import Budget, Device
from edgerec.device_model import DeviceModel, Table
from edgerec.errors import (
    BudgetError,
    BundleError,
    CodecError,
    CompressError,
    DataError,
    ModelError,
    OptionError,
    TargetError,
)
from edgerec.host import host
from edgerec.items import Items
from edgerec.parity import measure_parity, sample_histories
from edgerec.quality import evaluate
from edgerec.readers import read_dataset, read_titles
from edgerec.recipe import Recipe, build
from edgerec.target import Runner, export
from edgerec.testing import check_codec
from edgerec.training import train
from edgerec_pq.codec import PQ
from edgerec_pq.runs import Runs

from .conftest import make_dataset


@pytest.fixture(scope="module")
def bundle(models: dict[str, DeviceModel], tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    path = tmp_path_factory.mktemp("bad") / "x.edgerec"
    return export(models["sum"].with_codec(Int8(), ["items"]), "numpy", path, top_k=20)


@pytest.mark.parametrize("name", ["/etc/x", "../x", "a/../../x", "a//b", ".", "", "a\\b", "c:x"])
def test_a_payload_stays_in_its_folder(name: str, bundle: Bundle, tmp_path: Path) -> None:
    container = Container(bundle.path)
    sections: dict[str, Any] = {n: container.array(n) for n in container.names}
    crafted = tmp_path / "crafted.edgerec"
    write_container(crafted, "bundle", container.meta, sections | {f"payload/{name}": b"x"})
    with pytest.raises(BundleError, match="is not a relative path of plain names"):
        Bundle.open(crafted)


def test_training_does_not_go_on_with_other_data(dataset: Dataset, tmp_path: Path) -> None:
    def stop(done: int, total: int, what: str) -> None:
        raise KeyboardInterrupt

    state = tmp_path / "checkpoint"
    with pytest.raises(KeyboardInterrupt):
        train(dataset, epochs=2, dim=8, checkpoint=state, progress=stop)
    other = make_dataset(seed=1).split_random(0.2)
    with pytest.raises(OptionError, match="was written with another dataset"):
        train(other, epochs=2, dim=8, checkpoint=state)
    assert state.exists()


def test_nobody_to_learn_from(dataset: Dataset) -> None:
    first = np.flatnonzero(np.diff(dataset.train.users, prepend=-1))
    alone = dataclasses.replace(dataset, train=dataset.train.take(first))
    with pytest.raises(DataError, match="no user has two items to train on"):
        train(alone, epochs=1, dim=8)


@pytest.fixture(scope="module")
def trained(dataset: Dataset) -> DeviceModel:
    return train(dataset, epochs=1, dim=16).to_device_model()


def test_a_build_writes_all_or_nothing(
    trained: DeviceModel, dataset: Dataset, tmp_path: Path
) -> None:
    quantize = (("quantize", {"codec": "int8"}),)
    (numpy, onnx) = build(trained, dataset, Recipe(quantize, ("numpy", "onnx")), tmp_path / "all")
    between = (numpy.figures["bundle_bytes"] + onnx.figures["bundle_bytes"]) // 2
    device = Device("x", Budget(max_bundle_bytes=between))
    with pytest.raises(BudgetError, match=r"onnx on x: budget\.max_bundle_bytes: measured"):
        build(trained, dataset, Recipe(quantize, ("numpy", "onnx"), device), tmp_path / "none")
    assert list((tmp_path / "none").iterdir()) == []


def test_a_refusal_comes_before_training(
    trained: DeviceModel, dataset: Dataset, tmp_path: Path
) -> None:
    seen: list[str] = []
    recipe = Recipe((("pq", {"subspaces": "4"}),), ("numpy", "onnx"))
    with pytest.raises(TargetError, match="onnx reads fp32, fp16, int8, int4, not codec 'pq'"):
        build(trained, dataset, recipe, tmp_path, progress=lambda *now: seen.append(now[2]))
    assert not seen


def test_a_short_list_is_compared_as_far_as_it_goes(
    trained: DeviceModel, dataset: Dataset, tmp_path: Path
) -> None:
    for one in build(trained, dataset, Recipe((), ("numpy", "tflite"), None, 5), tmp_path):
        assert one.figures["quality"] == pytest.approx(1, abs=0.01)
        assert one.figures["overlap"] == pytest.approx(1, abs=0.01)


def test_another_catalogue(trained: DeviceModel, dataset: Dataset, bundle: Bundle) -> None:
    renamed = dataclasses.replace(
        dataset, items=Items.of(f"other{row}" for row in range(len(dataset.items)))
    )
    with pytest.raises(DataError, match="lacks 80 of the model's 80 items, 'i000' for one"):
        evaluate(trained, renamed)
    with pytest.raises(TargetError, match="knows no item of the histories"):
        measure(bundle.path, [["nope"], ["neither"]])


Found = tuple[NDArray[np.int32], F32]
WRONG: dict[str, tuple[Callable[[Found], Any], str]] = {
    "reversed": (lambda f: (f[0][::-1], f[1][::-1]), "scores out of order"),
    "too few": (lambda f: (f[0][:20], f[1][:20]), "returned 20 items, at least"),
    "wide ids": (lambda f: (f[0].astype(np.int64), f[1]), "int64 ids"),
    "lists": (lambda f: (f[0].tolist(), f[1].tolist()), "not the arrays ids and scores"),
    "nothing": (lambda f: None, "returned NoneType"),
    "no numbers": (lambda f: (f[0], np.full_like(f[1], np.nan)), "not finite numbers"),
    "twice": (lambda f: (np.repeat(f[0][:1], len(f[0])), f[1]), "a row twice"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_no_list(case: str, bundle: Bundle, models: dict[str, DeviceModel]) -> None:
    change, message = WRONG[case]
    run: Runner = host().target("numpy").load(bundle)
    model = models["sum"].with_codec(Int8(), ["items"])
    with pytest.raises(TargetError, match=message):
        measure_parity(lambda h, w: change(run(h, w)), model, sample_histories(model, 3))


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
    target = host().target("numpy")
    monkeypatch.setattr(type(target), "lower", lambda *_: b"bytes")
    with pytest.raises(TargetError, match="lower returned bytes, not a Payload"):
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


def test_an_order_outside_the_catalogue() -> None:
    ids = Items.of(["b", "a"])
    with pytest.raises(ModelError, match="order has a row outside the catalogue"):
        Items(ids.ids, None, np.array([0, 2], np.uint32))


def test_ids_that_are_no_text() -> None:
    assert Items.of(["a"]).find("\udcff") is None


def test_rounding_does_not_make_a_table_larger(models: dict[str, DeviceModel]) -> None:
    small = edgerec.compress(models["sum"], "quantize:codec=int4")
    with pytest.raises(CompressError, match="had no effect"):
        edgerec.compress(small, "quantize:codec=int8")


def test_another_codecs_training_is_not_gone_on_with(
    trained: DeviceModel, dataset: Dataset, tmp_path: Path
) -> None:
    def stop(done: int, total: int, what: str) -> None:
        if "loss" in what and done == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        edgerec.compress(
            *(trained, "quantize:codec=int8,epochs=2"),
            **{"dataset": dataset, "checkpoint": tmp_path / "x", "progress": stop},
        )
    seen: list[int] = []
    edgerec.compress(
        trained,
        "quantize:codec=int8,symmetric=false,epochs=2",
        dataset=dataset,
        checkpoint=tmp_path / "x",
        progress=lambda done, _, what: seen.append(done) if "loss" in what else None,
    )
    assert seen == [1, 2]


def test_times_are_read_below_the_second(tmp_path: Path) -> None:
    path = tmp_path / "times.csv"
    path.write_text(
        "user,item,timestamp\n"
        "ann,x,2020-01-01T00:00:00.900\nann,y,2020-01-01T00:00:00.100\n"
        "bob,x,2020-01-01T00:00:01.000\nbob,y,2020-01-01T00:00:02.000\n"
    )
    data = read_dataset(path)
    assert [data.items.ids[row] for row in data.train.of(0)] == ["y", "x"]


@pytest.mark.parametrize("name", ["../x", "a/b", "", ".", "x[/b]"])
def test_a_device_is_named_as_a_folder_may_be(name: str) -> None:
    with pytest.raises(OptionError, match="device: name: expected letters"):
        Device(name, Budget())


def test_a_test_file_of_other_columns(csv: Path, tmp_path: Path) -> None:
    held = tmp_path / "held.csv"
    held.write_text("user,item\nann,kiwi\n")
    with pytest.raises(DataError, match="rating, timestamp is in one of the two files only"):
        read_dataset(csv, test=held)


def test_an_empty_title_is_none(tmp_path: Path) -> None:
    titles = tmp_path / "titles.csv"
    titles.write_text("item,title\napple,Apple\npear,\n")
    assert read_titles(titles) == {"apple": "Apple"}


def test_titles_of_other_files(csv: Path, tmp_path: Path) -> None:
    titles = tmp_path / "titles.CSV"
    titles.write_text("sku,brand_name,title\napple,ACME,Apple\npear,ACME,Pear\n")
    shop = tmp_path / "shop.csv"
    shop.write_text("customer,sku\nann,apple\nann,pear\nbob,apple\nbob,pear\n")
    named = {"user": "customer", "item": "sku"}
    data = read_dataset(shop, columns=named, titles=titles)
    assert [data.items.title(row) for row in range(2)] == ["Apple", "Pear"]
    titles.write_text("sku,title\nplum,Plum\n")
    with pytest.raises(DataError, match=r"titles\.CSV: none of its items is among those of"):
        read_dataset(shop, columns=named, titles=titles)


def test_a_core_of_no_interactions(dataset: Dataset) -> None:
    with pytest.raises(DataError, match="k_core: expected at least 1, got -3"):
        dataset.k_core(-3)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (np.array([0, 600]), "take: expected different rows from 0 to 599"),
        (np.array([-1, 2]), "take: expected different rows"),
        (np.array([3, 3]), "take: expected different rows"),
        (np.ones(600, bool), r"take: expected rows, integers; got bool\[600\]"),
    ],
)
def test_rows_that_a_catalogue_does_not_have(
    rows: NDArray[Any], message: str, models: dict[str, DeviceModel]
) -> None:
    with pytest.raises(ModelError, match=message):
        models["sum"].take(rows)


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
    target = host().target("numpy")
    monkeypatch.setattr(type(target), "lower", lambda *_: {"x": "text"})
    with pytest.raises(TargetError, match="lower returned str for 'x', not bytes or an array"):
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
    monkeypatch.setattr(type(host().target("onnx")), "lower", fail)
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
