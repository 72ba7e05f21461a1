"""Data sets made of what is in memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from edgerec.data.dataset import Dataset
from edgerec.errors import DataError


def lists(data: Dataset) -> dict[str, list[str]]:
    return {
        user: [data.items.ids[int(row)] for row in past]
        for user, past in zip(data.users, data.train.lists(), strict=True)
    }


EXPECTED = {"ann": ["pear", "fig"], "bob": ["fig"]}
USERS, ITEMS = ["ann", "ann", "bob", "ann"], ["fig", "pear", "fig", "fig"]


def test_pairs_are_in_order_and_merged() -> None:
    data = Dataset.from_pairs(USERS, ITEMS, name="fruit")
    assert lists(data) == EXPECTED
    assert (data.name, data.notes) == ("fruit", {"repeated pairs merged": 1})
    data = Dataset.from_pairs(USERS, ITEMS, [4, 1, 2, 3], [5, 4, 3, 2])
    assert lists(data) == EXPECTED
    assert data.train.ratings is not None
    assert data.train.ratings.tolist() == [4, 5, 3]
    dates = np.array(["2024-01-04", "2024-01-01", "2024-01-02", "2024-01-03"], "datetime64[D]")
    assert lists(Dataset.from_pairs(USERS, ITEMS, dates)) == EXPECTED
    assert lists(Dataset.from_pairs([1.0, 2.0], [7, 8])) == {"1": ["7"], "2": ["8"]}


@pytest.mark.parametrize("kind", [dict, pl.DataFrame])
def test_frames(kind: Any) -> None:
    frame = kind({"who": USERS, "what": ITEMS, "at": [4, 1, 2, 3]})
    data = Dataset.from_frame(frame, user="who", item="what", timestamp="at")
    assert lists(data) == EXPECTED
    with pytest.raises(DataError, match="user: the frame has no column 'user'"):
        Dataset.from_frame(frame)


def test_graphs_and_matrices() -> None:
    edges = torch.tensor([[0, 0, 1], [3, 2, 3]])
    data = Dataset.from_edge_index(edges, first_item=2, users=["ann", "bob"], items=["pear", "fig"])
    assert lists(data) == {"ann": ["fig", "pear"], "bob": ["fig"]}
    assert lists(Dataset.from_edge_index(edges)) == {"0": ["3", "2"], "1": ["3"]}
    with pytest.raises(DataError, match="edge_index: a node of users is outside 0 to 0"):
        Dataset.from_edge_index(edges, users=["ann"])
    with pytest.raises(DataError, match="edge_index: a node of items is outside"):
        Dataset.from_edge_index(edges, first_item=3)
    with pytest.raises(DataError, match=r"edge_index: expected int\[2, E\], got int64\[3, 2\]"):
        Dataset.from_edge_index(edges.T)

    class Sparse:
        """As scipy's matrices are."""

        row, col, data = np.array([0, 1]), np.array([1, 0]), np.array([2.0, 3.0])

        def tocoo(self) -> Sparse:
            return self

    data = Dataset.from_csr(Sparse(), items=["pear", "fig"])
    assert lists(data) == {"0": ["fig"], "1": ["pear"]}
    assert data.train.ratings is not None
    assert data.train.ratings.tolist() == [2, 3]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((["a"], ["x", "y"]), "items: expected 1, one per user, got 2"),
        ((["a", None], ["x", "y"]), r"users\[1\]: expected an id, got None"),
        (([1.5, 2], ["x", "y"]), "users: expected ids, got a number that is NaN or has a fraction"),
        (([[1]], ["x"]), r"users: expected one id per interaction, got the shape \[1, 1\]"),
        ((["a"], ["x"], [float("nan")]), "timestamps: expected one finite number"),
        ((["a"], ["x"], ["soon"]), "timestamps: expected numbers"),
        (([], []), "users: expected at least one interaction, got none"),
    ],
)
def test_what_is_refused(arguments: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        Dataset.from_pairs(*arguments)
