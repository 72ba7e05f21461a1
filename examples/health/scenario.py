"""Which herbs do physicians give for these symptoms? On the device, from the symptoms alone.

python -m examples.run health --data FOLDER
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.neighbors import NearestNeighbors

import edgerec
from examples.bundles import ship
from examples.health.network import Network, graph_of
from examples.health.prescriptions import (
    Prescriptions,
    read_names,
    read_pairs,
    read_prescriptions,
)
from examples.table import Row, kept_share

#: What is tried, the same number of settings for each method that has any.
OURS = [{"dropout": p, "decay": d} for p in (0.2, 0.5) for d in (0.0, 0.01)]
RIDGE, NEIGHBORS = (1.0, 10.0, 100.0, 1000.0), (20, 50, 100, 200)


def run(folder: Path, seed: int, out: Path, epochs: int = 15, width: int = 64) -> list[Row]:
    """Train, compress, and prescribe for the test's symptoms with the bundle itself."""
    data = folder / "herb"
    symptoms, herbs = (read_names(data / f"{name}_mapping.txt") for name in ("sym", "herb"))
    sizes = len(symptoms), len(herbs)
    every = read_prescriptions(data / "train.txt", *sizes)
    test = read_prescriptions(data / "test.txt", *sizes)

    # 1. A tenth of the training prescriptions chooses settings; the test is only measured on.
    order = np.random.default_rng(seed).permutation(len(every))
    cut = len(every) // 10
    known, valid = every.take(order[cut:]), every.take(order[:cut])
    pairs = [torch.from_numpy(read_pairs(data / f"{name}.txt")) for name in PAIRS]
    edges = graph_of(known, *pairs)
    found = [train(edges, known, valid, seed, epochs, width, **one) for one in OURS]
    network = max(found, key=lambda one: one[0])[1]

    # 2. Two vocabularies: a history of symptoms, a catalogue of herbs.
    with torch.no_grad():
        past, rows = network.tables()
    model = edgerec.from_torch(
        network.picture,
        {"items": rows, "symptoms": past},
        range(len(herbs)),
        titles=herbs,
        past_ids=[f"symptom {number}" for number in range(len(symptoms))],
        history_length=int(max(every.symptoms.sum(1).max(), test.symptoms.sum(1).max())),
        normalization=1.0,
    )
    whole, bundle = ship(model, "health", out, "quantize:codec=int8")

    # 3. The file on the device prescribes.
    result = [
        figures("edgerec, int8 bundle", answers(bundle.path, test), test, bundle.nbytes),
        figures("edgerec, uncompressed", answers(whole.path, test), test, whole.nbytes),
    ]
    result[0]["kept"] = kept_share(result[0], result[1], "P@5")

    # 4. Baselines.
    popular = known.herbs.sum(0)
    result.append(figures("popularity", top(np.tile(popular, (len(test), 1))), test))
    together = known.symptoms.T @ known.herbs
    share = together / np.maximum(known.symptoms.sum(0), 1)[:, None]
    result.append(figures("co-occurrence", top(test.symptoms @ share), test))
    for name, make, settings in (
        ("ridge regression (EASE for two vocabularies)", ridge, RIDGE),
        ("nearest prescriptions (scikit-learn)", nearest, NEIGHBORS),
    ):
        result.append(figures(name, best_of(make, settings, known, valid, test), test))
    return result


#: The files of pairs of symptoms and of herbs.
PAIRS = ("symPair-5", "herbPair-40")


def train(
    edges: torch.Tensor,
    known: Prescriptions,
    valid: Prescriptions,
    seed: int,
    epochs: int,
    width: int,
    dropout: float,
    decay: float,
) -> tuple[float, Network]:
    """P@5 on the held-out tenth at its best epoch, and the network of that epoch."""
    torch.manual_seed(seed)
    sizes = known.symptoms.shape[1], known.herbs.shape[1]
    network = Network(edges, *sizes, width, dropout)
    optimizer = torch.optim.AdamW(network.parameters(), 0.003, weight_decay=decay)
    sets, given = torch.from_numpy(known.symptoms), torch.from_numpy(known.herbs)
    best, kept = -1.0, network.state_dict()
    for _ in range(epochs):
        network.train()
        for part in torch.randperm(len(known)).split(512):
            # Every herb that was given is right, and a prescription counts as one.
            target = given[part] / given[part].sum(1, keepdim=True)
            loss = torch.nn.functional.cross_entropy(network(sets[part]), target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        network.eval()
        with torch.no_grad():
            lists = top(network(torch.from_numpy(valid.symptoms)).numpy())
        if (found := figures("", lists, valid)["P@5"]) > best:
            best = found
            kept = {name: one.clone() for name, one in network.state_dict().items()}
    network.load_state_dict(kept)
    return best, network.eval()


def answers(path: Path, asked: Prescriptions) -> NDArray[np.int64]:
    """The 20 herbs that a bundle recommends for each set of symptoms."""
    with edgerec.Scorer.open(path) as scorer:
        return np.array([
            [int(herb.id) for herb in scorer.recommend(
                [f"symptom {one}" for one in np.flatnonzero(row)], k=20
            )]
            for row in asked.symptoms
        ])  # fmt: skip


def ridge(known: Prescriptions, asked: Prescriptions, strength: float) -> NDArray[Any]:
    """W = (SᵀS + λI)^-1 SᵀH, the closed form of EASE (Steck, WWW 2019) from set to set."""
    s, h = known.symptoms, known.herbs
    weights = np.linalg.solve(s.T @ s + strength * np.eye(s.shape[1]), s.T @ h)
    return asked.symptoms @ weights


def nearest(known: Prescriptions, asked: Prescriptions, k: int) -> NDArray[Any]:
    """The herbs of the k prescriptions for the most similar sets of symptoms."""
    count = min(k, len(known))
    index = NearestNeighbors(n_neighbors=count, metric="cosine", algorithm="brute")
    distance, rows = index.fit(known.symptoms).kneighbors(asked.symptoms)
    scores = np.zeros((len(asked), known.herbs.shape[1]), np.float32)
    for place in range(count):
        scores += (1 - distance[:, place, None]).astype(np.float32) * known.herbs[rows[:, place]]
    return scores


def best_of(
    make: Callable[..., NDArray[Any]],
    settings: Iterable[float],
    known: Prescriptions,
    valid: Prescriptions,
    test: Prescriptions,
) -> NDArray[np.int64]:
    """Lists for the test by the setting that is best on the held-out tenth."""

    def quality(one: float) -> float:
        return float(figures("", top(make(known, valid, one)), valid)["P@5"])

    return top(make(known, test, max(settings, key=quality)))


def top(scores: NDArray[Any], k: int = 20) -> NDArray[np.int64]:
    """The k best of each row."""
    return np.argsort(-scores, axis=1, kind="stable")[:, :k]


def figures(
    name: str, lists: NDArray[np.int64], asked: Prescriptions, size: int | None = None
) -> Row:
    """Precision of the first five herbs, and recall of the first twenty."""
    hits = np.take_along_axis(asked.herbs, lists, 1)
    return {
        "method": name,
        "P@5": float(hits[:, :5].mean()),
        "R@20": float((hits.sum(1) / asked.herbs.sum(1)).mean()),
        "bytes": size,
    }
