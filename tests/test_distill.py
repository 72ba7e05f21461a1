"""distill: soft labels, students of every encoder, ensembles, and refusals."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import edgerec
from edgerec.compressor import Context
from edgerec.data import Dataset
from edgerec.device_model import DeviceModel
from edgerec.errors import CompressError, OptionError
from edgerec.options import build, parse_spec
from edgerec.quality import evaluate
from edgerec.reference import Reference, pad_history
from edgerec.testing import check_compressor, example_models
from edgerec.training import train
from edgerec_distill import Distill
from edgerec_distill.learning import candidates
from edgerec_distill.soft import cross_entropy, distillation_loss, soften, standardize
from edgerec_distill.student import student_of
from edgerec_distill.teacher import Teacher
from edgerec_quantize import Quantize


@pytest.fixture(scope="module")
def model(dataset: Dataset) -> DeviceModel:
    return train(dataset, epochs=8, dim=32, batch=256).to_device_model()


def distill(spec: str) -> Distill:
    """Make it as the command line does."""
    name, options = parse_spec(spec)
    return build(Distill, options, name)


def test_soft_labels_worked_example() -> None:
    logits = torch.tensor([math.log(1), math.log(4)], dtype=torch.float64)
    assert torch.allclose(soften(logits, 1), torch.tensor([0.2, 0.8], dtype=torch.float64))
    # At T = 2 the odds are 1 : √4.
    assert torch.allclose(soften(logits, 2), torch.tensor([1 / 3, 2 / 3], dtype=torch.float64))


def test_cross_entropy_worked_example() -> None:
    p = torch.tensor([[1.0, 0.0], [0.5, 0.5]])
    q = torch.tensor([[0.25, 0.75], [0.25, 0.75]])
    expected = [math.log(4), 0.5 * math.log(4) + 0.5 * math.log(4 / 3)]
    assert torch.allclose(cross_entropy(p, q), torch.tensor(expected))


def test_the_loss_is_the_textbook_one() -> None:
    teacher, student = torch.randn(2, 3, 7, generator=torch.Generator().manual_seed(0))
    expected = 4 * cross_entropy(soften(teacher, 2), soften(student, 2)).mean()
    assert torch.allclose(distillation_loss(teacher, student, 2), expected)


def test_the_loss_is_least_where_student_and_teacher_agree() -> None:
    teacher = torch.tensor([[2.0, 0.0, -1.0]])
    student = teacher.clone().requires_grad_()
    distillation_loss(teacher, student, 0.5).backward()  # type: ignore[no-untyped-call]
    assert student.grad is not None
    assert torch.allclose(student.grad, torch.zeros(1, 3), atol=1e-6)


def test_standardised_scores_forget_scale_and_offset() -> None:
    z = torch.tensor([[1.0, 2.0, 4.0]])
    assert torch.allclose(standardize(z), standardize(5 * z - 3))
    assert torch.equal(standardize(torch.ones(1, 3)), torch.zeros(1, 3))


def test_candidates_are_the_top_and_others() -> None:
    scores = np.random.default_rng(1).normal(size=(5, 50)).astype(np.float32)
    rows = candidates(scores, 20, np.random.default_rng(0))
    for user in range(5):
        assert len(set(rows[user])) == 20
        assert set(np.argsort(-scores[user])[:10]) <= set(rows[user])
    scores[2, :30] = -np.inf  # seen
    rows = candidates(scores, 200, np.random.default_rng(0))
    assert rows.shape == (5, 20)
    assert set(rows[2]) == set(range(30, 50))


@pytest.mark.parametrize("options", [{}, {"alpha": 0.5}], ids=str)
def test_contract(options: dict[str, Any], model: DeviceModel, dataset: Dataset) -> None:
    compressor = Distill(width=8, epochs=3, **options)
    after = check_compressor(compressor, model, Context(dataset))
    assert {n: t.shape[1] for n, t in after.tables.items()} == {"items": 8, "past_scale": 1}
    tail = after.metadata["distill"]
    assert set(tail) == {"long_tail_before", "long_tail_after", "head_share"}
    assert 0 <= tail["long_tail_after"] <= 1


@pytest.mark.parametrize("name", ["sum", "two-tables", "dense", "attention"])
def test_every_encoder_has_a_student(name: str, dataset: Dataset) -> None:
    teacher = example_models(items=len(dataset.items))[name].replace(items=dataset.items)
    after = check_compressor(Distill(width=4, epochs=1), teacher, Context(dataset))
    assert after.is_linear
    assert teacher.is_linear == (name in ("sum", "two-tables"))


def test_a_student_as_wide_as_its_linear_teacher_is_the_teacher(model: DeviceModel) -> None:
    history, weights = pad_history(np.array([3, 1, 4]), 200, 0.5)

    def scores(model: DeviceModel) -> Any:
        oracle = Reference(model)
        return oracle.logits(oracle.encode(history[None], weights[None]))

    assert np.allclose(scores(student_of(model, 32)), scores(model), atol=1e-5)


def test_teaching_helps_and_is_seeded(model: DeviceModel, dataset: Dataset) -> None:
    # Four tastes do not fit two columns, so there is something to learn.
    start = evaluate(student_of(model, 2), dataset)
    taught = edgerec.compress(model, Distill(width=2, epochs=120), dataset=dataset)
    assert evaluate(taught, dataset).ndcg > 1.2 * start.ndcg
    one, other = (
        edgerec.compress(model, Distill(width=2, epochs=1), dataset=dataset, seed=seed)
        for seed in (0, 1)
    )
    assert not np.array_equal(one.tables["items"].decode(), other.tables["items"].decode())


def test_progress_and_chain(model: DeviceModel, dataset: Dataset) -> None:
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


def test_teachers_from_files(model: DeviceModel, dataset: Dataset, tmp_path: Path) -> None:
    sage = train(dataset, model="graphsage", epochs=2, dim=16, batch=256).to_device_model()
    paths = [str(tmp_path / name) for name in ("a.model", "b.model")]
    for path, teacher in zip(paths, (model, sage), strict=True):
        edgerec.save_model(teacher, path)
    history, weights = pad_history(np.array([3, 1, 4]), 200, 0.5)
    one, other, both = (
        Teacher.load(names, model).scores(history[None], weights[None])
        for names in (paths[:1], paths[1:], paths)
    )
    assert np.allclose(both, (one + other) / 2, atol=1e-6)
    assert np.isclose(one.std(), 1, atol=1e-4)
    # GraphSAGE takes a mean, so its teacher weighs a history of three by a third.
    oracle = Reference(sage)
    history, weights = pad_history(np.array([3, 1, 4]), 9, 1)
    mean = oracle.logits(oracle.encode(history[None], weights[None]))
    assert np.allclose(other, (mean - mean.mean()) / mean.std(), atol=1e-4)
    compressor = distill(f"distill:width=8,epochs=1,teacher={'+'.join(paths)}")
    after = edgerec.compress(model, compressor, dataset=dataset)
    edgerec.save_model(after, tmp_path / "student.model")
    assert edgerec.load_model(tmp_path / "student.model").width == 8


def test_refusals(model: DeviceModel, dataset: Dataset, tmp_path: Path) -> None:
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
    with pytest.raises(CompressError, match=r"another catalogue \(40 items\) than the model \(80"):
        edgerec.compress(model, fewer, dataset=dataset)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("distill:width=1", "distill.width: expected at least 2, got 1"),
        ("distill:width=half", "distill.width: expected an integer, got 'half'"),
        ("distill:temperature=0", "distill.temperature: expected a positive number, got 0"),
        ("distill:alpha=2", "distill.alpha: expected a number from 0 to 1, got 2"),
        ("distill:epochs=0", "distill.epochs: expected at least 1, got 0"),
        ("distill:candidates=1", "distill.candidates: expected at least 2, got 1"),
        ("distill:learning_rate=-1", "distill.learning_rate: expected a positive number"),
        ("distill:rank=8", "distill: unknown option rank; options: width, teacher"),
    ],
)
def test_bad_options(spec: str, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        distill(spec)
