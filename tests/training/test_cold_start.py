"""Cold start: new items get rows from their features alone."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

import edgerec
from edgerec.data.dataset import Dataset
from edgerec.data.features import Features
from edgerec.errors import DataError, ModelError, OptionError
from edgerec.model.device_model import DeviceModel
from edgerec.model.items import Items
from edgerec.training.cold_start import add_items, rows_from_features
from edgerec.training.feature_kernel import FeatureKernel
from edgerec.training.loop import train
from tests.conftest import example_features


@pytest.fixture(scope="module")
def full(dataset: Dataset) -> Dataset:
    return dataset.with_features(example_features(dataset))


@pytest.fixture(scope="module")
def model(full: Dataset) -> DeviceModel:
    return train(full, epochs=8, dim=8, batch=32).to_device_model()


def new_items(*kinds: str) -> Features:
    """New items of the given kinds, with nothing else known."""
    ids = [f"new{row}" for row in range(len(kinds))]
    return Features.of(ids, categories={"kind": list(kinds)}, titles=[f"New {k}" for k in kinds])


def test_new_items_are_recommended_to_those_who_like_their_kind(
    full: Dataset, model: DeviceModel, tmp_path: Path
) -> None:
    grown = edgerec.add_items(model, full, new_items("0", "1", "2", "3"), names=["kind"])
    assert len(grown.items) == 84
    assert grown.items.title(83) == "New 3"
    assert grown.metadata["added_items"] == 4
    kinds = [title.split()[-1] for title in full.items.titles or ()]
    edgerec.export(grown, "numpy", tmp_path / "x.edgerec")
    with edgerec.Scorer.open(tmp_path / "x.edgerec") as scorer:
        for kind in "0123":
            past = [i for i, own in zip(full.items.ids, kinds, strict=True) if own == kind][:5]
            found = scorer.recommend(past, k=1, only=[f"new{row}" for row in range(4)])
            assert found[0].title == f"New {kind}"
            # As past items, they stand for their kind as well.
            similar = scorer.recommend([f"new{kind}"], k=5)
            assert sum(one.title.split()[-1] == kind for one in similar) >= 4


def test_known_rows_do_not_change(full: Dataset, model: DeviceModel) -> None:
    grown = add_items(model, full, new_items("0", "1"), names=["kind"])
    for name, table in model.tables.items():
        assert np.array_equal(grown.tables[name].decode()[:80], table.decode())
    assert not np.array_equal(*grown.tables["items"].decode()[80:])
    assert edgerec.compress(grown, "quantize:codec=int8").table_bytes < grown.table_bytes


@pytest.mark.parametrize("name", ["kind", "blurb", "shape"])
def test_each_kind_of_feature_tells(name: str, full: Dataset, model: DeviceModel) -> None:
    """Rows of held-out items are closer to their own than those from shuffled features are."""
    features = full.item_features
    assert features is not None
    held, kept = np.arange(0, 80, 4), np.setdiff1d(np.arange(80), np.arange(0, 80, 4))
    inside = {int(old): new for new, old in enumerate(kept)}
    edges = np.isin(full.train.items, kept)
    train_part = full.train.take(edges)
    renamed = np.array([inside[int(i)] for i in train_part.items], np.int32)
    warm = Dataset(
        "warm",
        full.users,
        full.items.take(kept),
        dataclasses.replace(train_part, items=renamed),
        item_features=features.take(kept),
    )
    true = model.tables["items"].decode()[held]
    small = model.take(kept)
    errors = []
    for order in (np.arange(len(held)), np.random.default_rng(0).permutation(len(held))):
        cold = features.take(held[order])
        found = rows_from_features(small, warm, cold, names=[name])["items"]
        errors.append(np.square(found - true).sum())
    assert errors[0] < 0.7 * errors[1]


def test_the_rows_by_hand(full: Dataset, model: DeviceModel) -> None:
    """With one feature and one σ and λ left, rows are those of kernel ridge regression.

    Its kernel is the sum of the exponential one and the linear one.
    """
    import edgerec.training.cold_start as module

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_SIGMAS", (1.0,))
        patch.setattr(module, "_LAMBDAS", (1.0,))
        found = rows_from_features(model, full, new_items("2"), names=["kind"])
    kinds = [title.split()[-1] for title in full.items.titles or ()]
    # Each item has its kind and "all", which says nothing. The new one has its kind alone.
    same, asked = np.equal.outer(kinds, kinds), np.array(kinds) == "2"
    kernel, new = np.exp(same - 1.0) + same, np.exp(asked - 1.0) + asked
    for name, table in model.tables.items():
        rows = table.decode()
        mean = rows.mean(0)
        expected = mean + new @ np.linalg.solve(kernel + np.eye(80), rows - mean)
        assert np.allclose(found[name][0], expected, atol=1e-4)


def test_likeness_by_hand() -> None:
    features = Features.of(
        "abc",
        categories={"g": [["x", "y"], "x", []]},
        vectors={"v": [[0.0, 0.0], [2.0, 0.0], [0.0, 0.0]]},
    )
    kernel = FeatureKernel(features.columns, torch.arange(3))
    distance = np.square([2, 0]).sum() / (np.array([[0, 0], [2, 0], [0, 0]]) - [2 / 3, 0]).var() / 2
    # Of three items, two have x and one has y.
    near, half = np.exp(-distance / 2), np.log(3 / 2) / np.hypot(np.log(3 / 2), np.log(3))
    expected = [[1, (half + near) / 2, 0.5], [(half + near) / 2, 1, near / 2], [0.5, near / 2, 0.5]]
    assert np.allclose(kernel.likeness(features.columns), expected, atol=1e-5)
    # Side by side, they are as alike as the codes of one column after the other.
    linear = kernel.linear(features.columns)
    assert linear.shape == (3, 4)
    vectors = np.array([[-2 / 3, 0], [4 / 3, 0], [-2 / 3, 0]]) / np.sqrt(8 / 9 / 2) / np.sqrt(2)
    bags = np.array([[1, half, 0], [half, 1, 0], [0, 0, 0]])
    assert np.allclose(linear @ linear.T, (bags + vectors @ vectors.T) / 2, atol=1e-5)


def test_words_are_too_many_to_stand_side_by_side() -> None:
    features = Features.of("ab", text={"t": ["a b", "c"]}, numbers={"n": [1, 2]})
    assert FeatureKernel(features.columns, torch.arange(2)).linear(features.columns).shape == (2, 1)


def test_what_cannot_grow(full: Dataset, dataset: Dataset, model: DeviceModel) -> None:
    new = new_items("0")
    small = edgerec.compress(model, "quantize:codec=int8")
    with pytest.raises(ModelError, match=r"is compressed \(int8\); add items first, and compress"):
        add_items(small, full, new, names=["kind"])
    old = Features.of(["i003"], categories={"kind": ["0"]})
    with pytest.raises(ModelError, match="has 1 of the 1 items already, such as 'i003'"):
        add_items(model, full, old, names=["kind"])
    with pytest.raises(OptionError, match="tastes has none to learn from; add them with Dataset"):
        add_items(model, dataset, new)
    with pytest.raises(OptionError, match="the data set has no size, blurb, shape; it has: kind"):
        add_items(model, full, new)
    with pytest.raises(ModelError, match="the catalogue of the model is not that of tastes"):
        add_items(model.take(np.arange(10)), full, new, names=["kind"])
    other = Features.of(["n"], text={"kind": ["0"]})
    with pytest.raises(DataError, match="expected categories, as in the data set, got text"):
        add_items(model, full, other, names=["kind"])
    unheard = Features.of(["n", "m"], categories={"kind": ["0", "unheard"]})
    with pytest.raises(DataError, match=r"of 1 of 2 items nothing is known .* such as 'm'; add"):
        add_items(model, full, unheard, names=["kind"])
    two = train(full, tied=False, epochs=1, dim=8).to_device_model()
    past = two.replace(past=Items.of([f"p{i}" for i in range(80)]))
    with pytest.raises(ModelError, match="past items are others than those that are recommended"):
        add_items(past, full, new, names=["kind"])
