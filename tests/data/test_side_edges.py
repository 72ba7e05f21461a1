"""Facts about items and friendships among users: reading, filtering, keeping."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgerec.data.dataset import Dataset
from edgerec.data.dataset_file import load_dataset, save_dataset
from edgerec.data.readers import read_dataset
from edgerec.data.side_edges import read_friends, read_triples
from edgerec.errors import DataError
from edgerec.testing import example_dataset
from edgerec.training.gnn_file import digest_of

ROWS = {"a": 0, "b": 1, "c": 2}


@pytest.mark.parametrize("mark", ["\t", ",", " ", "  "])
def test_facts(tmp_path: Path, mark: str) -> None:
    lines = ["b by x", "a by x", "a in y", "z in y", "a by x"]
    path = tmp_path / "facts.txt"
    path.write_text("\n".join(line.replace(" ", mark) for line in lines) + "\n\n")
    found, notes = read_triples(path, ROWS)
    assert found.tolist() == [[0, 0, 0], [0, 1, 1], [1, 0, 0]]
    assert notes == {"facts about other items dropped": 1}


def test_facts_of_recbole(tmp_path: Path) -> None:
    path = tmp_path / "x.kg"
    path.write_text("head_id:token\trelation_id:token\ttail_id:token\nc\tmade in\tNew York\n")
    found, notes = read_triples(path, ROWS)
    assert found.tolist() == [[2, 0, 0]]
    assert notes == {"facts about other items dropped": 0}


def test_friends_in_both_directions(tmp_path: Path) -> None:
    path = tmp_path / "friends.txt"
    path.write_text("c a\na c\nb b\na z\n")
    found, notes = read_friends(path, ROWS)
    assert found.tolist() == [[0, 2], [2, 0]]
    assert notes == {"friendships of other users dropped": 2}


@pytest.mark.parametrize(
    ("read", "text", "message"),
    [
        (read_triples, "a by x\nb by\n", "line 2: expected an item, a relation, an entity, sepa"),
        (read_triples, "a\tby\t\n", r"line 1: expected .*; got 'a\\tby\\t'"),
        (read_triples, "z by x\n", "none of its 1 facts is about an item of the data set"),
        (read_friends, "a b 1\n", "line 1: expected a user, a friend, separated by tabs, commas"),
        (read_friends, "a z\n", "none of its 1 friendships is of two users of the data set"),
    ],
)
def test_what_is_refused(tmp_path: Path, read: Any, text: str, message: str) -> None:
    path = tmp_path / "side.txt"
    path.write_text(text)
    with pytest.raises(DataError, match=f"side.txt: {message}"):
        read(path, ROWS)


def test_reading_them_with_a_dataset(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("user,item\nu,a\nu,b\nv,b\n")
    (tmp_path / "facts.txt").write_text("b by x\nz by x\n")
    (tmp_path / "friends.txt").write_text("v u\n")
    sides = {name: tmp_path / f"{name}.txt" for name in ("facts", "friends")}
    data = read_dataset(tmp_path / "x.csv", triples=sides["facts"], friends=sides["friends"])
    assert data.triples is not None
    assert data.friends is not None
    assert data.triples.tolist() == [[1, 0, 0]]
    assert data.friends.tolist() == [[0, 1], [1, 0]]
    assert data.notes == {"facts about other items dropped": 1}
    plain = read_dataset(tmp_path / "x.csv")
    assert plain.triples is None
    assert plain.friends is None


def test_a_file_and_a_split_keep_them(tmp_path: Path) -> None:
    data = example_dataset().split_random(0.2)
    save_dataset(data, tmp_path / "d.dataset")
    found = load_dataset(tmp_path / "d.dataset")
    assert data.triples is not None
    assert np.array_equal(found.triples, data.triples)
    assert np.array_equal(found.friends, data.friends)
    save_dataset(dataclasses.replace(data, triples=None, friends=None), tmp_path / "plain.dataset")
    assert load_dataset(tmp_path / "plain.dataset").triples is None


def test_a_core_keeps_the_same_edges_in_new_rows() -> None:
    data = example_dataset()
    core = data.k_core(10)
    assert len(core.users) < len(data.users)
    assert len(core.items) < len(data.items)

    def named(one: Dataset) -> tuple[set[Any], set[Any]]:
        assert one.triples is not None
        assert one.friends is not None
        ids, users = one.items.ids, one.users
        facts = {(ids[i], r, t) for i, r, t in one.triples.tolist()}
        return facts, {(users[u], users[v]) for u, v in one.friends.tolist()}

    items, users = set(core.items.ids), set(core.users)
    facts, friends = named(data)
    assert named(core) == (
        {fact for fact in facts if fact[0] in items},
        {pair for pair in friends if set(pair) <= users},
    )


@pytest.mark.parametrize("name", ["triples", "friends"])
def test_they_belong_to_a_digest(name: str) -> None:
    data = example_dataset()
    edges = getattr(data, name)
    other = dataclasses.replace(data, **{name: edges[1:]})
    without = dataclasses.replace(data, **{name: None})
    assert len({digest_of(data), digest_of(other), digest_of(without)}) == 3


@pytest.mark.parametrize(
    ("name", "edges", "message"),
    [
        ("triples", [[0, 0]], r"triples: expected int32\[m, 3\], got shape \[1, 2\]"),
        ("friends", [[0, 120]], "friends: a row is outside the data set"),
        ("triples", [[80, 0, 0]], "triples: a row is outside the data set"),
        ("triples", [[0, -1, 0]], "triples: a row is outside the data set"),
    ],
)
def test_edges_of_other_rows(name: str, edges: list[list[int]], message: str) -> None:
    with pytest.raises(DataError, match=message):
        dataclasses.replace(example_dataset(), **{name: np.array(edges, np.int32)})
