"""Reading interactions: every format, every kind of bad input by its message."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from edgerec.building.measured import histories_of
from edgerec.data.dataset import Dataset
from edgerec.data.dataset_file import load_dataset, save_dataset
from edgerec.data.interactions import Interactions
from edgerec.data.quality import evaluation_users
from edgerec.data.ranking import rank
from edgerec.data.readers import read_dataset
from edgerec.data.sources import load
from edgerec.errors import DataError
from edgerec.testing import example_models
from tests.conftest import make_dataset

ROWS = [
    ("ann", "apple", 5.0, 1),
    ("ann", "fig", 3.0, 2),
    ("bob", "apple", 4.0, 1),
    ("bob", "pear", 1.0, 9),
]


def write(folder: Path, kind: str) -> Path:
    frame = pl.DataFrame(ROWS, ["user_id", "item_id", "rating", "timestamp"], orient="row")
    if kind == "csv":
        frame.write_csv(folder / "x.csv")
    elif kind == "tsv":
        frame.write_csv(folder / "x.tsv", separator="\t")
    elif kind == "parquet":
        frame.write_parquet(folder / "x.parquet")
    elif kind == "inter":
        typed = {"user_id": "token", "item_id": "token", "rating": "float", "timestamp": "float"}
        frame.rename({c: f"{c}:{t}" for c, t in typed.items()}).write_csv(
            folder / "x.inter", separator="\t"
        )
    return folder / f"x.{kind}"


@pytest.mark.parametrize("kind", ["csv", "tsv", "parquet", "inter"])
def test_formats(tmp_path: Path, kind: str) -> None:
    dataset = read_dataset(write(tmp_path, kind))
    assert list(dataset.users) == ["ann", "bob"]
    assert list(dataset.items.ids) == ["apple", "fig", "pear"]
    assert dataset.train.of(1).tolist() == [0, 2]
    assert dataset.train.ratings is not None
    assert dataset.train.ratings.tolist() == [5, 3, 4, 1]


def test_train_txt_with_a_given_split(tmp_path: Path) -> None:
    # A byte order mark is no part of a user's name.
    (tmp_path / "train.txt").write_text("0 10 11\n1 10\n2\n", "utf-8-sig")
    (tmp_path / "test.txt").write_text("0 12\n1 11\n")
    dataset = read_dataset(tmp_path / "train.txt", test=tmp_path / "test.txt")
    assert list(dataset.items.ids) == ["10", "11", "12"]
    assert dataset.test is not None
    assert [rows.tolist() for rows in dataset.test.lists()] == [[2], [1]]


def test_histories_are_oldest_first_and_repeats_keep_the_latest(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("user,item,timestamp\na,x,3\na,y,1\na,x,0\nb,y,1\n")
    dataset = read_dataset(path)
    assert dataset.notes == {"repeated pairs merged": 1}
    assert [dataset.items.ids[i] for i in dataset.train.of(0)] == ["y", "x"]


def test_dates_are_timestamps(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("user,item,date\na,x,2024-05-02\na,y,2024-05-01\nb,y,2024-05-01\n")
    dataset = read_dataset(path)
    assert [dataset.items.ids[i] for i in dataset.train.of(0)] == ["y", "x"]


def test_ids_keep_their_zeros(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("user,item\n01,007\n1,7\n")
    assert list(read_dataset(path).items.ids) == ["007", "7"]


def test_titles(tmp_path: Path, csv: Path) -> None:
    (tmp_path / "t.csv").write_text("item_id,title\napple,Red apple\n")
    dataset = read_dataset(csv, titles=tmp_path / "t.csv")
    assert [dataset.items.title(r) for r in range(3)] == ["Red apple", "fig", "pear"]


BAD = {
    "no user": (
        "u,item\n1,2\n2,3\n",
        r"no user column; columns: u, item. Name it with --user-column",
    ),
    "no item": ("user,thing\n1,2\n2,3\n", "no item column; columns: user, thing"),
    "empty": ("", "the file is empty"),
    "header only": ("user,item\n", "the file has no interactions"),
    "text rating": (
        "user,item,rating\na,x,5\nb,y,good\n",
        "'rating', line 3: expected a number, got 'good'",
    ),
    "nan rating": (
        "user,item,rating\na,x,NaN\nb,y,2\n",
        "'rating', line 2: expected a number, got 'NaN'",
    ),
    "infinite": (
        "user,item,rating\na,x,inf\nb,y,2\n",
        "'rating', line 2: expected a number, got 'inf'",
    ),
    "missing rating": (
        "user,item,rating\na,x,1\nb,y,\n",
        "'rating', line 3: expected a number, got None",
    ),
    "bad time": (
        "user,item,timestamp\na,x,1\nb,y,soon\n",
        "'timestamp', line 3: expected a number, got 'soon'",
    ),
    "missing user": ("user,item\na,x\n,y\n", "1 of 2 rows have no user; the first is line 3"),
    "one user": ("user,item\na,x\na,y\n", "1 user; a recommender needs at least two users"),
    "one item": ("user,item\na,x\nb,x\n", "1 item; a recommender needs at least two users and two"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input(tmp_path: Path, case: str) -> None:
    content, message = BAD[case]
    path = tmp_path / "x.csv"
    path.write_text(content)
    with pytest.raises(DataError, match=message):
        read_dataset(path)


def test_more_bad_input(tmp_path: Path, csv: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        read_dataset(tmp_path / "none.csv")
    (tmp_path / "x.xls").write_text("user item\na b\n")
    with pytest.raises(DataError, match=r"unknown format; its first line is 'user item'\. Pass"):
        read_dataset(tmp_path / "x.xls")
    with pytest.raises(DataError, match="no column 'stars'; columns: user, item, rating"):
        read_dataset(csv, columns={"rating": "stars"})
    with pytest.raises(DataError, match="no interaction is rated 9 or more"):
        read_dataset(csv, min_rating=9)
    (tmp_path / "bad.parquet").write_bytes(b"nope")
    with pytest.raises(DataError, match="cannot be read as Parquet"):
        read_dataset(tmp_path / "bad.parquet")
    with pytest.raises(DataError, match="unknown dataset 'ml-100m'; known: ml-100k, or a file"):
        load("ml-100m")


def test_random_split_leaves_everybody_something() -> None:
    dataset = make_dataset()
    split = dataset.split_random(0.2, seed=3)
    assert split.test is not None
    assert len(split.train) + len(split.test) == len(dataset.train)
    assert np.all(np.diff(split.train.indptr) >= 1)
    again = dataset.split_random(0.2, seed=3)
    assert np.array_equal(split.train.items, again.train.items)


def test_leave_last_out_holds_out_the_latest() -> None:
    dataset = make_dataset()
    split = dataset.split_last()
    assert split.test is not None
    for user in range(20):
        whole = dataset.train.of(user)
        assert split.test.of(user).tolist() == whole[-1:].tolist()


def test_the_most_recent_share_is_held_out() -> None:
    dataset = make_dataset()
    split = dataset.split_recent(0.25)
    assert split.test is not None
    for user in range(20):
        whole = dataset.train.of(user).tolist()
        held = int(len(whole) * 0.25 + 0.5)
        assert split.train.of(user).tolist() == whole[: len(whole) - held]
        assert split.test.of(user).tolist() == whole[len(whole) - held :]
    with pytest.raises(DataError, match="split: share: expected a number between 0 and 1, got 1"):
        dataset.split_recent(1)


def test_k_core_holds_for_users_and_items() -> None:
    core = make_dataset().k_core(9)
    assert np.diff(core.train.indptr).min() >= 9
    assert core.train.counts(len(core.items)).min() >= 9
    with pytest.raises(DataError, match="nothing is left at k = 1000"):
        make_dataset().k_core(1000)


def test_datasets_are_saved_whole(tmp_path: Path, dataset: Dataset) -> None:
    save_dataset(dataset, tmp_path / "x.dataset")
    loaded = load(tmp_path / "x.dataset")
    assert list(loaded.users) == list(dataset.users)
    assert np.array_equal(loaded.train.items, dataset.train.items)
    assert loaded.test is not None
    assert dataset.test is not None
    assert np.array_equal(loaded.test.indptr, dataset.test.indptr)
    raw = (tmp_path / "x.dataset").read_bytes()
    (tmp_path / "x.dataset").write_bytes(raw[:-70])
    with pytest.raises(DataError, match="damaged"):
        load_dataset(tmp_path / "x.dataset")


def test_a_dataset_is_a_value(dataset: Dataset) -> None:
    assert dataset != dataclasses.replace(dataset)
    assert repr(dataset) == (
        f"Dataset(tastes: 120 users, 80 items, {len(dataset.train):,} interactions to train on, "
        f"{len(dataset.valid or ()):,} to choose by, {len(dataset.test or ()):,} to test on)"
    )
    assert repr(dataset.train) == f"Interactions({len(dataset.train):,} of 120 users)"
    with pytest.raises(ValueError, match="read-only"):
        dataset.train.items[0] = 1


@pytest.mark.parametrize(
    ("indptr", "items", "message"),
    [
        ([1, 2], [0, 1], "indptr: expected offsets that start at 0 and rise"),
        ([0, 2, 1], [0], "indptr: expected offsets that start at 0 and rise"),
        ([], [], "indptr: expected offsets"),
        ([0, 2], [0], "items: expected 2 values, the last offset of indptr, got [1]"),
    ],
)
def test_interactions_that_do_not_fit_together(
    indptr: list[int], items: list[int], message: str
) -> None:
    with pytest.raises(DataError, match=re.escape(message)):
        Interactions(np.array(indptr, np.int64), np.array(items, np.int32))


def test_what_was_chosen_by_is_history_at_test_time() -> None:
    data = make_dataset(40, 60).split_last(3).split_last(2, part="valid")
    assert data.valid is not None
    for user in range(40):
        whole = [*data.train.of(user), *data.valid.of(user)]
        assert data.histories.of(user).tolist() == whole
    model = example_models(60)["sum"].replace(items=data.items)
    lists = rank(model, data, evaluation_users(data), 60)
    for user, found in zip(evaluation_users(data), lists, strict=True):
        assert not {*found.tolist()} & {*data.valid.of(int(user)).tolist()}
        assert {*found.tolist()} >= {*data.test.of(int(user)).tolist()}  # type: ignore[union-attr]  # it is split
    ids = [data.items.ids[int(row)] for row in data.histories.of(3)]
    assert histories_of(data, np.array([3])) == [ids]
    judged = data.on_valid()
    assert (judged.test, judged.valid, judged.train) == (data.valid, None, data.train)


def test_interactions_of_another_catalogue(dataset: Dataset) -> None:
    other = Interactions(dataset.train.indptr, dataset.train.items + 1)
    with pytest.raises(DataError, match="train: an item is outside the catalogue of 80"):
        dataclasses.replace(dataset, train=other)
    fewer = Interactions(np.array([0, 1]), np.array([0], np.int32))
    with pytest.raises(DataError, match="test: expected interactions of 120 users, got those of 1"):
        dataclasses.replace(dataset, test=fewer)
