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
from edgerec.compression.chain import compress
from edgerec.contracts.host import Host
from edgerec.contracts.manifest import check_manifest
from edgerec.data.contexts import contexts_of
from edgerec.data.dataset import Dataset
from edgerec.data.features import Features
from edgerec.data.quality import evaluate
from edgerec.device.scorer import Scorer
from edgerec.errors import BundleError, CompressError, DataError, OptionError
from edgerec.files.fields import Fields
from edgerec.model.codecs import F32
from edgerec.model.device_model import DeviceModel
from edgerec.model.history import pad_histories
from edgerec.model.oracle import Oracle
from edgerec.training.examples import batches
from edgerec.training.loop import train
from edgerec.training.trained import Trained, load_trained

NAMES = "taste,age"


def tastes(users: int = 200, items: int = 60, seed: int = 0) -> Dataset:
    """Users who mostly pick items of their taste, which is known of them; ages say nothing."""
    rng = np.random.default_rng(seed)
    taste, kind = rng.integers(4, size=users), np.arange(items) % 4
    user, item = np.nonzero(
        rng.random((users, items)) < np.where(taste[:, None] == kind, 0.5, 0.12)
    )
    data = Dataset.from_pairs(user, item, name="tastes")
    people = Features.of(
        range(users),
        categories={"taste": [f"taste {one}" for one in taste]},
        numbers={"age": rng.integers(18, 80, users)},
        text={"motto": ["none"] * users},
    )
    return data.with_user_features(people).split_random(0.3, seed)


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


def shuffled(data: Dataset) -> Dataset:
    """The data with the features of other users."""
    own = data.user_features
    assert own is not None
    order = np.random.default_rng(0).permutation(len(data.users))
    columns = {name: column.take(order) for name, column in own.columns.items()}
    return dataclasses.replace(data, user_features=Features(own.items, columns))


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


def test_compressors_train_with_it(data: Dataset, model: DeviceModel) -> None:
    plain = evaluate(model, data).ndcg
    for step in ("pq:epochs=2", "quantize:codec=int4,range=scores", "prune:share=0.3,epochs=1"):
        small = compress(model, step, dataset=data)
        assert small.inputs == model.inputs
        assert small.context == model.context
        assert evaluate(small, data).ndcg > 0.85 * plain
    with pytest.raises(CompressError, match="distill: the encoder reads a context"):
        compress(model, "distill:width=8", dataset=data)


def test_examples_have_the_context_of_their_user() -> None:
    users = np.arange(30)
    data = Dataset.from_pairs(users.repeat(3), np.arange(90), name="apart")
    own = [f"u{int(user):02d}" for user in data.users]
    data = data.with_user_features(Features.of(data.users, categories={"own": own}))
    model = train(data, context="own", epochs=1, dim=8, history_length=5).to_device_model()
    seen = 0
    for batch in batches(model, data, size=7):
        user = [int(model.items.ids[int(row)]) // 3 for row in batch.target]
        assert batch.own["context"].argmax(1).tolist() == user
        seen += len(user)
    assert seen == 30


def test_a_manifest_with_another_width_is_damaged(model: DeviceModel, tmp_path: Path) -> None:
    bundle = edgerec.export(model, "numpy", tmp_path / "x.edgerec", top_k=5)
    check_manifest(Fields(bundle.manifest))
    for inputs in ({}, {"context": 4}):
        with pytest.raises(BundleError, match=r"^metadata.context: has 5 places, and the input"):
            check_manifest(Fields(bundle.manifest | {"inputs": inputs}))


def test_a_student_learns_what_its_teacher_knows_of_users(
    data: Dataset, model: DeviceModel
) -> None:
    student = train(data, teacher=model, epochs=2, dim=8, history_length=50).to_device_model()
    assert not student.inputs
    other = dataclasses.replace(data, user_features=None)
    with pytest.raises(DataError, match="knows no taste, age"):
        train(other, teacher=model, epochs=2, dim=8)


def test_saved_and_loaded(data: Dataset, trained: Trained, tmp_path: Path) -> None:
    trained.save(tmp_path / "gnn")
    again = load_trained(tmp_path / "gnn", data).to_device_model()
    assert again.context == trained.to_device_model().context
    assert evaluate(again, data).ndcg == evaluate(trained.to_device_model(), data).ndcg
    with pytest.raises(OptionError, match="was trained on other interactions, items or features"):
        load_trained(tmp_path / "gnn", shuffled(data))


def test_a_step_resumes_with_it(data: Dataset, tmp_path: Path) -> None:
    def stop(done: int, total: int, what: str) -> None:
        raise KeyboardInterrupt

    options = {"context": NAMES, "epochs": 2, "dim": 8, "history_length": 50}
    whole = train(data, **options).to_device_model()
    with pytest.raises(KeyboardInterrupt):
        train(data, checkpoint=tmp_path / "state", progress=stop, **options)
    resumed = train(data, checkpoint=tmp_path / "state", **options).to_device_model()
    np.testing.assert_array_equal(
        resumed.constants["context_matrix"], whole.constants["context_matrix"]
    )


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
