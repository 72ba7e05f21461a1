"""GNN families: the lowered model equals PyG's forward on the full graph."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from edgerec.contracts.host import Host
from edgerec.data.dataset import Dataset
from edgerec.data.quality import evaluate, evaluation_users, quality_of
from edgerec.errors import ModelError, OptionError
from edgerec.exporting.answers import tied_overlap
from edgerec.model.history import pad_histories
from edgerec.model.items import Items
from edgerec.model.oracle import Oracle
from edgerec.training.graph import Graph
from edgerec.training.item_features import ItemFeatures
from edgerec.training.loop import train
from edgerec.training.options import TrainOptions
from edgerec.training.spectral import spectral_start
from edgerec.training.trained import Trained, make_gnn
from edgerec_families.lightgcn import LightGCN
from tests.conftest import example_features, make_dataset

FAMILIES = ["historygcn", "lightgcn", "graphsage", "ngcf", "gat", "pinsage", "knowledge"]

CASES: list[tuple[str, dict[str, Any]]] = [
    ("historygcn", {"tied": True}),
    ("historygcn", {"tied": False}),
    ("lightgcn", {"layers": 1}),
    ("lightgcn", {"layers": 2}),
    ("lightgcn", {"layers": 3}),
    ("lightgcn", {"layers": 3, "user_embedding": True}),
    ("graphsage", {"layers": 1}),
    ("graphsage", {"layers": 2}),
    ("graphsage", {"layers": 3}),
    ("ngcf", {"layers": 1}),
    ("ngcf", {"layers": 3}),
    ("gat", {"layers": 2, "heads": 2}),
    ("pinsage", {"layers": 1}),
    ("pinsage", {"layers": 2, "neighbors": 4}),
    ("knowledge", {"layers": 1}),
    ("social", {"layers": 1}),
    ("social", {"layers": 2, "weight": 0.5}),
]


def relative(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a - b).max() / np.abs(b).max())


@pytest.mark.parametrize("popularity", [None, 0.1])
@pytest.mark.parametrize(("family", "options"), CASES, ids=str)
def test_lowered_equals_pyg_forward(
    dataset: Dataset, family: str, options: dict[str, Any], popularity: float | None
) -> None:
    torch.manual_seed(0)
    graph = Graph(dataset.train, len(dataset.items))
    made = Host.installed().family(family, **options)
    chosen = TrainOptions(model=family, dim=16)
    gnn = make_gnn(made, graph, chosen, dataset)
    with torch.no_grad():  # so that no part is without effect
        for parameter in gnn.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    gnn.popularity = popularity
    with torch.no_grad():
        users, items = (t.numpy() for t in gnn(graph.edge_index))
        fused_users, fused_items = (t.numpy() for t in gnn(graph))
    assert relative(fused_users, users) < 1e-5
    assert relative(fused_items, items) < 1e-5
    model = Trained(gnn, graph, dataset, chosen, made).to_device_model()
    history, weights = pad_histories(list(dataset.train.lists()), model)
    own = None if gnn.users is None else gnn.users.detach().numpy()
    oracle = Oracle(model)
    user = oracle.encode(history, weights, own)
    assert relative(user, users) < 1e-5
    assert relative(oracle.logits(user), users @ items.T) < 1e-5


@pytest.mark.parametrize("family", FAMILIES)
def test_tilt_lengthens_candidates_and_leaves_users(dataset: Dataset, family: str) -> None:
    plain, tilted = (
        Oracle(train(dataset, model=family, epochs=1, dim=8, tilt=tilt).to_device_model())
        for tilt in (0.0, 0.3)
    )
    rows = list(dataset.train.lists())
    users = plain.encode(*pad_histories(rows, plain.model))
    assert relative(tilted.encode(*pad_histories(rows, tilted.model)), users) < 1e-5
    degree = dataset.train.counts(len(dataset.items)).clip(1)
    change = np.median(tilted.logits(users) / plain.logits(users), axis=0) / degree**0.3
    assert np.allclose(change, change[0], rtol=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_features_lower_like_any_other(dataset: Dataset, family: str) -> None:
    dataset = dataset.with_features(example_features(dataset))
    names = "titles,kind,size,shape"
    trained = train(dataset, model=family, features=names, epochs=2, dim=8)
    features = trained.gnn.get_submodule("item_features")
    assert isinstance(features, ItemFeatures)
    assert all(part.matrix.abs().sum() > 0 for part in features.parts)
    with torch.no_grad():
        users, items = (t.numpy() for t in trained.gnn(trained.graph.edge_index))
    model = trained.to_device_model()
    oracle = Oracle(model)
    user = oracle.encode(*pad_histories(list(dataset.train.lists()), model))
    assert relative(oracle.logits(user), users @ items.T) < 1e-5
    plain = train(dataset, model=family, epochs=2, dim=8).to_device_model()
    assert model.table_bytes == plain.table_bytes
    assert not np.array_equal(model.tables["items"].decode(), plain.tables["items"].decode())


@pytest.mark.parametrize("family", ["historygcn", "lightgcn"])
def test_one_tied_table_ships(dataset: Dataset, family: str) -> None:
    model = train(dataset, model=family, epochs=1, dim=8).to_device_model()
    assert {name: table.shape[1] for name, table in model.tables.items()} == {
        "items": 8,
        "past_scale": 1,
    }


@pytest.mark.parametrize("family", FAMILIES)
def test_training_learns_and_repeats_from_its_seed(dataset: Dataset, family: str) -> None:
    def quality(epochs: int) -> float:
        trained = train(dataset, model=family, epochs=epochs, dim=16, batch=32, seed=1)
        return evaluate(trained.to_device_model(), dataset).ndcg

    popular = np.tile(dataset.popular[:20], (len(dataset.users), 1))
    users = evaluation_users(dataset)
    baseline = quality_of(popular[users], dataset, users).ndcg
    assert quality(15) > 1.5 * baseline
    assert quality(3) == quality(3)


def test_training_resumes_where_it_was_interrupted(dataset: Dataset, tmp_path: Path) -> None:
    options = TrainOptions(epochs=4, dim=8, batch=32)
    checkpoint = tmp_path / "c"

    def interrupt(done: int, total: int, what: str) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(dataset, options, checkpoint=checkpoint, progress=interrupt)
    assert checkpoint.exists()
    with pytest.raises(OptionError, match="was written with another epochs; use the same options"):
        train(dataset, dataclasses.replace(options, epochs=5), checkpoint=checkpoint)
    seen: list[int] = []
    resumed = train(
        dataset, options, checkpoint=checkpoint, progress=lambda done, *_: seen.append(done)
    )
    assert seen == [3, 4]
    whole = train(dataset, options)
    assert torch.equal(resumed.gnn.items, whole.gnn.items)
    # Until the model is saved nothing is lost: asked again, it is there at once.
    again = train(dataset, options, checkpoint=checkpoint, progress=interrupt)
    assert torch.equal(again.gnn.items, whole.gnn.items)


def test_a_training_that_diverges_is_told(dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(
        ModelError, match="contains NaN or infinity; the training may have diverged"
    ):
        train(
            dataset, epochs=2, dim=8, learning_rate=1e30, checkpoint=tmp_path / "c"
        ).to_device_model()


def test_spectral_start_spans_the_leading_singular_vectors(dataset: Dataset) -> None:
    graph = Graph(dataset.train, len(dataset.items))
    matrix = np.zeros((graph.n_users, graph.n_items))
    matrix[dataset.train.users, dataset.train.items] = 1
    rows, columns = matrix.sum(1, keepdims=True), matrix.sum(0, keepdims=True)
    normalized = matrix / np.sqrt(np.maximum(rows, 1)) / np.maximum(columns, 1) ** 0.4
    exact = np.linalg.svd(normalized)[2][:4].T
    ours = spectral_start(graph, 4, seed=0).numpy()
    overlap = np.linalg.norm(exact.T @ (ours / np.linalg.norm(ours, axis=0)))
    assert overlap > 0.99 * np.sqrt(4)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": "lightgcn:2"}, "'lightgcn:2': expected name:option=value,..., got '2'"),
        (
            {"model": "lightgcn:layers=2", "layers": 2},
            "layers: is also given in the model 'lightgcn:layers=2'; give it once",
        ),
        ({"dim": 0}, "dim: expected a positive integer, got 0"),
        ({"temperature": 0.0}, "temperature: expected a positive number, got 0.0"),
    ],
)
def test_options_are_checked(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        TrainOptions(**changes)


def test_an_option_that_a_family_lacks_is_an_error(dataset: Dataset) -> None:
    with pytest.raises(OptionError, match="tied: lightgcn has no such option"):
        train(dataset, model="lightgcn", tied=True)
    with pytest.raises(OptionError, match="layers: historygcn has no such option"):
        train(dataset, layers=2)


def test_histories_of_a_batch_are_the_users_own(dataset: Dataset) -> None:
    graph = Graph(dataset.train, len(dataset.items))
    items, place, offsets, _ = graph.histories(torch.tensor([5, 0, 9]))
    for row, user in enumerate([5, 0, 9]):
        own = items[offsets[row] : offsets[row + 1]]
        assert sorted(own.tolist()) == sorted(dataset.train.of(user).tolist())
        assert set(place[offsets[row] : offsets[row + 1]].tolist()) == {row}


def test_a_transductive_model_needs_its_users_vectors() -> None:
    # Without validation interactions, users are judged by the histories that the graph has.
    dataset = make_dataset().split_random(0.2)
    trained = train(dataset, model="lightgcn", layers=2, user_embedding=True, epochs=6, batch=32)
    model, vectors = trained.to_device_model(), trained.user_vectors
    assert vectors is not None
    assert vectors.shape == (len(dataset.users), 64)
    with pytest.raises(ModelError, match="reads a user_vector"):
        evaluate(model, dataset)
    found = evaluate(model, dataset, user_vectors=vectors)
    # They are the users' own: another's, made long, lead astray.
    swapped = evaluate(model, dataset, user_vectors=20 * vectors[::-1].copy())
    assert swapped.ndcg < found.ndcg
    # What is evaluated from the tables is what message passing over the whole graph gives.
    with torch.no_grad():
        users, items = trained.gnn(trained.graph)
    scores = (users @ items.T).numpy()
    for user, mine in zip(evaluation_users(dataset), found.lists, strict=True):
        logits = scores[user].copy()
        logits[dataset.train.of(int(user))] = -np.inf
        assert tied_overlap(mine[mine >= 0][:10].astype(np.int32), logits, 10) == 1.0
    assert train(dataset, model="lightgcn", epochs=1).user_vectors is None


class Louder(LightGCN):
    """Overrides how a user vector follows from the history, but not what a device computes."""

    def user(self, pooled: list[torch.Tensor], own: torch.Tensor | None = None) -> torch.Tensor:
        """Twice what is above zero."""
        return 2 * super().user(pooled, own).relu()


def test_a_family_that_lowers_something_else(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = train(dataset, model="lightgcn", epochs=1, dim=8)
    trained.gnn.__class__ = Louder
    with pytest.raises(ModelError, match=r"Louder: lower\(\) differs from user\(\) by"):
        trained.to_device_model()


def test_rows_that_nothing_has_moved(dataset: Dataset) -> None:
    """An item that no one has, and that is never a negative, keeps its row of zeros."""
    items = Items.of([*dataset.items.ids, *(f"unseen{n}" for n in range(40))])
    wider = dataclasses.replace(dataset, items=items)
    model = train(wider, model="lightgcn", epochs=1, dim=16, negatives=4).to_device_model()
    assert np.isfinite(model.tables["past_scale"].decode()).all()
