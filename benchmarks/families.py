"""Quality of GNN families, each tuned with the same number of trials.

    python -m benchmarks.families [--lastfm FOLDER] [--mooccube FOLDER] [--gowalla FOLDER]

LastFM's FOLDER contains data1.txt, test1.txt and trustnetwork.txt (users who are friends), and
MOOCCube's contains ratings_final.txt and kg_final.txt (course, relation, entity). LastFM has a
given split. A random fifth of each MOOCCube user's courses is the test set, another one for each
seed. Options are drawn at random, the same draws for all families, and chosen by NDCG@20 on a fifth
of the training interactions of seed 0. The best are trained with all of them. On Gowalla, nothing
is tuned: ``GOWALLA`` has the options, and one seed is trained. Results are means over seeds;
``benchmarks/results/families.json`` and ``families.md`` have them and the options chosen. The
seconds are of the CPU.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from rich.console import Console

import edgerec
from benchmarks.quality import gowalla
from edgerec.contracts.family import Family
from edgerec.data.dataset import Dataset
from edgerec.data.interactions import Interactions
from edgerec.data.quality import Quality, evaluate
from edgerec.data.side_edges import read_friends, read_triples
from edgerec.files.atomic import write_text
from edgerec.model.items import Items
from edgerec_families import (
    GAT,
    NGCF,
    GraphSAGE,
    HistoryGCN,
    Knowledge,
    LightGCN,
    PinSage,
    Social,
)

RESULTS = Path(__file__).parent / "results"

#: Values to draw from, for all families.
SPACE: dict[str, list[Any]] = {
    "epochs": [4, 8, 16],
    "learning_rate": [0.003, 0.01, 0.03],
    "temperature": [0.1, 0.15, 0.2, 0.3],
    "popularity": [0.0, 0.1, 0.2, 0.3],
}


@dataclass(frozen=True)
class HeldOut(LightGCN):
    """LightGCN trained like families with dense layers, to tell apart what these add."""

    name: ClassVar[str] = "lightgcn-held-out"

    def make(self, n_users: int, n_items: int, dim: int) -> Any:
        """Make an untrained network."""
        network = super().make(n_users, n_items, dim)
        network.linear = False
        return network


#: The families by their names in the table, with values of their own options to draw from.
FAMILIES: dict[str, tuple[Callable[..., Family], dict[str, list[Any]]]] = {
    "lightgcn": (LightGCN, {"layers": [1, 2, 3]}),
    "lightgcn, user rows": (partial(LightGCN, user_embedding=True), {"layers": [1, 2, 3]}),
    "lightgcn, parts held out": (HeldOut, {"layers": [1, 2, 3]}),
    "historygcn": (HistoryGCN, {"tied": [True, False]}),
    "graphsage": (GraphSAGE, {"layers": [1, 2, 3]}),
    "ngcf": (NGCF, {"layers": [1, 2, 3]}),
    "gat": (GAT, {"layers": [1, 2], "heads": [1, 4]}),
    "knowledge": (Knowledge, {"layers": [1, 2], "heads": [1, 4]}),
    "social": (Social, {"layers": [1, 2, 3], "weight": [0.1, 0.2, 0.3, 0.5]}),
    "pinsage": (PinSage, {"layers": [1, 2], "neighbors": [5, 10, 20]}),
}

#: Options on Gowalla, where nothing is tuned.
GOWALLA: dict[str, Any] = {"epochs": 10}

#: What all are trained with: no history is cut off, as the graph does not cut any.
COMMON: dict[str, Any] = {"history_length": 1000}

console = Console()


def lastfm(folder: Path, seed: int) -> Dataset:
    """Read LastFM with its given split and its friendships."""
    train, test = (np.loadtxt(folder / f"{n}1.txt")[:, :2].astype(int) for n in ("data", "test"))
    n_users, n_items = np.concatenate([train, test]).max(0) + 1
    parts = (Interactions.of_pairs(*pairs.T, n_users) for pairs in (train, test))
    data = _dataset("lastfm", n_users, n_items, *parts)
    rows = {user: row for row, user in enumerate(data.users)}
    return replace(data, friends=read_friends(folder / "trustnetwork.txt", rows)[0])


def mooccube(folder: Path, seed: int) -> Dataset:
    """Read MOOCCube's positive interactions and its knowledge graph, and split it at random."""
    rated = np.loadtxt(folder / "ratings_final.txt", dtype=int)
    n_users, n_items, _ = rated.max(0) + 1
    pairs = np.unique(rated[rated[:, 2] == 1, :2], axis=0)
    interactions = Interactions.of_pairs(*pairs.T, n_users)
    data = _dataset("mooccube", n_users, n_items, interactions).split_random(0.2, seed)
    return replace(data, triples=read_triples(folder / "kg_final.txt", data.items.rows)[0])


def _dataset(name: str, n_users: int, n_items: int, *parts: Interactions) -> Dataset:
    users, items = (list(map(str, range(n))) for n in (n_users, n_items))
    return Dataset(name, users, Items.of(items), parts[0], None, *parts[1:])


