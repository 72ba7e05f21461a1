"""Models, bundles and files of lists are compared over the same histories."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import edgerec
from edgerec.building.agree import agree
from edgerec.data.dataset import Dataset
from edgerec.data.dataset_file import save_dataset
from edgerec.data.ranking import rank, rank_rows
from edgerec.errors import BundleError, DataError, OptionError
from edgerec.model.codecs import Int4
from edgerec.model.device_model import DeviceModel
from edgerec.testing import adverse_models

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def tables(dataset: Dataset) -> DeviceModel:
    """A model with one more item than the data."""
    ids = [*dataset.items.ids, "unsold"]
    return edgerec.from_embeddings(ids, RNG.normal(size=(len(ids), 8)), head="sigmoid")


def write(
    path: Path, model: DeviceModel, dataset: Dataset, k: int = 20, seen: Sequence[str] = ()
) -> Path:
    """Write a model's lists, each with the seen items that are given in front."""
    data = dataclasses.replace(dataset, valid=None, test=None)
    lists, scores = rank_rows(model, data, np.arange(len(data.users)), k)
    rows = [
        {"user": user, "item": item, "score": float(score)}
        for user, own, found in zip(data.users, lists, scores, strict=True)
        for item, score in [
            *((one, 2) for one in seen),
            *((model.items.ids[int(row)], s) for row, s in zip(own, found, strict=True)),
        ]
    ]
    pl.DataFrame(rows).write_parquet(path)
    return path


def test_all_kinds_agree(tables: DeviceModel, dataset: Dataset, tmp_path: Path) -> None:
    edgerec.save_model(tables, tmp_path / "x.model")
    edgerec.export(tables, "numpy", tmp_path / "x.edgerec", top_k=25)
    sides = [tables, tmp_path / "x.model", str(tmp_path / "x.edgerec")]
    sides.append(write(tmp_path / "x.parquet", tables, dataset))
    for other in sides:
        found = agree(other, tables, dataset)
        assert (found.overlap.value, found.identical, found.correlation) == (1, 1, 1)
        assert found.score_difference == pytest.approx(0, abs=1e-4)
        assert (found.users, found.left_out, found.top) == (120, 0, 20)
    worse = tables.with_codec(Int4())
    found, back = agree(worse, tables, dataset), agree(tables, worse, dataset)
    assert 0.5 < found.overlap.value < 1
    assert found == back
    assert found.score_difference is not None
    assert 0 < found.score_difference < 0.5
    # What a sampled user is recommended does not depend on who else was drawn.
    some = agree(worse, tables, dataset, users=30)
    assert some.users == 30
    assert some == agree(worse, tables, dataset, users=30)
    assert some.overlap != agree(worse, tables, dataset, users=30, seed=1).overlap


def test_histories_are_those_of_training(
    tables: DeviceModel, dataset: Dataset, tmp_path: Path
) -> None:
    """Neither validation nor test items are read, and they may be listed."""
    path = write(tmp_path / "x.parquet", tables, dataset)
    assert agree(path, tables, dataset).overlap.value == 1
    assert dataset.valid is not None
    whole = dataclasses.replace(dataset, train=dataset.histories, valid=None)
    with pytest.raises(DataError, match=r"'i\d+', which is in the user's training history"):
        agree(path, tables, whole)


def test_seen_items_of_a_file_are_left_out(
    tables: DeviceModel, dataset: Dataset, tmp_path: Path
) -> None:
    user = dataset.users[0]
    seen = dataset.items.ids[int(dataset.train.of(0)[0])]
    path = write(tmp_path / "x.parquet", tables, dataset, seen=[seen])
    frame = pl.read_parquet(path).filter(pl.col("user") == user)
    frame.write_csv(tmp_path / "long.csv")
    found = agree(tmp_path / "long.csv", tables, dataset, top=20)
    assert (found.users, found.left_out, found.identical) == (1, 119, 1)
    assert found.score_difference == pytest.approx(0, abs=1e-4)
    frame.head(20).write_csv(tmp_path / "short.csv")
    with pytest.raises(DataError, match=f"user {user!r} has {seen!r}, .* only 19 other items"):
        agree(tmp_path / "short.csv", tables, dataset)
    # A model that recommends seen items again is compared with the list as it is.
    again = tables.replace(drop_seen=False)
    lists, _ = rank_rows(again, dataclasses.replace(dataset, valid=None), np.array([0]), 20)
    own = [again.items.ids[int(row)] for row in lists[0]]
    pl.DataFrame({"user": [user] * 20, "item": own}).write_csv(tmp_path / "again.csv")
    assert {*own} & {dataset.items.ids[int(row)] for row in dataset.train.of(0)}
    assert agree(again, tmp_path / "again.csv", dataset).identical == 1


