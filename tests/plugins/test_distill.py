"""distill: soft labels, students of every encoder, ensembles, and refusals."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import edgerec
from edgerec.contracts.compressor import Context
from edgerec.data.dataset import Dataset
from edgerec.data.quality import evaluate
from edgerec.errors import CompressError, OptionError
from edgerec.model.device_model import DeviceModel
from edgerec.model.history import pad_history
from edgerec.model.options import from_options, parse_spec
from edgerec.model.oracle import Oracle
from edgerec.testing import check_compressor, example_models
from edgerec.training.loop import train
from edgerec.training.losses import soft_loss
from edgerec_distill import Distill
from edgerec_distill.student import student_of
from edgerec_quantize import Quantize


@pytest.fixture(scope="module")
def model(dataset: Dataset) -> DeviceModel:
    return train(dataset, epochs=8, dim=32, batch=256).to_device_model()


def distill(spec: str) -> Distill:
    """Create the compressor as the command line does."""
    name, options = parse_spec(spec)
    return from_options(Distill, options, name)


def test_soft_loss_of_a_worked_example() -> None:
    teacher = torch.tensor([[math.log(1), math.log(4)]])
    student = torch.tensor([[0.0, math.log(3)]])
    # At T = 1, the labels are .2 and .8, and the student's probabilities are .25 and .75.
    cross_entropy = 0.2 * math.log(1 / 0.25) + 0.8 * math.log(1 / 0.75)
    entropy = 0.2 * math.log(1 / 0.2) + 0.8 * math.log(1 / 0.8)
    assert soft_loss(teacher, student, 1).item() == pytest.approx(cross_entropy - entropy, abs=1e-6)
    # At T = 2, the odds are 1 : 4^½ and 1 : 3^½.
    p, q = 2 / 3, math.sqrt(3) / (1 + math.sqrt(3))
    expected = p * math.log(p / q) + (1 - p) * math.log((1 - p) / (1 - q))
    assert soft_loss(teacher, student, 2).item() == pytest.approx(expected, abs=1e-6)


def test_soft_loss_is_zero_and_flat_where_student_and_teacher_agree() -> None:
    teacher = torch.tensor([[2.0, 0.0, -1.0]])
    student = teacher.clone().requires_grad_()
    loss = soft_loss(teacher, student, 0.5)
    loss.backward()  # type: ignore[no-untyped-call]
    assert loss.item() == pytest.approx(0, abs=1e-6)
    assert student.grad is not None
    assert torch.allclose(student.grad, torch.zeros(1, 3), atol=1e-6)


@pytest.mark.parametrize("options", [{}, {"soft": 5.0}], ids=str)
def test_compressor_contract(options: dict[str, Any], model: DeviceModel, dataset: Dataset) -> None:
    compressor = Distill(width=8, epochs=3, **options)
    after = check_compressor(compressor, model, Context(dataset))
    assert {n: t.shape[1] for n, t in after.tables.items()} == {"items": 8, "past_scale": 1}
    tail = after.metadata["distill"]
    assert set(tail) == {"long_tail_before", "long_tail_after", "head_share"}
    assert 0 <= tail["long_tail_after"] <= 1


@pytest.mark.parametrize("name", ["sum", "two-tables", "dense", "attention", "transformer"])
def test_every_encoder_has_a_student(name: str, dataset: Dataset) -> None:
    teacher = example_models(items=len(dataset.items))[name].replace(items=dataset.items)
    after = check_compressor(Distill(width=4, epochs=1), teacher, Context(dataset))
    assert after.is_linear
    assert teacher.is_linear == (name in ("sum", "two-tables"))


def test_a_student_as_wide_as_its_linear_teacher_scores_like_the_teacher(
    model: DeviceModel,
) -> None:
    history, weights = pad_history(np.array([3, 1, 4]), 200, 0.5)

    def scores(model: DeviceModel) -> Any:
        oracle = Oracle(model)
        return oracle.logits(oracle.encode(history[None], weights[None]))

    assert np.allclose(scores(student_of(model, 32)), scores(model), atol=1e-5)


def test_training_improves_the_student_and_depends_on_the_seed(
    model: DeviceModel, dataset: Dataset
) -> None:
    # Four tastes do not fit two columns, so there is something to learn.
    start = evaluate(student_of(model, 2), dataset)
    taught = edgerec.compress(model, Distill(width=2, epochs=120), dataset=dataset)
    assert evaluate(taught, dataset).ndcg > 1.2 * start.ndcg
    one, other = (
        edgerec.compress(model, Distill(width=2, epochs=1), dataset=dataset, seed=seed)
        for seed in (0, 1)
    )
    assert not np.array_equal(one.tables["items"].decode(), other.tables["items"].decode())


def test_progress_is_reported_and_chaining_works(model: DeviceModel, dataset: Dataset) -> None:
    seen: list[tuple[int, int]] = []
    compressor = Distill(width=8, epochs=2)
    small = edgerec.compress(
        model,
        compressor,
        Quantize(),
        dataset=dataset,
        progress=lambda done, total, what: seen.append((done, total)),
    )
    assert seen == [(1, 2), (2, 2)]
    assert small.tables["items"].codec.name == "int8"
    assert "distill" in small.metadata
    assert [s["compressor"] for s in small.metadata["steps"]] == ["distill", "quantize"]


def test_teachers_are_read_from_files(model: DeviceModel, dataset: Dataset, tmp_path: Path) -> None:
    sage = train(dataset, model="graphsage", epochs=2, dim=16, batch=256).to_device_model()
    paths = [str(tmp_path / name) for name in ("a.model", "b.model")]
    for path, teacher in zip(paths, (model, sage), strict=True):
        edgerec.save_model(teacher, path)
    compressor = distill(f"distill:width=8,epochs=1,teacher={'+'.join(paths)}")
    after = edgerec.compress(model, compressor, dataset=dataset)
    edgerec.save_model(after, tmp_path / "student.model")
    assert edgerec.load_model(tmp_path / "student.model").width == 8


def test_invalid_models_and_teachers_are_refused(
    model: DeviceModel, dataset: Dataset, tmp_path: Path
) -> None:
    with pytest.raises(CompressError, match="distill: needs training interactions"):
        edgerec.compress(model, Distill())
    with pytest.raises(CompressError, match=r"distill.width: 32 is not below the model's width 32"):
        edgerec.compress(model, Distill(width=32), dataset=dataset)
    with pytest.raises(CompressError, match="distill first, then quantize"):
        edgerec.compress(model, Quantize("int4"), Distill(width=16), dataset=dataset)
    missing = Distill(teacher=(str(tmp_path / "none.model"),))
    with pytest.raises(CompressError, match=r"distill.teacher: .*none.model"):
        edgerec.compress(model, missing, dataset=dataset)
    edgerec.save_model(model.take(np.arange(40)), tmp_path / "fewer.model")
    fewer = Distill(teacher=(str(tmp_path / "fewer.model"),))
    with pytest.raises(OptionError, match=r"catalogue \(40 items\) is not that of the model \(80"):
        edgerec.compress(model, fewer, dataset=dataset)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("distill:width=1", "distill.width: expected at least 2, got 1"),
        ("distill:width=half", "distill.width: expected an integer, got 'half'"),
        ("distill:temperature=0", "distill.temperature: expected a positive number, got 0"),
        ("distill:soft=0", "distill.soft: expected a positive number, got 0"),
        ("distill:epochs=0", "distill.epochs: expected at least 1, got 0"),
        ("distill:candidates=1", "distill.candidates: expected at least 2, got 1"),
        ("distill:learning_rate=-1", "distill.learning_rate: expected a positive number"),
        ("distill:rank=8", "distill: unknown option rank; options: width, teacher"),
    ],
)
def test_bad_options_are_refused(spec: str, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        distill(spec)
