"""Item features in training: what is coded, what is kept, and what is refused."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import edgerec
from edgerec.data.dataset import Dataset
from edgerec.data.feature_columns import Categories, Column, Text, Vectors
from edgerec.errors import DataError, OptionError
from edgerec.files.container import Container
from edgerec.files.container_writer import write_container
from edgerec.model.items import Items
from edgerec.training.feature_coding import Bags, coder_of
from edgerec.training.item_features import ItemFeatures
from edgerec.training.loop import train
from tests.conftest import example_features


def summed(*columns: Column) -> list[float]:
    """What features add to the vectors of zeros, with matrices of ones."""
    features = ItemFeatures(columns, 2)
    with torch.no_grad():
        for part in features.parts:
            part.matrix.fill_(1)  # type: ignore[union-attr, operator]  # torch types it as a module
        return features(torch.zeros(len(columns[0]), 2))[:, 0].tolist()


def test_words_by_hand() -> None:
    # "the" is everywhere and says nothing; "red" is in two of three, "fox" in one.
    red, fox = math.log(3 / 2), math.log(3)
    expected = (red + fox) / math.hypot(red, fox)
    found = summed(Text.of(["The Red Fox", "the red, red hen", "the end"]))
    assert found == pytest.approx([expected, expected, 1.0])


def test_labels_by_hand() -> None:
    found = summed(Categories.of([["a", "b", "b"], "a", []]))
    # Two of three items have a, and one has b.
    a, b = math.log(3 / 2), math.log(3)
    assert found == pytest.approx([(a + b) / math.hypot(a, b), 1, 0])


def test_vectors_by_hand() -> None:
    found = summed(Vectors.of([1.0, 2.0, 3.0]))
    assert found == pytest.approx([-math.sqrt(1.5), 0, math.sqrt(1.5)])
    # Ranks count, ties in their middle: .25, .25, .625 and .875.
    ranks = np.array([0.25, 0.25, 0.625, 0.875])
    expected = (ranks - ranks.mean()) / ranks.std()
    assert summed(Vectors.of([1, 1, 2, 1000])) == pytest.approx(expected, abs=1e-6)
    # A number that is the same everywhere says nothing.
    assert summed(Vectors.of([7, 7, 7])) == [0, 0, 0]


def test_several_features_add_up() -> None:
    parts = [Categories.of(["a", "b", "a"]), Vectors.of([1.0, 2.0, 3.0])]
    both = summed(*parts)
    assert both == pytest.approx(np.add(summed(parts[0]), summed(parts[1])))


def test_what_no_item_has_says_nothing() -> None:
    for old, new in (
        (Categories.of(["a", "b"]), Categories.of([["a", "new"], ["new"]])),
        (Text.of(["red fox", "blue hen"]), Text.of(["red unheard", "unheard"])),
    ):
        bags = coder_of(old)(new)
        assert isinstance(bags, Bags)
        assert bags.offsets.tolist() == [0, 1, 1]
        assert bags.weights.tolist() == [1]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (Categories.of(["a"]), Text.of(["a"]), "expected categories, as in the data set, got text"),
        (Text.of(["a"]), Vectors.of([1]), "expected text, as in the data set, got vectors"),
        (Vectors.of([[1, 2]]), Vectors.of([1]), "vectors of width 2, .*, got vectors of width 1"),
    ],
)
def test_other_features_than_learned_from(old: Column, new: Column, message: str) -> None:
    with pytest.raises(DataError, match=message):
        coder_of(old)(new)


def test_a_checkpoint_holds_the_features(dataset: Dataset, tmp_path: Path) -> None:
    dataset = dataset.with_features(example_features(dataset))
    options: dict[str, Any] = {"features": "titles,kind,shape", "epochs": 3, "dim": 8}
    path = tmp_path / "training"

    def stop(done: int, total: int, what: str) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(dataset, checkpoint=path, progress=stop, **options)
    other = dataset.with_features(example_features(dataset, seed=1))
    with pytest.raises(OptionError, match="was written with another dataset"):
        train(other, checkpoint=path, **options)
    resumed = train(dataset, checkpoint=path, **options).to_device_model()
    whole = train(dataset, **options).to_device_model()
    assert np.array_equal(resumed.tables["items"].decode(), whole.tables["items"].decode())


def test_a_saved_network_needs_its_features(dataset: Dataset, tmp_path: Path) -> None:
    with_features = dataset.with_features(example_features(dataset))
    train(with_features, features="shape", epochs=1, dim=8).save(tmp_path / "x.gnn")
    other = dataset.with_features(example_features(dataset, seed=1))
    with pytest.raises(OptionError, match="other interactions, items or features than those of"):
        edgerec.load_trained(tmp_path / "x.gnn", other)
    with pytest.raises(OptionError, match="the data set has no shape; it has: titles"):
        edgerec.load_trained(tmp_path / "x.gnn", dataset)
    # Features that it was not trained on do not matter.
    train(dataset, epochs=1, dim=8).save(tmp_path / "y.gnn")
    edgerec.load_trained(tmp_path / "y.gnn", with_features)


def test_networks_with_words_of_an_earlier_version(dataset: Dataset, tmp_path: Path) -> None:
    trained = train(dataset, features="titles", epochs=1, dim=8)
    trained.save(tmp_path / "new.gnn")
    file = Container(tmp_path / "new.gnn")
    now, then = "state/item_features.parts.0.matrix", "state/text.words"
    sections = {then if n == now else n: file.array(n).copy() for n in file.names}
    assert then in sections
    meta = {name: value for name, value in file.meta.items() if name != "kind"}
    write_container(tmp_path / "old.gnn", "gnn", meta, sections)
    loaded = edgerec.load_trained(tmp_path / "old.gnn", dataset)
    assert torch.equal(loaded.gnn.get_parameter(now[6:]), trained.gnn.get_parameter(now[6:]))


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (
            "genres",
            "features: the data set has no genres; it has: kind, size, blurb, shape, titles",
        ),
        ("kind,kind", "features: expected different names, such as titles,genres; got 'kind,kind'"),
        ("kind,", "features: expected different names, such as titles,genres; got 'kind,'"),
    ],
)
def test_features_that_are_not_there(dataset: Dataset, names: str, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        train(dataset.with_features(example_features(dataset)), features=names, epochs=1)


def test_titles_that_are_not_there(dataset: Dataset) -> None:
    bare = dataclasses.replace(dataset, items=Items.of(dataset.items.ids))
    with pytest.raises(OptionError, match="features: the data set has no titles"):
        train(bare, features="titles", epochs=1, dim=8)
    with pytest.raises(OptionError, match="has no kind; it has: none; add them with"):
        train(bare, features="kind", epochs=1, dim=8)
