"""What else a scorer answers: exclusions, choices, batches, scores, and user vectors."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from edgerec.device.scorer import Scorer
from edgerec.errors import DataError, OptionError
from edgerec.exporting.export import export
from edgerec.model.codecs import Codec, Fp32, Int4, Int8
from edgerec.model.device_model import DeviceModel
from edgerec.model.oracle import Oracle, sigmoid
from edgerec.testing import example_models
from edgerec.testing.models import adverse_models
from edgerec_pq.codec import PQ

TARGETS = pytest.mark.parametrize("target", ["numpy", "onnx", "tflite", "torchscript"])
HISTORY = ["i00003", "i00007"]


def scorer(model: DeviceModel, target: str, folder: Path) -> Scorer:
    return Scorer(export(model, target, folder / "x.edgerec", top_k=20), trust=True)


def logits(model: DeviceModel, rows: list[int]) -> np.ndarray:
    oracle = Oracle(model)
    history, weights = oracle.pad(np.array(rows))
    found: np.ndarray = oracle.logits(oracle.encode(history[None], weights[None]))[0]
    return found


@TARGETS
def test_exclude_and_only_are_exact(
    target: str, models: dict[str, DeviceModel], tmp_path: Path
) -> None:
    model = models["two-tables"].with_codec(Int8())
    opened, ids = scorer(model, target, tmp_path), model.items.ids
    expected = logits(model, [3, 7])
    expected[[3, 7]] = -np.inf
    order = np.argsort(-expected, kind="stable")
    # More than the list has places for.
    excluded = [ids[int(row)] for row in order[:100]]
    found = opened.recommend(HISTORY, 10, exclude=excluded)
    assert [one.id for one in found] == [ids[int(row)] for row in order[100:110]]
    assert np.allclose([one.score for one in found], expected[order[100:110]], rtol=1e-4)
    chosen = [*order[200:203], 3, *order[300:900:50]]
    found = opened.recommend(HISTORY, 20, only={ids[int(row)] for row in chosen} | {"nope"})
    ranked = [row for row in order if row in chosen and row not in (3, 7)]
    assert [one.id for one in found] == [ids[int(row)] for row in ranked][:20]
    assert opened.recommend(HISTORY, 5, only=[]) == []
    assert opened.recommend(HISTORY, 5, only=HISTORY) == []
    both = opened.recommend(HISTORY, 5, only=excluded[:7], exclude=excluded[:4])
    assert [one.id for one in both] == excluded[4:7]


def test_an_empty_history_follows_them_too(models: dict[str, DeviceModel], tmp_path: Path) -> None:
    opened = scorer(models["two-tables"], "numpy", tmp_path)
    found = opened.recommend([], 3, exclude=["i00000", "i00002"])
    assert [one.id for one in found] == ["i00001", "i00003", "i00004"]
    found = opened.recommend([], 3, only=["i00500", "i00005", "i00400"])
    assert [one.id for one in found] == ["i00005", "i00400", "i00500"]
    assert found.fallback
    assert all(math.isnan(one.score) for one in found)


@TARGETS
@pytest.mark.parametrize("name", ["dense", "attention"])
def test_scores_and_user_vectors(
    target: str, name: str, models: dict[str, DeviceModel], tmp_path: Path
) -> None:
    model = models[name].with_codec(Int8())
    opened, ids = scorer(model, target, tmp_path), model.items.ids
    rows = np.random.default_rng(0).permutation(len(ids))[:300]
    found = opened.score(HISTORY, [ids[int(row)] for row in rows])
    expected = logits(model, [3, 7])[rows]
    if name == "attention":
        expected = sigmoid(expected)
    assert np.allclose(found, expected, rtol=1e-4, atol=1e-6)
    oracle = Oracle(model)
    history, weights = oracle.pad(np.array([3, 7]))
    user = oracle.encode(history[None], weights[None])[0]
    assert np.allclose(opened.user(HISTORY), user, rtol=1e-4, atol=1e-5)
    assert opened.score(HISTORY, []) == []
    with pytest.raises(DataError, match="items: unknown items nope, nor; 2 in total"):
        opened.score(HISTORY, ["i00001", "nope", "nor"])
    listed = opened.recommend(HISTORY, 5)
    again = opened.score(HISTORY, [one.id for one in listed])
    assert np.allclose([one.score for one in listed], again, rtol=1e-4)


def test_similar_items(models: dict[str, DeviceModel], tmp_path: Path) -> None:
    model = models["two-tables"].replace(drop_seen=False)
    opened = scorer(model, "numpy", tmp_path)
    found = opened.similar("i00003", 5)
    assert [one.id for one in found] == [
        one.id for one in opened.recommend(["i00003"], 6) if one.id != "i00003"
    ][:5]
    with pytest.raises(DataError, match="history: unknown items nope"):
        opened.similar("nope")


@pytest.mark.parametrize("codec", [Fp32(), Int8(symmetric=False), Int4(), PQ()], ids=str)
@pytest.mark.parametrize("name", ["sum", "dense", "transformer"])
def test_a_batch_has_the_lists_of_its_histories(name: str, codec: Codec, tmp_path: Path) -> None:
    model = example_models(9000, 16)[name].replace(recency=0.5)
    model = model.with_codec(codec, [n for n, t in model.tables.items() if t.shape[1] > 1])
    opened, rng = scorer(model, "numpy", tmp_path), np.random.default_rng(0)
    histories = [
        [model.items.ids[int(row)] for row in rng.integers(0, 9000, rng.integers(1, 60))]
        for _ in range(70)
    ]
    histories[5:5] = [[], ["nope"], ["i00001", "nope", "i00001"]]
    batch = opened.recommend_batch(histories, 20)
    for found, history in zip(batch, histories, strict=True):
        alone = opened.recommend(history, 20)
        assert (found.unknown, found.truncated, found.fallback) == (
            alone.unknown,
            alone.truncated,
            alone.fallback,
        )
        assert [one.id for one in found] == [one.id for one in alone]
        scores = [[one.score for one in items] for items in (found, alone)]
        assert np.allclose(*scores, rtol=1e-4, atol=1e-6, equal_nan=True)
    assert opened.recommend_batch([]) == []
    with pytest.raises(DataError, match=r"histories\[6\]: unknown items nope"):
        opened.recommend_batch(histories, strict=True)


@pytest.mark.parametrize("target", ["onnx", "tflite", "torchscript"])
def test_a_batch_on_other_targets(
    target: str, models: dict[str, DeviceModel], tmp_path: Path
) -> None:
    opened = scorer(models["two-tables"], target, tmp_path)
    histories = [HISTORY, [], ["i00005"]]
    assert [list(found) for found in opened.recommend_batch(histories, 5)][::2] == [
        list(opened.recommend(history, 5)) for history in histories[::2]
    ]


@TARGETS
def test_declared_inputs_are_required_and_checked(target: str, tmp_path: Path) -> None:
    model = adverse_models()["situated"]
    opened = scorer(model, target, tmp_path)
    vector, context = np.linspace(-1, 1, 16), [0.5, -1.0, 2.0]
    oracle = Oracle(model)
    history, weights = oracle.pad(np.array([3, 7]), np.array([2, 0.5], np.float32))
    user = oracle.encode(
        history[None],
        weights[None],
        vector[None].astype(np.float32),
        np.array([context], np.float32),
    )
    given = {"weights": [2, 0.5], "user_vector": vector, "context": context}
    assert np.allclose(opened.user(HISTORY, **given), user[0], rtol=1e-4, atol=1e-5)
    expected = oracle.logits(user)[0]
    scores = opened.score(HISTORY, ["i00000", "i00299"], **given)
    assert np.allclose(scores, expected[[0, 299]], rtol=1e-4)
    found = opened.recommend(HISTORY, 5, **given)
    expected[[3, 7]] = -np.inf
    assert [one.id for one in found] == [f"i{row:05d}" for row in np.argsort(-expected)[:5]]
    for changes, message in (
        ({"user_vector": None}, "user_vector: this model reads 16 numbers; pass them"),
        ({"context": [1, 2]}, r"context: expected 3 finite numbers, got \[1, 2\]"),
        ({"context": [1, 2, np.nan]}, "context: expected 3 finite numbers"),
        ({"context": ["a", "b", "c"]}, "context: expected numbers, got"),
        ({"context": "abc"}, "context: expected a list of numbers, got the text 'abc'"),
    ):
        with pytest.raises(OptionError, match=message):
            opened.recommend(HISTORY, **(given | changes))


@TARGETS
def test_what_was_disliked_counts_against_others(
    target: str, models: dict[str, DeviceModel], tmp_path: Path
) -> None:
    model = models["sum"]
    opened = scorer(model, target, tmp_path)
    oracle = Oracle(model)
    history, weights = oracle.pad(np.array([3, 7]), np.array([2, -1.5], np.float32))
    expected = oracle.logits(oracle.encode(history[None], weights[None]))[0]
    expected[[3, 7]] = -np.inf
    found = opened.recommend(HISTORY, 10, weights=[2, -1.5])
    assert [one.id for one in found] == [f"i{row:05d}" for row in np.argsort(-expected)[:10]]


def test_what_a_model_does_not_read_is_an_error(
    models: dict[str, DeviceModel], tmp_path: Path
) -> None:
    opened = scorer(models["two-tables"], "numpy", tmp_path)
    for name, value in (("weights", [1, 2]), ("user_vector", [1.0]), ("context", [1.0])):
        with pytest.raises(OptionError, match=f"{name}: this model does not read any"):
            opened.recommend(HISTORY, **{name: value})  # type: ignore[arg-type]  # by name
