"""Metrics against figures worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
import pytrec_eval

from edgerec.data.interval import of_mean, of_ratio
from edgerec.data.metrics import long_tail_share, ndcg, ndcgs, overlap, recall, recalls
from edgerec.exporting.answers import tied_overlap


def test_recall_and_ndcg_by_hand() -> None:
    lists = np.array([[4, 1, 7], [2, 3, 5]])
    relevant = [np.array([1, 9]), np.array([2])]
    assert recall(lists, relevant, 3) == pytest.approx((1 / 2 + 1) / 2)
    first = (1 / np.log2(3)) / (1 + 1 / np.log2(3))
    assert ndcg(lists, relevant, 3) == pytest.approx((first + 1) / 2)


@pytest.mark.parametrize("k", [1, 5, 20])
def test_recall_and_ndcg_as_trec_eval_has_them(k: int) -> None:
    rng = np.random.default_rng(k)
    lists = np.array([rng.permutation(60)[:20] for _ in range(40)])
    relevant = [rng.permutation(60)[: rng.integers(1, 30)] for _ in range(40)]
    judged = {str(u): {str(i): 1 for i in rows} for u, rows in enumerate(relevant)}
    ranked = {str(u): {str(i): 20.0 - n for n, i in enumerate(t)} for u, t in enumerate(lists)}
    evaluator = pytrec_eval.RelevanceEvaluator(judged, {f"ndcg_cut.{k}", f"recall.{k}"})
    found = evaluator.evaluate(ranked)
    theirs = [[found[str(u)][name] for u in range(40)] for name in (f"recall_{k}", f"ndcg_cut_{k}")]
    assert np.allclose(recalls(lists, relevant, k), theirs[0])
    assert np.allclose(ndcgs(lists, relevant, k), theirs[1])


def test_intervals_cover_what_they_should() -> None:
    rng = np.random.default_rng(0)
    inside, paired = [], []
    for _ in range(400):
        before = rng.gamma(2, 0.1, 300)
        after = before * 0.9 + rng.normal(0, 0.02, 300)
        mean, ratio = of_mean(before), of_ratio(after, before)
        inside.append(mean.low <= 0.2 <= mean.high)
        paired.append(ratio.low <= 0.9 <= ratio.high)
        assert ratio.half < mean.half
    assert 0.92 < np.mean(inside) < 0.98
    assert 0.92 < np.mean(paired) < 0.98
    assert of_mean(np.array([0.3])).half == np.inf


def test_users_without_held_out_items_are_left_out() -> None:
    lists = np.array([[1, 2], [3, 4]])
    assert recall(lists, [np.array([1]), np.array([], int)], 2) == 1


def test_overlap() -> None:
    assert overlap(np.array([[1, 2, 3, 4]]), np.array([[4, 3, 9, 8]]), 4) == 0.5


def test_ties_count_as_equal() -> None:
    scores = np.array([5, 3, 3 + 1e-7, 3, 1], np.float32)
    assert tied_overlap(np.array([0, 3]), scores, 2) == 1
    assert tied_overlap(np.array([0, 4]), scores, 2) == 0.5


def test_long_tail_share() -> None:
    assert long_tail_share(np.array([[0, 4]]), np.array([9, 1, 1, 1, 1]), 2, head=0.2) == 0.5
