"""The implicit importer: files of the layout that implicit 0.7 saves, without implicit."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import edgerec
from edgerec.cli import app
from edgerec.contracts.compressor import Context
from edgerec.contracts.host import Host
from edgerec.contracts.opening import load_model
from edgerec.data.dataset import Dataset
from edgerec.data.dataset_file import save_dataset
from edgerec.device.scorer import Scorer
from edgerec.errors import ModelError, OptionError
from edgerec.importing.fold_in import fold_in
from edgerec.model.codecs import F32
from edgerec.model.device_model import DeviceModel
from edgerec.model.oracle import Oracle

D, REGULARIZATION = 8, 0.05

#: The settings that each model saves beside its rows.
SETTINGS: Mapping[str, Mapping[str, Any]] = {
    "ALS": {"use_native": True, "use_cg": True, "cg_steps": 3, "calculate_training_loss": False},
    "BPR": {"learning_rate": 0.01, "verify_negative_samples": True},
    "LMF": {"learning_rate": 1.0, "neg_prop": 30},
}


def rows(*shape: int, seed: int = 0) -> F32:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def save(folder: Path, model: str, users: F32, items: F32, **more: Any) -> Path:
    """Write what ``model.save()`` writes."""
    path = folder / f"{model.lower()}.npz"
    common = {"factors": D, "regularization": REGULARIZATION, "num_threads": 1, "iterations": 15}
    given = {**common, **SETTINGS[model], "dtype": "float32", **more}
    np.savez(path, user_factors=users, item_factors=items, **given)
    return path


def read(path: Path, data: Dataset | None, **options: Any) -> DeviceModel:
    return Host.installed().importer("implicit", **options).read(path, Context(data))


def solution(items: F32, past: Any, alpha: float) -> Any:
    """The user row of ALS, as ``recalculate_user`` computes it."""
    y, kept = items.astype(float), items[past].astype(float)
    left = y.T @ y + REGULARIZATION * np.eye(D) + (alpha - 1) * kept.T @ kept
    return np.linalg.solve(left, alpha * kept.sum(0))


def als(folder: Path, data: Dataset, alpha: float) -> tuple[Path, F32, F32]:
    """A saved ALS model whose user rows are the solution, and its rows."""
    items = 0.3 * rows(len(data.items), D)
    users = np.stack([solution(items, past, alpha) for past in data.train.lists()])
    path = save(folder, "ALS", users.astype(np.float32), items, alpha=alpha)
    return path, users, items


@pytest.mark.parametrize("alpha", [1.0, 12.0])
def test_user_rows_of_als_are_solved_for(dataset: Dataset, tmp_path: Path, alpha: float) -> None:
    path, users, items = als(tmp_path, dataset, alpha)
    model = read(path, dataset, history_length=60)
    assert (len(model.encoder) == 3) == (alpha == 1)
    assert list(model.tables) == ["items"]
    assert model.metadata["fold_in"]["overlap"] == 1
    assert model.metadata["fold_in"]["users"] == len(dataset.users)
    assert model.popular.tolist() == dataset.popular.tolist()
    oracle = Oracle(model)
    for past, user in zip(dataset.train.lists(), users, strict=True):
        history, weights = oracle.pad(past)
        found = oracle.logits(oracle.encode(history[None], weights[None]))[0]
        assert np.allclose(found, items @ user, rtol=1e-3, atol=1e-3)


def test_the_overlap_is_that_of_unseen_items(dataset: Dataset, tmp_path: Path) -> None:
    path, users, items = als(tmp_path, dataset, 1.0)
    model = read(path, dataset, history_length=8)
    assert list(model.tables) == ["items"]
    shares = []
    for past, user in zip(dataset.train.lists(), users, strict=True):
        both = [items @ one for one in (user, solution(items, past[-8:], 1.0))]
        for scores in both:
            scores[past] = -np.inf
        shares.append(np.isin(*(np.argsort(-scores)[:20] for scores in both)).mean())
    assert model.metadata["fold_in"]["overlap"] == pytest.approx(np.mean(shares), abs=1e-4)
    assert np.mean(shares) < 0.99


def test_solving_runs_in_a_bundle(dataset: Dataset, tmp_path: Path) -> None:
    path, users, items = als(tmp_path, dataset, 12.0)
    model = read(path, dataset, history_length=60)
    for target in ("numpy", "onnx", "tflite"):
        with Scorer(edgerec.export(model, target, tmp_path / "x.edgerec")) as scorer:
            past = dataset.train.of(3)
            found = scorer.recommend([dataset.items.ids[int(row)] for row in past], 5)
            scores = items @ users[3]
            scores[past] = -np.inf
            wanted = [dataset.items.ids[int(row)] for row in np.argsort(-scores)[:5]]
            assert [one.id for one in found] == wanted


def test_als_is_folded_in_where_that_is_closer(dataset: Dataset, tmp_path: Path) -> None:
    items, turn = rows(len(dataset.items), D), rows(D, D, seed=1)
    users = np.stack([items[past].sum(0) / np.sqrt(len(past)) for past in dataset.train.lists()])
    path = save(tmp_path, "ALS", users @ turn, items, alpha=1.0)
    model = read(path, dataset)
    assert set(model.tables) == {"items", "past"}
    assert model.metadata["fold_in"]["overlap"] > 0.98
    # Without a solution, because a column is empty and nothing is regularized:
    items[:, 0] = 0
    model = read(save(tmp_path, "ALS", users, items, alpha=2.0, regularization=0.0), dataset)
    assert set(model.tables) == {"items", "past"}


@pytest.mark.parametrize("model", ["BPR", "LMF"])
def test_biases_are_columns(dataset: Dataset, tmp_path: Path, model: str) -> None:
    users, items = rows(len(dataset.users), D + 1), rows(len(dataset.items), D + 1, seed=1)
    users[:, -1] = 1
    if model == "LMF":
        users = np.hstack([users, rows(len(users), 1, seed=2)])
        items = np.hstack([items, np.ones((len(items), 1), np.float32)])
    found = read(save(tmp_path, model, users, items), dataset)
    wanted = fold_in(dataset, users, items)
    for name in ("items", "past"):
        assert np.array_equal(found.tables[name].decode(), wanted.model.tables[name].decode())
    assert list(found.items.ids) == list(dataset.items.ids)
    noted = {"overlap": round(wanted.overlap, 4), "users": wanted.users}
    assert found.metadata == {"imported": f"{model.lower()}.npz", "fold_in": noted}


def test_ids_from_files_and_on_the_command_line(dataset: Dataset, tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    users, items = rows(len(dataset.users), D), rows(len(dataset.items), D, seed=1)
    turned = rng.permutation(len(users)), rng.permutation(len(items))
    people = [dataset.users[row] for row in turned[0]] + ["stranger"]
    (tmp_path / "users.json").write_text(json.dumps(people))
    np.save(tmp_path / "items.npy", [dataset.items.ids[int(row)] for row in turned[1]])
    own = np.vstack([users[turned[0]], rows(1, D)])
    path = save(tmp_path, "BPR", own, items[turned[1]])
    files = {"users": str(tmp_path / "users.json"), "items": str(tmp_path / "items.npy")}
    found = read(path, dataset, **files)
    straight = read(save(tmp_path, "LMF", users, items), dataset)
    assert list(found.items.ids) == [dataset.items.ids[int(row)] for row in turned[1]]
    first = found.items.find(dataset.items.ids[0])
    assert np.array_equal(found.tables["items"].decode()[first], items[0])
    assert found.metadata["fold_in"]["overlap"] == pytest.approx(
        straight.metadata["fold_in"]["overlap"], abs=0.1
    )
    save_dataset(dataset, tmp_path / "x.dataset")
    spec = "implicit:" + ",".join(f"{name}={file}" for name, file in files.items())
    output = tmp_path / "x.model"
    given = [spec, str(path), "--data", str(tmp_path / "x.dataset"), "-o", str(output)]
    done = CliRunner().invoke(app, ["import", *given])
    assert done.exit_code == 0, done.output
    assert "user rows are predicted from histories" in " ".join(done.output.split())
    assert np.array_equal(load_model(output).tables["past"].decode(), found.tables["past"].decode())


def test_ids_and_data_that_do_not_belong_to_the_rows(dataset: Dataset, tmp_path: Path) -> None:
    users, items = rows(len(dataset.users), D), rows(len(dataset.items), D)
    with pytest.raises(OptionError, match=r"implicit: predicting user rows .*; pass --data"):
        read(save(tmp_path, "BPR", users, items), None)
    for side, path in (
        ("users", save(tmp_path, "BPR", users[1:], items)),
        ("items", save(tmp_path, "LMF", users, items[1:])),
    ):
        count = len(getattr(dataset, side))
        message = (
            rf"implicit\.{side}: expected {count - 1} {side}, one for each row of {side[:-1]}_"
            rf"factors in .*{path.name}, but tastes has {count}; pass {side}=, a file with an id"
        )
        with pytest.raises(OptionError, match=message):
            read(path, dataset)
    file = tmp_path / "ids.txt"
    file.write_text("\n".join(f"n{row}" for row in range(len(users))))
    message = rf"implicit\.users: tastes has 0 of the {len(users)} users of .*begins with 'n0'"
    with pytest.raises(OptionError, match=message):
        read(save(tmp_path, "BPR", users, items), dataset, users=str(file))
    file.write_text("a\nb")
    with pytest.raises(OptionError, match=r"in .*bpr\.npz, but .*ids\.txt has 2; pass users="):
        read(save(tmp_path, "BPR", users, items), dataset, users=str(file))


def test_item_item_models_are_refused(dataset: Dataset, tmp_path: Path) -> None:
    path = tmp_path / "cosine.npz"
    parts = {"shape": (80, 80), "data": rows(9), "indptr": np.arange(81), "indices": np.arange(9)}
    for saved in ({"K": 20, **parts}, {"K": 20}):
        np.savez(path, **saved)
        with pytest.raises(
            ModelError,
            match=r"cosine\.npz: is an item-item model of implicit \(CosineRecommender, TFIDFRec"
            r"ommender, BM25Recommender or ItemItemRecommender\), .* no rows whose product",
        ):
            read(path, dataset)


def test_files_that_are_refused(dataset: Dataset, tmp_path: Path) -> None:
    users, items = rows(len(dataset.users), D), rows(len(dataset.items), D)
    path = tmp_path / "x.npz"
    with pytest.raises(ModelError, match=r"x\.npz: no such file"):
        read(path, dataset)
    path.write_bytes(b"PK no archive")
    with pytest.raises(ModelError, match=r"x\.npz: expected an \.npz file that implicit's model"):
        read(path, dataset)
    np.savez(path, user_factors=np.array([{}], object))
    with pytest.raises(ModelError, match=r"expected an \.npz file .*allow_pickle"):
        read(path, dataset)
    np.savez(path, **SETTINGS["LMF"], factors=D)
    with pytest.raises(ModelError, match="no user_factors; the model was saved before it was fit"):
        read(path, dataset)
    np.savez(path, user_factors=users, films=items)
    with pytest.raises(
        ModelError,
        match="no item_factors, so it is no model that implicit saved; it has films, user_factors",
    ):
        read(path, dataset)
    for wrong, message in (
        (users[:, :-1], "user_factors have 7 columns and item_factors 8"),
        (users[0], r"user_factors: expected a matrix of floats, got float32 \[8\]"),
        (users.astype(int), r"user_factors: expected a matrix of floats, got int64"),
        (np.where(np.arange(D) == 3, np.nan, users), "user_factors: row 0 has a number that is Na"),
    ):
        with pytest.raises(ModelError, match=message):
            read(save(tmp_path, "BPR", wrong, items), dataset)
    for alpha, message in ((0.0, "expected alpha above 0 .*, got 0.0 and"), ("x", "numbers alpha")):
        with pytest.raises(ModelError, match=message):
            read(save(tmp_path, "ALS", users, items, alpha=alpha), dataset)
    whole = save(tmp_path, "BPR", users, items)
    with zipfile.ZipFile(whole) as archive:
        assert "user_factors.npy" in archive.namelist()
    path.write_bytes(whole.read_bytes()[:-400])
    with pytest.raises(ModelError, match=r"expected an \.npz file"):
        read(path, dataset)
