"""Models that read the users' own rows are built, searched for, and compared with these."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import edgerec
from edgerec.building.agree import agree
from edgerec.building.build import build
from edgerec.building.recipe import Recipe
from edgerec.cli import app
from edgerec.compression.chain import compress
from edgerec.contracts.device import Budget, Device
from edgerec.data.dataset import Dataset
from edgerec.data.dataset_file import load_dataset, save_dataset
from edgerec.data.quality import evaluate
from edgerec.errors import CompressError, DataError, OptionError
from edgerec.model.device_model import DeviceModel
from edgerec.model.model_file import save_model
from tests.conftest import make_dataset

HALF = Device("half", Budget(max_bundle_bytes=60_000))


@pytest.fixture(scope="module")
def plain() -> Dataset:
    return make_dataset().split_random(0.2).split_random(0.2, 0, "valid")


@pytest.fixture(scope="module")
def trained(plain: Dataset) -> edgerec.training.trained.Trained:
    return edgerec.train(
        plain, model="lightgcn:user_embedding=true", epochs=4, dim=16, history_length=60
    )


@pytest.fixture(scope="module")
def model(trained: edgerec.training.trained.Trained) -> DeviceModel:
    return trained.to_device_model()


@pytest.fixture(scope="module")
def data(plain: Dataset, trained: edgerec.training.trained.Trained) -> Dataset:
    return plain.with_user_vectors(trained.user_vectors)


def test_they_are_read_from_the_data(data: Dataset, plain: Dataset, model: DeviceModel) -> None:
    assert data.user_vectors is not None
    wanted = evaluate(model, plain, user_vectors=data.user_vectors)
    assert evaluate(model, data).ndcg == wanted.ndcg
    shifted = plain.with_user_vectors(np.roll(data.user_vectors, 1, 0))
    assert not np.array_equal(evaluate(model, shifted).lists, wanted.lists)


def test_builds_measure_with_them(data: Dataset, model: DeviceModel, tmp_path: Path) -> None:
    recipe = Recipe(compress=(("quantize", {"codec": "int8"}),), targets=("numpy", "onnx"))
    for built in build(model, data, recipe, tmp_path / "a"):
        assert built.figures.retention is not None
        assert built.figures.retention.quality == pytest.approx(1, abs=0.03)
        assert agree(model, built.path, data).overlap.value > 0.9
        figures, broken = edgerec.verify(built.path, HALF, dataset=data, model=model)
        assert figures.retention == built.figures.retention
        assert not broken


def test_a_search_compares_with_them(data: Dataset, model: DeviceModel, tmp_path: Path) -> None:
    found = edgerec.plan(model, data, HALF, folder=tmp_path, targets=["numpy"], trials=2, users=50)
    assert found.built[0].figures.bundle_bytes <= 60_000
    assert found.built[0].figures.retention is not None


def test_steps_train_with_them(data: Dataset, plain: Dataset, model: DeviceModel) -> None:
    assert data.user_vectors is not None
    small = compress(model, "pq:epochs=2", dataset=data)
    other = plain.with_user_vectors(np.zeros_like(data.user_vectors))
    assert evaluate(small, data).ndcg > 0.8 * evaluate(model, data).ndcg
    without = compress(model, "pq:epochs=2", dataset=other)
    assert evaluate(without, data).ndcg != evaluate(small, data).ndcg
    with pytest.raises(CompressError, match=r"reads user_vector, which .* does not have"):
        compress(model, "pq:epochs=1", dataset=plain)


def test_files_and_filters_keep_them(data: Dataset, tmp_path: Path) -> None:
    assert data.user_vectors is not None
    save_dataset(data, tmp_path / "x.dataset")
    again = load_dataset(tmp_path / "x.dataset").user_vectors
    assert again is not None
    np.testing.assert_array_equal(again, data.user_vectors)
    whole = dataclasses.replace(data, valid=None, test=None)
    core = whole.k_core(6)
    assert core.user_vectors is not None
    assert 0 < len(core.users) <= len(data.users)
    rows = dict(zip(data.users, data.user_vectors, strict=True))
    for user, row in zip(core.users, core.user_vectors, strict=True):
        np.testing.assert_array_equal(row, rows[user])


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        (
            (3, 16),
            r"user_vectors: expected float32\[\d+, d\], one row per user, got shape \[3, 16\]",
        ),
        ((0,), "user_vectors: expected float32"),
    ],
)
def test_rows_of_other_users(plain: Dataset, shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(DataError, match=message):
        plain.with_user_vectors(np.zeros(shape))


def test_rows_that_are_no_numbers(data: Dataset, plain: Dataset, model: DeviceModel) -> None:
    assert data.user_vectors is not None
    broken = data.user_vectors.copy()
    broken[1, 1] = np.nan
    with pytest.raises(DataError, match="user_vectors: a number is NaN or infinite"):
        plain.with_user_vectors(broken)
    with pytest.raises(DataError, match="user_vectors: expected numbers"):
        plain.with_user_vectors([["a"]] * len(plain.users))
    narrow = plain.with_user_vectors(data.user_vectors[:, :3])
    with pytest.raises(DataError, match="the model reads vectors of width 16, got width 3"):
        evaluate(model, narrow)


def test_what_is_missing_is_said_first(plain: Dataset, model: DeviceModel, tmp_path: Path) -> None:
    message = r"the model reads user_vector, which .* does not have, .*--user-vectors"
    with pytest.raises(OptionError, match=message):
        build(model, plain, Recipe(targets=("numpy",)), tmp_path)
    with pytest.raises(OptionError, match="reads user_vector, which the data set does not have"):
        agree(model, model, plain)


def test_the_command_line(
    data: Dataset,
    plain: Dataset,
    model: DeviceModel,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    save_dataset(plain, "d.dataset")
    save_model(model, "m.model")
    assert data.user_vectors is not None
    np.save("rows.npy", data.user_vectors)
    given = ("--data", "d.dataset", "--user-vectors", "rows.npy")
    chain = ("--compress", "quantize:codec=int8", "--target", "numpy")
    for command in (
        ("build", "m.model", *given, *chain, "-o", "dist"),
        ("agree", "m.model", "dist/numpy.edgerec", *given),
        ("bench", "dist/numpy.edgerec", *given, "--model", "m.model", "--users", "10"),
        ("verify", "dist/numpy.edgerec", *given, "--model", "m.model", "--device", "pi-4"),
    ):
        result = CliRunner().invoke(app, list(command), catch_exceptions=False)
        assert result.exit_code == 0, result.output
    save_model(edgerec.train(plain, epochs=1, dim=8).to_device_model(), "alone.model")
    edgerec.export(edgerec.load_model("alone.model"), "numpy", "alone.edgerec")
    for unread in (
        ("build", "alone.model", *given, *chain, "-o", "other"),
        ("sweep", "alone.model", *given, "-o", "other"),
        ("agree", "alone.model", "alone.edgerec", *given),
        ("bench", "alone.edgerec", *given),
        ("verify", "alone.edgerec", *given, "--model", "alone.model", "--device", "pi-4"),
        ("verify", "alone.edgerec", "--replay", "--user-vectors", "rows.npy"),
    ):
        with pytest.raises(OptionError, match="-user-vectors"):
            CliRunner().invoke(app, list(unread), catch_exceptions=False)
    with pytest.raises(DataError, match=r"the file reads the user's own row; pass those of all"):
        CliRunner().invoke(
            app, ["bench", "dist/numpy.edgerec", "--data", "d.dataset"], catch_exceptions=False
        )
    with pytest.raises(OptionError, match="--user-vectors: are rows of the users of --data"):
        CliRunner().invoke(
            app,
            ["build", "m.model", "--no-quality", "--user-vectors", "rows.npy", "-o", "x"],
            catch_exceptions=False,
        )
