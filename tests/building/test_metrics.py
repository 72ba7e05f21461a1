"""Metrics against figures worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from edgerec.building.metrics import long_tail_share, ndcg, overlap, recall
from edgerec.exporting.proof import tied_overlap


def test_recall_and_ndcg_by_hand() -> None:
    lists = np.array([[4, 1, 7], [2, 3, 5]])
    relevant = [np.array([1, 9]), np.array([2])]
    assert recall(lists, relevant, 3) == pytest.approx((1 / 2 + 1) / 2)
    first = (1 / np.log2(3)) / (1 + 1 / np.log2(3))
    assert ndcg(lists, relevant, 3) == pytest.approx((first + 1) / 2)


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
