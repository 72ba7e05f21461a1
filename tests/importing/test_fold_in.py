"""Models with user rows become models of histories, and say how close they come."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import edgerec
from edgerec.data.dataset import Dataset
from edgerec.errors import DataError, ModelError
from edgerec.exporting.answers import tied_overlap
from edgerec.importing.fold_in import fold_in
from edgerec.training.loop import train
from tests.conftest import make_dataset


@pytest.fixture(scope="module")
def data() -> Dataset:
    return make_dataset(400, 120).split_random(0.2)


@pytest.fixture(scope="module")
def original(data: Dataset) -> tuple[np.ndarray, np.ndarray]:
    """User and item rows of a LightGCN with user rows."""
    trained = train(data, model="lightgcn", layers=2, user_embedding=True, epochs=8, dim=16)
    with torch.no_grad():
        users, items = trained.gnn(trained.graph)
    return users.numpy(), items.numpy()


def test_the_predicted_rows_give_nearly_the_same_lists(
    data: Dataset, original: tuple[np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    users, items = original
    found = fold_in(data, users, items)
    assert found.users == 81
    assert found.overlap > found.before + 0.01
    # The figure is that of the model itself, over users that it was not fitted on.
    judged = np.random.default_rng(0).permutation(len(data.users))[:81]
    bundle = edgerec.export(found.model, "onnx", tmp_path / "x.edgerec", top_k=20)
    overlaps = []
    with edgerec.Scorer(bundle) as scorer:
        for user in judged:
            past = data.train.of(int(user))
            ids = [data.items.ids[int(row)] for row in past]
            listed = [data.items.rows[one.id] for one in scorer.recommend(ids, 20)]
            scores = users[user] @ items.T
            scores[past] = -np.inf
            overlaps.append(tied_overlap(np.array(listed), scores, 20))
    assert np.mean(overlaps) == pytest.approx(found.overlap, abs=0.01)


def test_a_linear_map_is_found_exactly(data: Dataset) -> None:
    rng = np.random.default_rng(0)
    items, turn = rng.normal(size=(120, 8)), rng.normal(size=(8, 8))
    users = np.stack(
        [items[past].sum(0) / max(1, len(past)) ** 0.5 @ turn for past in data.train.lists()]
    )
    found = fold_in(data, users, items)
    assert found.overlap > 0.98
    assert found.before < 0.6
    # In another order, named.
    order = rng.permutation(400)
    people = [data.users[int(row)] for row in order]
    again = fold_in(data, users[order], items, users=people)
    assert again.overlap > 0.98


def test_what_does_not_fit(data: Dataset) -> None:
    users, items = np.ones((400, 4)), np.ones((120, 4))
    with pytest.raises(ModelError, match="user_vectors: expected 400 rows, one per id, got 399"):
        fold_in(data, users[1:], items)
    with pytest.raises(DataError, match="tastes: has no user 'x' of the user vectors"):
        fold_in(data, users[:1], items, users=["x"])
    with pytest.raises(DataError, match="tastes: 0 users have a history; expected at least 10"):
        fold_in(data, users, items, ids=[f"other {row}" for row in range(120)])
