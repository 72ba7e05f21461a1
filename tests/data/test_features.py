"""Item features: read, sorted into a data set, kept in its file, and refused if they are wrong."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import edgerec
from edgerec.data.dataset import Dataset
from edgerec.data.dataset_file import load_dataset, save_dataset
from edgerec.data.feature_columns import Categories, Text, Tokens, Vectors
from edgerec.data.feature_files import parse_feature_columns, read_features
from edgerec.data.features import Features
from edgerec.errors import DataError, EdgerecError
from tests.conftest import example_features


def same(one: Features, other: Features) -> bool:
    """Whether two features are equal."""
    if one.kinds != other.kinds or one.items.ids != other.items.ids:
        return False
    pairs = [(c.sections(), other.columns[name].sections()) for name, c in one.columns.items()]
    return all(np.array_equal(a[key], b[key]) for a, b in pairs for key in a | b)


def test_features_follow_the_items(dataset: Dataset) -> None:
    features = example_features(dataset)
    order = np.random.default_rng(0).permutation(len(dataset.items))
    shuffled = features.take(order)
    assert not same(shuffled, features)
    found = dataset.with_features(shuffled).item_features
    assert found is not None
    assert same(found, features)
    kind = found.columns["kind"]
    assert isinstance(kind, Tokens)
    titles = dataset.items.titles or ()
    assert [labels[0] for labels in kind.tokens()] == [title.split()[-1] for title in titles]


def test_a_dataset_file_keeps_them(dataset: Dataset, tmp_path: Path) -> None:
    full = dataset.with_features(example_features(dataset))
    save_dataset(full, tmp_path / "x.dataset")
    loaded = load_dataset(tmp_path / "x.dataset")
    assert loaded.item_features is not None
    assert full.item_features is not None
    assert same(loaded.item_features, full.item_features)
    # Without features, a file is as it was before there were any.
    save_dataset(dataset, tmp_path / "y.dataset")
    assert load_dataset(tmp_path / "y.dataset").item_features is None
    assert b"features" not in (tmp_path / "y.dataset").read_bytes()


def test_filters_and_splits_keep_them(dataset: Dataset) -> None:
    whole = dataclasses.replace(dataset, valid=None, test=None)
    whole = whole.with_features(example_features(dataset))
    small = whole.k_core(6)
    assert 0 < len(small.items) < len(whole.items)
    kept, every = small.item_features, whole.item_features
    assert kept is not None
    assert every is not None
    assert same(kept, every.of_items(small.items))
    assert whole.split_random(0.2).item_features is every


def test_other_items_are_counted(dataset: Dataset) -> None:
    features = Features.of(
        [*dataset.items.ids, "new"], numbers={"size": np.arange(len(dataset.items) + 1)}
    )
    found = dataset.with_features(features)
    assert found.notes["items with features but without interactions"] == 1
    assert isinstance(column := features.columns["size"], Vectors)
    assert found.item_features is not None
    assert isinstance(kept := found.item_features.columns["size"], Vectors)
    assert np.array_equal(kept.values, column.values[:-1])


def test_items_without_features_are_refused(dataset: Dataset) -> None:
    features = example_features(dataset).take(np.arange(3, len(dataset.items)))
    message = "features: 3 of 80 items have none, such as 'i000', 'i001', 'i002'; add them"
    with pytest.raises(DataError, match=message):
        dataset.with_features(features)
    with pytest.raises(DataError, match="item_features: are not those of the catalogue"):
        dataclasses.replace(dataset, item_features=features)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"numbers": {"year": [1, float("nan")]}}, "year: item 1: expected finite .* 1 of 2 items"),
        ({"numbers": {"year": [1, None]}}, "year: item 1: expected finite numbers"),
        ({"numbers": {"year": [1, "x"]}}, "year: expected a number per item"),
        ({"numbers": {"year": [1]}}, "year: expected 2 entries, one per item, got 1"),
        ({"numbers": {"year": [[1, 2], [3, 4]]}}, "year: expected a number per item, got 2; pass"),
        ({"vectors": {"x": [[1, 2], [3]]}}, "x: expected a number per item, or vectors of the"),
        ({"vectors": {"x": np.zeros((2, 0))}}, r"x: expected float32\[n, e\], got float32\[2, 0\]"),
        ({"vectors": {"x": [[1e39, 0], [0, 0]]}}, "x: item 0: expected finite numbers"),
        ({"categories": {"g": ["a", ""]}}, "g: item 1: expected a label or a list of labels"),
        ({"categories": {"g": ["a", None]}}, "g: item 1: expected a label .*, got None"),
        ({"categories": {"g": [["a"], [1.5]]}}, "g: item 1: expected a label .*, got 1.5"),
        ({"text": {"t": ["a", 5]}}, "t: item 1: expected a text, got 5"),
        ({"text": {"titles": ["a", "b"]}}, "'titles' cannot be the name of a column"),
        ({"text": {"a,b": ["a", "b"]}}, "'a,b' cannot be the name of a column"),
        ({"text": {"t": "ab"}, "numbers": {"t": [1, 2]}}, "features: t: is given twice"),
        ({}, "features: expected at least one column"),
    ],
)
def test_wrong_values(given: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        Features.of(["a", "b"], **given)


ROWS: list[dict[str, Any]] = [
    {"item": 7, "year": 1999, "genres": ["Crime", "Drama"], "plot": "A heist", "poster": [1, 0.5]},
    {"item": 8, "year": 2001.5, "genres": [], "plot": "", "poster": [0, 1]},
]
COLUMNS = {"genres": "categories", "year": "numbers", "plot": "text", "poster": "vectors"}


def json_lines(path: Path) -> Path:
    """The rows in JSON lines."""
    path = path / "f.jsonl"
    path.write_text("\n".join(map(json.dumps, ROWS)) + "\n")
    return path


def parquet(path: Path) -> Path:
    """The rows in Parquet."""
    path = path / "f.parquet"
    pl.DataFrame(ROWS, strict=False).write_parquet(path)
    return path


def csv(path: Path) -> Path:
    """The rows in csv, which has no vectors; they are in an array beside it."""
    path = path / "f.csv"
    path.write_text("item,year,genres,plot\n7,1999,Crime|Drama,A heist\n8,2001.5,,\n")
    return path


@pytest.mark.parametrize("write", [json_lines, parquet, csv])
def test_files(write: Callable[[Path], Path], tmp_path: Path) -> None:
    path, columns = write(tmp_path), dict(COLUMNS)
    if write is csv:
        np.save(tmp_path / "p.npy", np.array([row["poster"] for row in ROWS]))
        columns["poster"] = str(tmp_path / "p.npy")
    found = edgerec.read_features(path, columns)
    assert list(found.items.ids) == ["7", "8"]
    genres, plot = found.columns["genres"], found.columns["plot"]
    assert isinstance(genres, Categories)
    assert isinstance(plot, Text)
    assert genres.tokens() == [["Crime", "Drama"], []]
    assert plot.tokens() == [["a", "heist"], []]
    for name, expected in (("year", [[1999], [2001.5]]), ("poster", [[1, 0.5], [0, 1]])):
        column = found.columns[name]
        assert isinstance(column, Vectors)
        assert column.values.tolist() == expected


@pytest.mark.parametrize(
    ("text", "columns", "message"),
    [
        ("item,year\n1,\n", {"year": "numbers"}, "column 'year', line 2: expected a number"),
        ("item,year\n1,nan\n", {"year": "numbers"}, "column 'year', line 2: expected a number"),
        ("item,g\n1,a\n1,b\n", {"g": "categories"}, "column 'item', line 2: expected every item"),
        ("item,g\n1,a\n", {"h": "categories"}, "f.csv: no column 'h'; columns: item, g"),
        ("item,g\n1,a\n", {"g": "labels"}, "g: expected categories, .*npy file, got 'labels'"),
        ("item,g\n1,a\n", {"g": "vectors"}, "vectors are lists of numbers, in Parquet or JSON"),
        ("item,g\n1,a\n", {"g": "none.npy"}, "none.npy: expected an array of numpy"),
        ("item,g\n1,a\n", {}, "f.csv: name at least one column"),
        ("what,g\n1,a\n", {"g": "text"}, "f.csv: no item column"),
    ],
)
def test_wrong_files(text: str, columns: dict[str, str], message: str, tmp_path: Path) -> None:
    (tmp_path / "f.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        read_features(tmp_path / "f.csv", columns)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"item": 1, "v": [1]}\n{"item": 2, "v": [1, 2]}', "'v', line 2: expected 1 numbers"),
        ('{"item": 1, "v": [1]}\n\n{"item": 2}', "'v', line 3: expected a list"),
        ('{"item": 1, "v": [NaN]}', "'v', line 1: expected finite numbers"),
        ('{"item": 1, "v": ["x"]}', "'v', line 1: expected finite numbers"),
        ('{"item": 1, "v": [1]}\n[2]', r"line 2: expected an object, got '\[2\]'"),
        ('{"item": 1, "v": [1]}\n{"item": ', "line 2: is not JSON"),
        ('{"item": 1, "v": [1]}\n{"item": "x", "v": [2]}', "'item' has values of several types"),
    ],
)
def test_wrong_json_lines(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "f.jsonl").write_text(text)
    with pytest.raises(DataError, match=message):
        read_features(tmp_path / "f.jsonl", {"v": "vectors"})


@pytest.mark.parametrize("array", [np.zeros((3, 2)), np.zeros(2), np.array([["a"], ["b"]])])
def test_arrays_that_do_not_fit(array: Any, tmp_path: Path) -> None:
    np.save(tmp_path / "p.npy", array)
    with pytest.raises(DataError, match=r"p.npy: expected numbers \[2, e\], one row per item of"):
        read_features(csv(tmp_path), {"poster": str(tmp_path / "p.npy")})


def test_columns_as_the_command_line_takes_them() -> None:
    assert parse_feature_columns("a=text, b=x.npy") == {"a": "text", "b": "x.npy"}
    for wrong in ("a", "a=", "a=text,a=text", ""):
        with pytest.raises(DataError, match="expected different names with a kind each"):
            parse_feature_columns(wrong)


def test_damaged_files(dataset: Dataset, tmp_path: Path) -> None:
    """Whatever a crafted file has in place of features is an error that names the file."""
    from edgerec.files.container import Container
    from edgerec.files.container_writer import write_container

    save_dataset(dataset.with_features(example_features(dataset)), tmp_path / "x.dataset")
    file = Container(tmp_path / "x.dataset")
    meta = {name: value for name, value in file.meta.items() if name != "kind"}
    arrays = {name: file.array(name).copy() for name in file.names}
    damage: list[tuple[str, Any]] = [
        ("features/0/places", np.full_like(arrays["features/0/places"], 99)),
        ("features/1/values", np.full_like(arrays["features/1/values"], np.nan)),
        ("features/1/values", arrays["features/1/values"][:-1]),
        ("features", [["kind", "pictures"]]),
        ("features", "kind"),
    ]
    for name, value in damage:
        new_meta = meta | ({name: value} if name == "features" else {})
        new_arrays = arrays | ({} if name == "features" else {name: value})
        write_container(tmp_path / "y.dataset", "dataset", new_meta, new_arrays)
        with pytest.raises(EdgerecError, match=r"y.dataset: .*the file is damaged"):
            load_dataset(tmp_path / "y.dataset")
