"""User context in what trains further: compressors, teachers, and trainings that resume."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from edgerec.compression.chain import compress
from edgerec.data.dataset import Dataset
from edgerec.data.features import Features
from edgerec.data.quality import evaluate
from edgerec.errors import CompressError, DataError, OptionError
from edgerec.model.device_model import DeviceModel
from edgerec.training.examples import batches
from edgerec.training.gnn_file import digest_of
from edgerec.training.loop import train
from tests.rigs.tastes import tastes

NAMES = "taste,age"


@pytest.fixture(scope="module")
def data() -> Dataset:
    return tastes()


@pytest.fixture(scope="module")
def model(data: Dataset) -> DeviceModel:
    trained = train(data, context=NAMES, epochs=4, dim=16, history_length=50)
    return trained.to_device_model()


def test_compressors_train_with_it(data: Dataset, model: DeviceModel) -> None:
    plain = evaluate(model, data).ndcg
    for step in (
        "pq:epochs=2",
        "quantize:codec=int4,range=scores",
        "prune:share=0.3,epochs=1",
        "prune:share=0.2,structure=units",
    ):
        small = compress(model, step, dataset=data)
        assert small.inputs == model.inputs
        assert small.context == model.context
        assert evaluate(small, data).ndcg > 0.85 * plain
    with pytest.raises(CompressError, match="distill: the encoder reads a context"):
        compress(model, "distill:width=8", dataset=data)


def test_a_history_is_never_pruned_away(data: Dataset) -> None:
    model = train(data, model="gat", context=NAMES, epochs=1, dim=8, history_length=50)
    with pytest.raises(CompressError, match="the encoder has no layers that are added up"):
        compress(model.to_device_model(), "prune:structure=layers", dataset=data)


def test_teachers_with_different_contexts_are_refused(data: Dataset, model: DeviceModel) -> None:
    other = train(data, context="age", epochs=1, dim=8, history_length=50).to_device_model()
    with pytest.raises(OptionError, match=r"^teacher: several teachers read different contexts"):
        train(data, teacher=[model, other], epochs=1, dim=8)


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


def test_a_student_learns_what_its_teacher_knows_of_users(
    data: Dataset, model: DeviceModel
) -> None:
    student = train(data, teacher=model, epochs=2, dim=8, history_length=50).to_device_model()
    assert not student.inputs
    other = dataclasses.replace(data, user_features=None)
    with pytest.raises(DataError, match="knows no taste, age"):
        train(other, teacher=model, epochs=2, dim=8)


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


def test_features_of_one_name_count_on_both_sides(data: Dataset) -> None:
    def digest(first: str) -> str:
        kinds = [first, *["b"] * (len(data.items) - 1)]
        items = Features.of(data.items.ids, categories={"taste": kinds})
        return digest_of(data.with_features(items), "taste", "taste")

    assert digest("a") != digest("b")
