"""Bad input: crafted files, other data, and steps that cannot work."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import edgerec
from edgerec.building.build import build
from edgerec.building.recipe import Recipe
from edgerec.contracts.bundle import Bundle
from edgerec.contracts.device import Budget, Device
from edgerec.data.dataset import Dataset
from edgerec.data.quality import evaluate
from edgerec.data.readers import read_dataset, read_titles
from edgerec.device.bench import measure
from edgerec.errors import (
    BudgetError,
    BundleError,
    CompressError,
    DataError,
    ModelError,
    OptionError,
    TargetError,
)
from edgerec.exporting.export import export
from edgerec.files.container import Container
from edgerec.files.container_writer import write_container
from edgerec.files.staging import Staging
from edgerec.model.codecs import Codec, Int8
from edgerec.model.device_model import DeviceModel
from edgerec.model.items import Items
from edgerec.training.loop import train
from edgerec_prune.sparse import Sparse
from tests.conftest import make_dataset


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
    with pytest.raises(DataError, match="no user has two training items"):
        train(alone, epochs=1, dim=8)


@pytest.fixture(scope="module")
def trained(dataset: Dataset) -> DeviceModel:
    return train(dataset, epochs=1, dim=16).to_device_model()


def test_a_build_writes_all_or_nothing(
    trained: DeviceModel, dataset: Dataset, tmp_path: Path
) -> None:
    quantize = (("quantize", {"codec": "int8"}),)
    (numpy, onnx) = build(trained, dataset, Recipe(quantize, ("numpy", "onnx")), tmp_path / "all")
    between = (numpy.figures.bundle_bytes + onnx.figures.bundle_bytes) // 2
    device = Device("x", Budget(max_bundle_bytes=between))
    with pytest.raises(BudgetError, match=r"onnx on x: budget\.max_bundle_bytes: measured"):
        build(trained, dataset, Recipe(quantize, ("numpy", "onnx"), device), tmp_path / "none")
    assert list((tmp_path / "none").iterdir()) == []


def test_the_bundles_of_a_build_move_together(
    trained: DeviceModel, dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moves: list[set[str]] = []
    move = Staging.move

    def recorded(self: Staging, pairs: Mapping[Path, Path]) -> None:
        moves.append({place.name for place in pairs.values()})
        move(self, pairs)

    monkeypatch.setattr(Staging, "move", recorded)
    build(trained, dataset, Recipe((), ("numpy", "onnx")), tmp_path / "all")
    # The keeper carries out one request to its end, even if this process is killed meanwhile.
    assert moves[-1] == {"numpy.edgerec", "onnx.edgerec"}


def test_a_refusal_comes_before_training(
    trained: DeviceModel, dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Sparse, "structure", Codec.structure)  # as if it declared none
    seen: list[str] = []
    recipe = Recipe((("prune", {"share": "0.5"}),), ("numpy", "onnx"))
    with pytest.raises(TargetError, match=r"onnx cannot take .*'sparse' declares no structure"):
        build(trained, dataset, recipe, tmp_path, progress=lambda *now: seen.append(now[2]))
    assert not seen


def test_a_short_list_is_compared_as_far_as_it_goes(
    trained: DeviceModel, dataset: Dataset, tmp_path: Path
) -> None:
    for one in build(trained, dataset, Recipe((), ("numpy", "tflite"), None, 5), tmp_path):
        assert one.figures.retention.quality == pytest.approx(1, abs=0.01)
        assert one.figures.retention.overlap == pytest.approx(1, abs=0.01)


def test_another_catalogue(trained: DeviceModel, dataset: Dataset, bundle: Bundle) -> None:
    renamed = dataclasses.replace(
        dataset, items=Items.of(f"other{row}" for row in range(len(dataset.items)))
    )
    with pytest.raises(DataError, match="lacks 80 of the model's 80 items, such as 'i000'"):
        evaluate(trained, renamed)
    with pytest.raises(TargetError, match="knows no item of the histories"):
        measure(bundle.path, [["nope"], ["neither"]])


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
    with pytest.raises(DataError, match="rating, timestamp is in only one of the two files"):
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
    with pytest.raises(DataError, match=r"titles\.CSV: none of its items occurs in"):
        read_dataset(shop, columns=named, titles=titles)


def test_a_core_of_no_interactions(dataset: Dataset) -> None:
    with pytest.raises(DataError, match="k_core: expected at least 1, got -3"):
        dataset.k_core(-3)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (np.array([0, 600]), "take: expected distinct rows from 0 to 599"),
        (np.array([-1, 2]), "take: expected distinct rows"),
        (np.array([3, 3]), "take: expected distinct rows"),
        (np.ones(600, bool), r"take: expected integer rows, got bool\[600\]"),
    ],
)
def test_rows_that_a_catalogue_does_not_have(
    rows: NDArray[Any], message: str, models: dict[str, DeviceModel]
) -> None:
    with pytest.raises(ModelError, match=message):
        models["sum"].take(rows)