def test_the_length_of_lists(tables: DeviceModel, dataset: Dataset, tmp_path: Path) -> None:
    path = write(tmp_path / "x.parquet", tables, dataset, k=7)
    assert agree(path, tables, dataset).top == 7
    assert agree(path, tables, dataset, top=3).top == 3
    for top in (8, 0):
        with pytest.raises(OptionError, match=rf"top: expected 1 to 7, .*x.parquet, got {top}"):
            agree(tables, path, dataset, top=top)
    edgerec.export(tables, "numpy", tmp_path / "x.edgerec", top_k=5)
    with pytest.raises(OptionError, match=r"top: expected 1 to 5, .*x.edgerec, got 6"):
        agree(tmp_path / "x.edgerec", path, dataset, top=6)


def test_only_users_that_both_know(tables: DeviceModel, dataset: Dataset, tmp_path: Path) -> None:
    few = tables.take(np.arange(12))
    known = sum(bool((past < 12).any()) for past in dataset.train.lists())
    assert 0 < known < len(dataset.users)
    found = agree(few, tables, dataset)
    assert (found.users, found.left_out, found.top) == (known, 120 - known, 12)
    edgerec.export(few, "numpy", tmp_path / "few.edgerec", top_k=12)
    again = agree(tmp_path / "few.edgerec", tables, dataset)
    assert (again.users, again.overlap) == (known, found.overlap)
    pl.DataFrame({"user": ["0", "1"], "item": ["i001", "i002"]}).write_csv(tmp_path / "x.csv")
    with pytest.raises(DataError, match=r"no user .* lists of both .*x.csv and the model; ids"):
        agree(tmp_path / "x.csv", tables, dataset)


def test_users_without_a_history_are_not_compared(
    tables: DeviceModel, dataset: Dataset, tmp_path: Path
) -> None:
    """Not even if both sides list something for them."""
    path = write(tmp_path / "x.parquet", tables, dataset)
    data = dataclasses.replace(dataset, train=dataset.train.take(dataset.train.users > 4))
    found = agree(path, path, data)
    assert (found.users, found.left_out, found.overlap.value) == (115, 0, 1)


def test_weights_are_read_where_the_model_reads_them(
    tables: DeviceModel, dataset: Dataset, tmp_path: Path
) -> None:
    weights = RNG.uniform(0.1, 10, len(dataset.train)).astype(np.float32)
    train = dataclasses.replace(dataset.train, weights=weights)
    data = dataclasses.replace(dataset, train=train, valid=None, test=None)
    weighted = tables.replace(weighted=True)
    for name, model in (("plain", tables), ("weighted", weighted)):
        edgerec.export(model, "numpy", tmp_path / f"{name}.edgerec")
        assert agree(tmp_path / f"{name}.edgerec", model, data).identical == 1
    assert agree(tables, weighted, data).overlap.value < 1
    assert agree(tables, weighted, dataset).overlap.value == 1


def test_what_cannot_be_compared(tables: DeviceModel, dataset: Dataset, tmp_path: Path) -> None:
    situated = adverse_models()["situated"]
    with pytest.raises(OptionError, match="reads user_vector and context, which the data set does"):
        agree(situated, tables, dataset)
    edgerec.export(situated, "numpy", tmp_path / "x.edgerec")
    with pytest.raises(OptionError, match=r"x\.edgerec: reads user_vector and context"):
        agree(tables, tmp_path / "x.edgerec", dataset)
    (tmp_path / "x.pth").write_bytes(b"PK" * 100)
    with pytest.raises(BundleError, match=r"x\.pth: not an edgerec file"):
        agree(tables, tmp_path / "x.pth", dataset)
    save_dataset(dataset, tmp_path / "d.dataset")
    with pytest.raises(OptionError, match=r"d\.dataset: expected a model, a bundle, or lists"):
        agree(tables, tmp_path / "d.dataset", dataset)
    edgerec.export(tables, "torchscript", tmp_path / "t.edgerec")
    with pytest.raises(OptionError, match="pass trust=True"):
        agree(tables, tmp_path / "t.edgerec", dataset)
    assert agree(tables, tmp_path / "t.edgerec", dataset, trust=True).overlap.value > 0.99


def test_rank_gives_rows_of_the_data(tables: DeviceModel, dataset: Dataset) -> None:
    model = tables.take(np.arange(10, 60)[::-1])
    users = np.arange(20)
    of_model, scores = rank_rows(model, dataset, users, 60)
    of_data = rank(model, dataset, users, 60)
    names, there = model.items.ids, dataset.items.ids
    for rows, others, own in zip(of_model, of_data, scores, strict=True):
        real = rows >= 0
        assert [names[int(row)] for row in rows[real]] == [there[int(r)] for r in others[real]]
        assert (others[~real] == -1).all()
        assert (np.diff(own[real]) <= 0).all()
        assert ((own[real] > 0) & (own[real] < 1)).all()
    with pytest.raises(DataError, match="lacks 1 of the model's"):
        rank(tables, dataset, users)
