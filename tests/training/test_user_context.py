"""User context: trained with any family, read by a device, and never stored."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

import edgerec
from edgerec.building.build import build
from edgerec.building.measured import quality_of_file
from edgerec.building.recipe import Recipe
from edgerec.contracts.host import Host
from edgerec.contracts.manifest import check_manifest
from edgerec.data.contexts import contexts_of
from edgerec.data.dataset import Dataset
from edgerec.data.features import Features
from edgerec.data.quality import evaluate
from edgerec.device.scorer import Scorer
from edgerec.errors import BundleError, DataError, OptionError
from edgerec.files.fields import Fields
from edgerec.model.codecs import F32
from edgerec.model.device_model import DeviceModel
from edgerec.model.history import pad_histories
from edgerec.model.oracle import Oracle
from edgerec.training.loop import train
from edgerec.training.trained import Trained, load_trained
from tests.rigs.tastes import shuffled, tastes

NAMES = "taste,age"


@pytest.fixture(scope="module")
def data() -> Dataset:
    return tastes()


@pytest.fixture(scope="module")
def trained(data: Dataset) -> Trained:
    return train(data, context=NAMES, epochs=4, dim=16, history_length=50)


@pytest.fixture(scope="module")
def model(trained: Trained) -> DeviceModel:
    return trained.to_device_model()


def after_one_item(data: Dataset) -> Dataset:
    """The data with a single item in each history."""
    return dataclasses.replace(data, train=data.train.take(first_of_each(data)))


def first_of_each(data: Dataset) -> np.ndarray:
    mask = np.zeros(len(data.train), bool)
    mask[data.train.indptr[:-1][np.diff(data.train.indptr) > 0]] = True
    return mask


def user_vectors(model: DeviceModel, data: Dataset, context: F32) -> F32:
    history, weights = pad_histories(list(data.train.lists()), model)
    return Oracle(model).encode(history, weights, context=context)


FAMILIES = ("historygcn", "lightgcn:user_embedding=false", "graphsage", "gat", "ngcf", "pinsage")


@pytest.mark.parametrize("family", FAMILIES)
def test_any_family_reads_it(data: Dataset, family: str) -> None:
    trained = train(data, model=family, context=NAMES, epochs=2, dim=16, history_length=50)
    model, users = trained.to_device_model(), np.arange(len(data.users))
    assert model.context is not None
    assert model.inputs["context"] == model.context.width == 5
    coded = contexts_of(model.context, data, users)
    matrix = trained.gnn.get_parameter("user_context.matrix").numpy(force=True)
    assert np.abs(matrix).max() > 0
    # u' = u + C W, with u of the network on the whole graph.
    with torch.no_grad():
        plain, _ = trained.gnn.eval()(trained.graph)
    known = np.diff(data.train.indptr) > 0
    found, expected = user_vectors(model, data, coded), plain.numpy() + coded @ matrix
    np.testing.assert_allclose(found[known], expected[known], rtol=1e-3, atol=1e-4)


def test_what_is_known_helps_where_histories_are_short(data: Dataset, model: DeviceModel) -> None:
    short = after_one_item(data)
    assert evaluate(model, short).ndcg > 1.15 * evaluate(model, shuffled(short)).ndcg


def test_it_is_trained_on_the_users_own(data: Dataset, model: DeviceModel) -> None:
    other = train(shuffled(data), context=NAMES, epochs=4, dim=16, history_length=50)
    short = after_one_item(data)
    assert evaluate(model, short).ndcg > 1.1 * evaluate(other.to_device_model(), short).ndcg


@pytest.mark.parametrize("target", ["numpy", "onnx", "tflite", "torchscript"])
def test_a_device_codes_it(data: Dataset, model: DeviceModel, target: str, tmp_path: Path) -> None:
    if not Host.installed().target(target).runtimes():
        pytest.skip(f"{target} is not installed here")
    path = edgerec.export(model, target, tmp_path / "x.edgerec", top_k=20).path
    with Scorer.open(path, trust=True) as scorer:
        assert model.context is not None
        history = ["0"]
        for known in ({}, {"taste": "taste 2"}, {"taste": "taste 1", "age": 40}):
            by_name = scorer.recommend(history, 10, context=known)
            by_number = scorer.recommend(history, 10, context=model.context.code(known).tolist())
            assert by_name == by_number
        own = [scorer.recommend(history, 10, context={"taste": f"taste {n}"}) for n in (1, 2)]
        assert [r.id for r in own[0]] != [r.id for r in own[1]]
        with pytest.raises(OptionError, match=r"^context: this model reads taste, age; pass what"):
            scorer.recommend(history)
        with pytest.raises(OptionError, match=r"^context.taste: unknown label 'x'"):
            scorer.recommend(history, context={"taste": "x"})
    assert quality_of_file(path, data, trust=True).ndcg == pytest.approx(
        evaluate(model, data).ndcg, abs=1e-3
    )


def test_a_bundle_without_names_takes_numbers(
    models: dict[str, DeviceModel], tmp_path: Path
) -> None:
    from edgerec.testing.models import adverse_models

    model = adverse_models()["situated"]
    path = edgerec.export(model, "numpy", tmp_path / "x.edgerec", top_k=5).path
    with (
        Scorer.open(path) as scorer,
        pytest.raises(OptionError, match="this model has no names for what it reads"),
    ):
        scorer.recommend(["1"], 5, context={"hour": 3})


def test_builds_measure_with_it(data: Dataset, model: DeviceModel, tmp_path: Path) -> None:
    recipe = Recipe(compress=(("quantize", {"codec": "int8"}),), targets=("numpy",), top_k=20)
    (built,) = build(model, data, recipe, tmp_path / "a")
    assert built.figures.retention is not None
    assert built.figures.retention.ndcg == pytest.approx(evaluate(model, data).ndcg, rel=0.02)
    (without,) = build(model, None, recipe, tmp_path / "b")
    assert without.overlap is not None
    assert without.overlap > 0.9
    unknown = dataclasses.replace(data, user_features=None)
    with pytest.raises(
        DataError, match=r"tastes: context: the data set knows no taste, age of its"
    ):
        build(model, unknown, recipe, tmp_path / "c")
    with pytest.raises(DataError, match="the data set knows no taste, age"):
        evaluate(model, unknown)


def test_features_of_another_kind_are_refused(data: Dataset, model: DeviceModel) -> None:
    people, n = data.users, len(data.users)
    for features, message in (
        (
            Features.of(people, categories={"taste": ["taste 1"] * n, "age": ["4"] * n}),
            "context: age: the model reads numbers, and the data set has categories",
        ),
        (
            Features.of(people, vectors={"taste": np.zeros((n, 2))}, numbers={"age": [1] * n}),
            "context: taste: the model reads categories, and the data set has vectors",
        ),
        (
            Features.of(
                people, categories={"taste": ["taste 1"] * n}, vectors={"age": np.zeros((n, 2))}
            ),
            "context: age: the model reads numbers, and the data set has vectors",
        ),
    ):
        with pytest.raises(DataError, match=message):
            evaluate(model, data.with_user_features(features))


def test_items_alike_and_several_histories(
    model: DeviceModel, trained: Trained, tmp_path: Path
) -> None:
    path = edgerec.export(model, "numpy", tmp_path / "x.edgerec", top_k=10).path
    with Scorer.open(path) as scorer:
        wanted = scorer.recommend(["3"], 5, context={}, exclude=["3"])
        assert scorer.similar("3", 5) == wanted
        assert scorer.similar("3", 5, context={"taste": "taste 1"}) != wanted
        with pytest.raises(OptionError, match=r"^recommend_batch: takes histories alone, and the"):
            scorer.recommend_batch([["3"]], 5)
        for wrong in ("age=31", 5, [], [1.0]):
            with pytest.raises(
                OptionError, match=r"^context: expected what is known by name, such"
            ):
                scorer.recommend(["3"], 5, context=wrong)  # type: ignore[arg-type]  # on purpose


def test_wrong_types(data: Dataset) -> None:
    with pytest.raises(DataError, match=r"expected Features, got dict; use Features.of"):
        data.with_user_features({"age": [1]})  # type: ignore[arg-type]  # on purpose
    with pytest.raises(OptionError, match="context: expected text, such as age,country"):
        train(data, context=["age"])
    with pytest.raises(DataError, match="user_vectors: expected an array; use with_user_vectors"):
        dataclasses.replace(data, user_vectors=[[1.0]] * len(data.users))  # type: ignore[arg-type]  # on purpose
    nobody = Features.of(data.users, categories={"club": [[] for _ in data.users]})
    with pytest.raises(OptionError, match="context: club: no user of tastes has a label"):
        train(data.with_user_features(nobody), context="club", epochs=1)


def test_a_manifest_with_another_width_is_damaged(model: DeviceModel, tmp_path: Path) -> None:
    bundle = edgerec.export(model, "numpy", tmp_path / "x.edgerec", top_k=5)
    check_manifest(Fields(bundle.manifest))
    with pytest.raises(BundleError, match=r"^metadata.context: has 5 places, and the input"):
        check_manifest(Fields(bundle.manifest | {"inputs": {"context": 4}}))


def test_saved_and_loaded(data: Dataset, trained: Trained, tmp_path: Path) -> None:
    trained.save(tmp_path / "gnn")
    again = load_trained(tmp_path / "gnn", data).to_device_model()
    assert again.context == trained.to_device_model().context
    assert evaluate(again, data).ndcg == evaluate(trained.to_device_model(), data).ndcg
    with pytest.raises(OptionError, match="was trained on other interactions, items or features"):
        load_trained(tmp_path / "gnn", shuffled(data))


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ("mood", "context: the data set knows no mood of its users; it has: taste, age, motto"),
        ("motto", "context: motto: expected categories or numbers, got text"),
        ("age,age", "context: expected different names, such as age,country; got 'age,age'"),
    ],
)
def test_context_that_is_not_there(data: Dataset, names: str, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        train(data, context=names, epochs=1)
