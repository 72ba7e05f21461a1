"""Features of users: read, kept in files, filtered, and coded as a context."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from edgerec.data.contexts import context_of, contexts_of, known_of, random_users
from edgerec.data.dataset import Dataset
from edgerec.data.dataset_file import load_dataset, save_dataset
from edgerec.data.feature_files import read_features
from edgerec.data.features import Features
from edgerec.errors import DataError
from edgerec.model.context import Context, Labels, Number

USERS = "user_id,age,country\nc,40,FR\na,20,DE\nb,20,DE|FR\nz,99,IT\n"


@pytest.fixture
def data(tmp_path: Path) -> Dataset:
    """Three users, whose features are in another order, and one who has no interactions."""
    plain = Dataset.from_pairs(["a", "a", "b", "b", "c"], [1, 2, 1, 2, 1], name="shop")
    (tmp_path / "users.csv").write_text(USERS)
    columns = {"age": "numbers", "country": "categories"}
    return plain.with_user_features(read_features(tmp_path / "users.csv", columns, of="user"))


def test_features_are_in_the_order_of_users(data: Dataset) -> None:
    assert data.user_features is not None
    assert [*data.user_features.items.ids] == ["a", "b", "c"]
    assert data.notes["users with features but without interactions"] == 1
    context = context_of(data, ["country", "age"])
    assert context.names == ["country", "age"]
    assert context.parts[0] == Labels("country", ("DE", "FR"))  # none of them has IT
    known = known_of(context, data, np.arange(3))
    assert known == [
        {"country": ["DE"], "age": 20},
        {"country": ["DE", "FR"], "age": 20},
        {"country": ["FR"], "age": 40},
    ]
    coded = contexts_of(context, data, np.array([2, 0]))
    assert coded.dtype == np.float32
    # Two of three are 20, in the middle of the ranks from -1 to 1/3.
    np.testing.assert_allclose(coded, [[0, 1, 2 / 3], [1, 0, -1 / 3]], atol=1e-6)


def test_many_numbers_are_ranked_between_a_few() -> None:
    rng = np.random.default_rng(0)
    ages = rng.lognormal(0, 2, 5000)
    data = Dataset.from_pairs(range(5000), rng.integers(0, 9, 5000))
    data = data.with_user_features(Features.of(range(5000), numbers={"age": ages}))
    (part,) = context_of(data, ["age"]).parts
    assert isinstance(part, Number)
    assert len(part.values) <= 33
    assert (part.values[0], part.values[-1]) == (np.float32(ages.min()), np.float32(ages.max()))
    own = contexts_of(Context((part,)), data, np.arange(5000))[:, 0]
    ranks = (2 * ages.argsort().argsort() + 1) / 5000 - 1
    ranks = ranks[[int(user) for user in data.users]]
    assert np.abs(own - ranks).max() < 0.05


def test_files_keep_them(data: Dataset, tmp_path: Path) -> None:
    save_dataset(data, tmp_path / "x.dataset")
    again = load_dataset(tmp_path / "x.dataset")
    assert again.user_features is not None
    context = context_of(again, ["age", "country"])
    assert context == context_of(data, ["age", "country"])
    every = np.arange(3)
    np.testing.assert_array_equal(
        contexts_of(context, again, every), contexts_of(context, data, every)
    )


def test_filters_keep_those_of_users_who_stay(data: Dataset) -> None:
    kept = data.k_core(2)
    assert [*kept.users] == ["a", "b"]
    assert kept.user_features is not None
    assert known_of(context_of(kept, ["age"]), kept, np.array([1])) == [{"age": 20}]
    held = data.split_random(0.5, 0)
    assert held.user_features is data.user_features


def test_what_is_not_a_feature_of_these_users(data: Dataset) -> None:
    assert data.user_features is not None
    message = r"features: 1 of 3 users have none, such as 'c'; add them"
    with pytest.raises(DataError, match=message):
        data.with_user_features(data.user_features.take(np.array([0, 1])))
    with pytest.raises(DataError, match=r"user_features: are not those of the users, in their ord"):
        dataclasses.replace(data, user_features=data.user_features.take(np.array([1, 0, 2])))


def test_labels_of_other_data(data: Dataset) -> None:
    other = data.with_user_features(
        Features.of("abc", categories={"country": ["DE", "US", "FR"]}, numbers={"age": [1, 2, 3]})
    )
    with pytest.raises(DataError, match=r"^shop: context.country: unknown label 'US'"):
        contexts_of(context_of(data, ["country"]), other, np.arange(3))


def test_a_user_occurs_once(tmp_path: Path) -> None:
    (tmp_path / "users.csv").write_text("user_id,age\na,1\na,2\n")
    with pytest.raises(DataError, match="expected every user once"):
        read_features(tmp_path / "users.csv", {"age": "numbers"}, of="user")


def test_random_users_are_known_completely(data: Dataset) -> None:
    context = context_of(data, ["age", "country"])
    people = random_users(context, ["x", "y", "z"], np.random.default_rng(0))
    other = Dataset.from_pairs("xyz", [1, 2, 1]).with_user_features(people)
    assert np.all(contexts_of(context, other, np.arange(3))[:, 1:].sum(1) == 1)
