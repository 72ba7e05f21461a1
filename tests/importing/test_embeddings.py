"""Tables of rows from any library become models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import edgerec
from edgerec.device.scorer import Scorer
from edgerec.errors import ModelError

RNG = np.random.default_rng(0)
IDS = [f"film {row}" for row in range(90)]
ITEMS, PAST = RNG.normal(size=(2, 90, 8))


@pytest.mark.parametrize("target", ["numpy", "onnx", "tflite"])
@pytest.mark.parametrize(("pooling", "power"), [("mean", 1), ("sqrt", 0.5), ("sum", 0)])
@pytest.mark.parametrize("head", ["dot", "cosine", "sigmoid"])
def test_lists_are_those_of_the_tables(
    target: str, pooling: Any, power: float, head: Any, tmp_path: Path
) -> None:
    model = edgerec.from_embeddings(
        IDS, torch.from_numpy(ITEMS), PAST.tolist(), pooling=pooling, head=head
    )
    bundle = edgerec.export(model, target, tmp_path / "x.edgerec", top_k=20)
    history = [3, 80, 41]
    user = PAST[history].sum(0) / len(history) ** power
    scores = ITEMS @ user
    if head == "cosine":
        scores /= np.linalg.norm(ITEMS, axis=1) * np.linalg.norm(user)
    if head == "sigmoid":
        scores = 1 / (1 + np.exp(-scores))
    scores[history] = -np.inf
    found = Scorer(bundle).recommend([IDS[row] for row in history], 20)
    best = np.argsort(-scores)[:20]
    assert [one.id for one in found] == [IDS[row] for row in best]
    assert np.allclose([one.score for one in found], scores[best], rtol=1e-4)


def test_one_table_titles_and_popular_items(tmp_path: Path) -> None:
    model = edgerec.from_embeddings(
        range(90), ITEMS, titles=IDS, popular=[7, 3], history_length=5, drop_seen=False
    )
    assert set(model.tables) == {"items"}
    assert (model.history_length, model.drop_seen) == (5, False)
    scorer = Scorer(edgerec.export(model, "numpy", tmp_path / "x.edgerec"))
    assert [one.title for one in scorer.recommend([], 2)] == ["film 7", "film 3"]


def test_past_items_may_be_others(tmp_path: Path) -> None:
    model = edgerec.from_embeddings(IDS, ITEMS, PAST[:5], past_ids="abcde", pooling="sum")
    scorer = Scorer(edgerec.export(model, "onnx", tmp_path / "x.edgerec"))
    best = np.argsort(-(ITEMS @ (PAST[1] + PAST[4])))[:5]
    assert [one.id for one in scorer.recommend(["b", "e"], 5)] == [IDS[row] for row in best]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((IDS, ITEMS[:-1]), "items: expected 90 rows, one per id, got 89"),
        ((IDS, ITEMS, PAST[:, :7]), "past: expected rows as wide as those of items, 8, got 7"),
        ((IDS, ITEMS, PAST[1:]), "past: expected 90 rows, one per id, got 89"),
        ((IDS, ITEMS[0]), r"items: expected a matrix \[rows, width\], got the shape \[8\]"),
        ((IDS, [["a"]]), "items: expected a matrix of numbers"),
        ((IDS, np.where(ITEMS > 2, np.nan, ITEMS)), "items: row [0-9]+ has a number that is NaN"),
        ((IDS, np.full((90, 8), 1e300)), "items: row 0 has a number that is NaN, infinite, or"),
        (([*IDS[:-1], IDS[0]], ITEMS), "items: id 'film 0' occurs twice"),
    ],
)
def test_what_does_not_fit(arguments: Any, message: str) -> None:
    with np.errstate(over="ignore"), pytest.raises(ModelError, match=message):
        edgerec.from_embeddings(*arguments)


def test_options_that_do_not_fit() -> None:
    for options, message in (
        ({"pooling": "max"}, "pooling: expected mean, sqrt or sum, got 'max'"),
        ({"popular": ["nope"]}, "popular: expected different ids of the catalogue"),
        ({"popular": [IDS[0], IDS[0]]}, "popular: expected different ids of the catalogue"),
        ({"past_ids": IDS}, "past_ids: expected rows for them in past, got none"),
        ({"head": "l2"}, "head.kind: expected dot, cosine or sigmoid, got 'l2'"),
    ):
        with pytest.raises(ModelError, match=message):
            edgerec.from_embeddings(IDS, ITEMS, **options)  # type: ignore[arg-type]  # mistakes