def draws(space: dict[str, list[Any]], trials: int) -> list[dict[str, Any]]:
    """Draw options at random, the first ones being the defaults of ``train``."""
    rng = np.random.default_rng(0)
    places = rng.random((trials - 1, 16))
    return [{}] + [
        {name: space[name][int(u * len(space[name]))] for name, u in zip(space, row, strict=False)}
        for row in places
    ]


def measure(
    data: Dataset, family: str, options: dict[str, Any], seed: int
) -> tuple[Quality, float]:
    """Train a family and evaluate it; return its quality and the CPU seconds of training."""
    make, own = FAMILIES[family]
    model = make(**{name: value for name, value in options.items() if name in own})
    given = {name: value for name, value in options.items() if name in SPACE}
    start = time.process_time()
    trained = edgerec.train(data, model=model, seed=seed, **COMMON, **given)
    seconds = time.process_time() - start
    return evaluate(trained.to_device_model(), data, user_vectors=trained.user_vectors), seconds


def tune(data: Dataset, family: str, trials: int) -> dict[str, Any]:
    """Choose options on a fifth of the training interactions."""
    _, space = FAMILIES[family]
    part = replace(data, test=None).split_random(0.2, part="valid").on_valid()
    best: tuple[float, dict[str, Any]] = (-1.0, {})
    for options in draws(SPACE | space, trials):
        found, seconds = measure(part, family, options, 0)
        console.print(data.name, family, options, f"{found.ndcg:.4f}", f"{seconds:.0f} s")
        best = max(best, (found.ndcg, options), key=lambda pair: pair[0])
    return best[1]


def run(
    read: Callable[[Path, int], Dataset], folder: Path, family: str, trials: int, seeds: list[int]
) -> None:
    """Tune a family on a data set, measure it with each seed, and write the results."""
    options = tune(read(folder, 0), family, trials) if trials else GOWALLA
    rows = []
    for seed in seeds:
        data = read(folder, seed)
        found, seconds = measure(data, family, options, seed)
        rows.append(
            {
                "dataset": data.name,
                "family": family,
                "seed": seed,
                "recall": found.recall,
                "ndcg": found.ndcg,
                "seconds": seconds,
                "trials": trials,
                "options": options,
            }
        )
        console.print(rows[-1])
    write(rows)


def write(new: list[dict[str, Any]]) -> None:
    """Write rows, replacing those of the same data set and family."""
    path = RESULTS / "families.json"
    key = {(r["dataset"], r["family"]) for r in new}
    old = json.loads(path.read_text("utf-8")) if path.exists() else []
    rows = [r for r in old if (r["dataset"], r["family"]) not in key] + new
    rows.sort(key=lambda r: (r["dataset"], r["family"], r["seed"]))
    write_text(path, json.dumps(rows, indent=1) + "\n")
    write_text(RESULTS / "families.md", table(rows))


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown: means over seeds, ± half the range."""
    lines = [
        "Made by `python -m benchmarks.families`, with `--trials` as in the table. Means over "
        "seeds ± half the range; CPU seconds of training.",
        "",
    ]
    for data in dict.fromkeys(r["dataset"] for r in rows):
        lines += [
            f"### {data}",
            "",
            "| family | seeds | Recall@20 | NDCG@20 | s | trials | options chosen |",
            "|---|---|---|---|---|---|---|",
        ]
        mine = [r for r in rows if r["dataset"] == data]
        for name in dict.fromkeys(r["family"] for r in mine):
            group = [r for r in mine if r["family"] == name]

            def cell(key: str, form: str, group: list[dict[str, Any]] = group) -> str:
                values = [r[key] for r in group]
                half = (max(values) - min(values)) / 2
                return f"{np.mean(values):{form}}" + (f" ± {half:{form}}" if half else "")

            chosen = ", ".join(f"{k} {v}" for k, v in group[0]["options"].items()) or "defaults"
            lines.append(
                f"| {name} | {len(group)} | {cell('recall', '.4f')} | {cell('ndcg', '.4f')} "
                f"| {cell('seconds', '.0f')} | {group[0]['trials']} | {chosen} |"
            )
        lines.append("")
    return "\n".join(lines)


READERS = {"lastfm": lastfm, "mooccube": mooccube, "gowalla": lambda folder, _: gowalla(folder)}


def main() -> None:
    """Measure, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in READERS:
        parser.add_argument(f"--{name}", type=Path, help="its folder")
    parser.add_argument("--families", nargs="+", choices=FAMILIES, default=list(FAMILIES))
    parser.add_argument("--trials", type=int, default=12)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    arguments = parser.parse_args()
    for name, read in READERS.items():
        if (folder := getattr(arguments, name)) is None:
            continue
        for family in arguments.families:
            if name == "gowalla":
                run(read, folder, family, 0, arguments.seeds[:1])
            else:
                run(read, folder, family, arguments.trials, arguments.seeds)


if __name__ == "__main__":
    main()
