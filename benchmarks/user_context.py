"""What users say about themselves, as context: what it is worth, by the length of the history.

    python -m benchmarks.user_context [--seeds 0 1 2]

The data are MovieLens-100K. A fifth of each user's films is held out. HistoryGCN is trained without
context, with each feature of users, with all of them, and with those of other users ("shuffled").
Users are ranked for with their whole history, and with one and three films of it drawn at random.
Hour and weekday are measured apart, on each user's last film, predicted from those before it: a
model of the same data without them is next to them. The results are
``benchmarks/results/user_context.json`` and ``user_context.md``.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

import edgerec
from edgerec.data.dataset import Dataset
from edgerec.data.features import Features
from edgerec.data.quality import evaluate
from edgerec.files.atomic import write_text

RESULTS = Path(__file__).parent / "results"

#: The lengths of histories besides whole ones.
SHORT = (1, 3)

#: What is read as context, by name in the table.
FEATURES = "age,gender,occupation"
CHOICES = {
    "none": None,
    "age": "age",
    "gender": "gender",
    "occupation": "occupation",
    "all three": FEATURES,
    "all three, shuffled": FEATURES,
}
MOMENTS = {"none, last film": None, "hour, last film": "hour", "weekday, last film": "weekday"}

console = Console()


def shuffled(data: Dataset, seed: int) -> Dataset:
    """The data with the features of other users."""
    own = data.user_features
    if own is None:
        raise SystemExit("the files of ml-100k in the cache have no users; remove them")
    order = np.random.default_rng(seed).permutation(len(data.users))
    columns = {name: column.take(order) for name, column in own.columns.items()}
    return dataclasses.replace(data, user_features=Features(own.items, columns))


def shortened(data: Dataset, count: int, seed: int) -> Dataset:
    """The data with so many interactions of each user to rank by, drawn at random."""
    order = np.lexsort((np.random.default_rng(seed).random(len(data.train)), data.train.users))
    rank = np.arange(len(data.train)) - data.train.indptr[data.train.users[order]]
    kept = np.zeros(len(data.train), bool)
    kept[order[rank < count]] = True
    return dataclasses.replace(data, train=data.train.take(kept))


def measure(seed: int) -> Iterator[dict[str, Any]]:
    """Yield one row per choice."""
    data = edgerec.load("ml-100k").split_random(0.2, seed)
    for name, context in CHOICES.items():
        own = shuffled(data, seed) if "shuffled" in name else data
        trained = edgerec.train(own, seed=seed, history_length=1000, context=context)
        model = trained.to_device_model()
        found = {"choice": name, "seed": seed, "whole": evaluate(model, own).ndcg}
        for count in SHORT:
            found[str(count)] = evaluate(model, shortened(own, count, seed)).ndcg
        yield found
    last = edgerec.load("ml-100k").split_last()
    for name, context in MOMENTS.items():
        trained = edgerec.train(last, seed=seed, predict="next", recency=1.0, context=context)
        ndcg = evaluate(trained.to_device_model(), last).ndcg
        yield {"choice": name, "seed": seed, "whole": ndcg}


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown: NDCG@20, mean over seeds ± half the range."""
    lines = [
        "Made by `python -m benchmarks.user_context`. NDCG@20 on ml-100k, mean over seeds ± half "
        "the range, by the past films that users are ranked with.",
        "",
        "| context | seeds | whole history | 1 film | 3 films |",
        "|---|---|---|---|---|",
    ]
    for name in dict.fromkeys(row["choice"] for row in rows):
        own = [row for row in rows if row["choice"] == name]
        cells = []
        for key in ("whole", *map(str, SHORT)):
            values = [row[key] for row in own if key in row]
            spread = (max(values) - min(values)) / 2 if values else 0
            cells.append(f"{np.mean(values):.4f} ± {spread:.4f}" if values else "–")
        lines.append(f"| {name} | {len(own)} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    rows: list[dict[str, Any]] = []
    for seed in parser.parse_args().seeds:
        for row in measure(seed):
            console.print(row)
            rows.append(row)
    write_text(RESULTS / "user_context.json", json.dumps(rows, indent=1) + "\n")
    write_text(RESULTS / "user_context.md", table(rows))


if __name__ == "__main__":
    main()
