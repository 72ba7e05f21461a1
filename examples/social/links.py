"""Recommend friends: a catalogue of people, and the history of whom someone knows already."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

import edgerec
from edgerec import Dataset
from examples.bundles import ship
from examples.rankers import seen
from examples.table import Row

__all__ = ["compare_links"]

#: The share of friendships held out.
SHARE = 0.1


def compare_links(data: Dataset, seed: int, out: Path) -> list[Row]:
    """The AUC of friendships held out, next to as many pairs of users who are no friends.

    No setting of any method is tuned.
    """
    if data.friends is None:
        raise SystemExit(f"{data.name}: has no friendships")
    rng = np.random.default_rng(seed)
    pairs = np.unique(np.sort(data.friends, axis=1), axis=0)
    chosen = rng.random(len(pairs)) < SHARE
    known, held = pairs[~chosen], pairs[chosen]
    # Those who know nobody else cannot be told apart, so they are left out of the test.
    active = np.unique(known)
    held = held[np.isin(held, active).all(1)]
    strangers = no_friends(pairs, active, len(held), rng)
    asked = np.concatenate([held, strangers])
    truth = np.repeat([1, 0], [len(held), len(strangers)])

    both = np.concatenate([known, known[:, ::-1]])
    people = Dataset.from_pairs(both[:, 0], both[:, 1], name="friends")
    model = edgerec.train(people, seed=seed).to_device_model()
    whole, bundle = ship(model, "social-friends", out, "quantize:codec=int8")
    graph = seen(people)
    row = {person: place for place, person in enumerate(people.users)}
    places = np.array([[row[str(one)] for one in pair] for pair in asked.tolist()])
    degree = np.asarray(graph.sum(1)).ravel()
    common = graph[places[:, 0]].multiply(graph[places[:, 1]]).tocsr()
    rare = 1 / np.log(np.maximum(degree, 2))
    baselines = {
        "friends: popularity": degree[places].prod(1),
        "friends: common friends": np.asarray(common.sum(1)).ravel(),
        "friends: Adamic-Adar": common @ rare,
    }
    found = [
        (f"edgerec, friends: {kind}", scores(one.path, people, places), one.nbytes)
        for kind, one in (("int8 bundle", bundle), ("uncompressed", whole))
    ]
    found += [(name, one, None) for name, one in baselines.items()]
    return [
        {"method": name, "AUC": float(roc_auc_score(truth, one)), "bytes": size}
        for name, one, size in found
    ]


def no_friends(
    pairs: NDArray[np.int32], active: NDArray[np.int32], count: int, rng: np.random.Generator
) -> NDArray[np.int32]:
    """Random pairs of users who are no friends, as many as friendships held out."""
    known = {(a, b) for a, b in pairs.tolist()}
    found: set[tuple[int, int]] = set()
    while len(found) < count:
        a, b = sorted(rng.choice(active, 2, replace=False).tolist())
        if (a, b) not in known:
            found.add((a, b))
    return np.array(sorted(found), np.int32)


def scores(path: Path, people: Dataset, pairs: NDArray[np.int64]) -> NDArray[np.float64]:
    """How well the second of each pair suits the friends of the first, and the other way round.

    Pairs are rows of users, int64[n, 2].
    """
    circle = [[people.items.ids[one] for one in friends] for friends in people.train.lists()]
    found = np.zeros(len(pairs))
    with edgerec.Scorer.open(path) as scorer:
        for place, (a, b) in enumerate(pairs.tolist()):
            for one, other in ((a, b), (b, a)):
                found[place] += scorer.score(circle[one], [people.users[other]])[0]
    return found
