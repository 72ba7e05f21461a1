"""Quality of history-only models, before and after compression.

    python -m benchmarks.quality [--gowalla FOLDER] [--ml-100k] [--beauty FILE] [--seeds 0 1 2]

FOLDER contains train.txt and test.txt of Gowalla's standard split, as published by LightGCN's
authors. FILE is Beauty, with one line per user and items in order of time; it is split
leave-last-out. MovieLens-100K is fetched. The first part measures the model of d = 64 and its
compressed versions, the second part other models to compare it with, and the third one, where the
last item is the test, models that predict the next item; ``--part`` selects among them. The
results, ``benchmarks/results/quality.json`` and ``quality.md``, are means over seeds and their
spread. They cover the full test set and rank all items except those of the training history.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

import edgerec
from edgerec.data.dataset import Dataset
from edgerec.data.quality import Quality, evaluate
from edgerec.data.readers import read_dataset
from edgerec.errors import TargetError
from edgerec.exporting.export import export
from edgerec.files.atomic import write_text
from edgerec.model.device_model import DeviceModel

RESULTS = Path(__file__).parent / "results"

#: Published figures on Gowalla's split at d = 64: (Recall@20, NDCG@20).
PUBLISHED = {"LightGCN": (0.1830, 0.1554), "UltraGCN": (0.1862, 0.1580), "NGCF": (0.1570, 0.1327)}

#: The chains to measure, by their names in the table.
CHAINS: dict[str, tuple[str, ...]] = {
    "int8": ("quantize:codec=int8",),
    "int4": ("quantize:codec=int4",),
    "int4, spared scores": ("quantize:codec=int4,range=scores",),
    "pq 32": ("pq:bytes=32,epochs=12",),
    "pq 16": ("pq:bytes=16",),
    "pq 8": ("pq:bytes=8",),
    "distill 48, pq 16": ("distill:width=48", "pq:bytes=16"),
    "distill 24, pq 16": ("distill:width=24", "pq:bytes=16"),
    "distill 24, pq 8": ("distill:width=24", "pq:bytes=8"),
}

#: Training options by data set; ``recency`` is on where histories and test are in order of time.
OPTIONS: dict[str, dict[str, Any]] = {
    "gowalla": {"history_length": 1000, "recency": 1.2, "tilt": 0.04},
    "beauty": {"history_length": 1000, "recency": 1.2},
    "ml-100k": {"history_length": 1000},
}

#: Training options of the models to compare with: a wider one, one that ignores the order of
#: histories, and two with user rows. Of these two, one reads the order; the other ignores it, like
#: the published models. Its user rows are then the only difference between users, so it trains for
#: longer, as chosen on a validation split.
WIDE = "d = 256"
OTHERS: dict[str, dict[str, Any]] = {
    "no order": {"recency": 0.0},
    "LightGCN, user rows": {"model": "lightgcn", "layers": 2, "user_embedding": True},
    "LightGCN, user rows, no order": {
        "model": "lightgcn",
        "layers": 2,
        "user_embedding": True,
        "recency": 0.0,
        "epochs": 16,
    },
    WIDE: {"dim": 256},
}

#: The first model, trained with the wide one as its teacher.
TAUGHT = "taught by d = 256"

#: Training options of a model that predicts the next item, which the test of these data is, and the
#: chains to measure it with.
NEXT = "predicts the next"
NEXT_OPTIONS: dict[str, dict[str, Any]] = {
    "beauty": {
        "model": "historygcn:tied=false",
        "predict": "next",
        "recency": 1.5,
        "epochs": 5,
        "user_weight": 0.0,
    }
}
NEXT_CHAINS = {f"{NEXT}, {name}": CHAINS[name] for name in ("int8", "pq 32", "distill 24, pq 16")}

console = Console()


def datasets(arguments: argparse.Namespace) -> Iterator[Dataset]:
    """Yield the data sets that the command line selects."""
    if arguments.gowalla:
        yield gowalla(arguments.gowalla)
    if arguments.ml_100k:
        yield one_of(None)
    if arguments.beauty:
        data = read_dataset(arguments.beauty, format="train.txt").split_last()
        yield named(data, "beauty")


def gowalla(folder: str | Path) -> Dataset:
    """Read Gowalla's standard split."""
    data = read_dataset(Path(folder) / "train.txt", test=Path(folder) / "test.txt")
    return named(data, "gowalla")


def one_of(folder: str | None) -> Dataset:
    """Gowalla if its folder is given, otherwise MovieLens-100K."""
    if folder is not None:
        return gowalla(folder)
    return named(edgerec.load("ml-100k").split_random(0.2), "ml-100k")


def named(data: Dataset, name: str) -> Dataset:
    """Return the data set under another name."""
    return Dataset(name, data.users, data.items, data.train, data.valid, data.test)


def run(data: Dataset, seed: int, parts: list[str]) -> Iterator[dict[str, Any]]:
    """Train, compress and evaluate with one seed; yield one row per model."""
    options = OPTIONS[data.name]

    def trained(name: str, **changes: Any) -> tuple[DeviceModel, Quality, dict[str, Any]]:
        start = time.process_time()
        found = edgerec.train(data, seed=seed, **(options | changes))
        seconds = time.process_time() - start
        model, users = found.to_device_model(), found.user_vectors
        quality = evaluate(model, data, user_vectors=users)
        new = row(data, seed, name, model, quality, quality, seconds)
        if users is not None:
            new["bytes_per_item"] += users.nbytes / len(model.items)
        return model, quality, new

    def compressed(name: str, model: DeviceModel, before: Quality, *chain: str) -> dict[str, Any]:
        start = time.process_time()
        small = edgerec.compress(model, *chain, dataset=data, seed=seed)
        seconds = time.process_time() - start
        return row(data, seed, name, small, evaluate(small, data), before, seconds)

    def measured(
        name: str, chains: Mapping[str, tuple[str, ...]], **changes: Any
    ) -> Iterator[dict[str, Any]]:
        model, before, new = trained(name, **changes)
        yield new
        for chain_name, chain in chains.items():
            yield compressed(chain_name, model, before, *chain)

    if "compressed" in parts:
        yield from measured("uncompressed", CHAINS)
    if "next" in parts and data.name in NEXT_OPTIONS:
        yield from measured(NEXT, NEXT_CHAINS, **NEXT_OPTIONS[data.name])
    if "others" not in parts:
        return
    for name, changes in OTHERS.items():
        # If training ignores the order anyway, a row without it would repeat the first one.
        if changes.get("recency") == 0.0 and not options.get("recency"):
            continue
        wide, _, new = trained(name, **changes)
        yield new
        if name == WIDE:
            yield trained(TAUGHT, teacher=wide)[2]


def row(
    data: Dataset,
    seed: int,
    name: str,
    model: DeviceModel,
    now: Quality,
    before: Quality,
    seconds: float,
) -> dict[str, Any]:
    """One row of the table, which is also printed."""
    kept, overlap = now.kept(before)
    found = {
        "dataset": data.name,
        "seed": seed,
        "model": name,
        "bytes_per_item": model.table_bytes / len(model.items),
        "file_bytes_per_item": file_bytes_per_item(model),
        "recall": now.recall,
        "ndcg": now.ndcg,
        "ndcg_kept": kept,
        "kept_half": now.kept_interval(before).half,
        "overlap": overlap,
        "long_tail": now.long_tail,
        "seconds": seconds,
    }
    console.print(found)
    return found


def file_bytes_per_item(model: DeviceModel) -> float | None:
    """Bytes of a bundle for numpy, ids and popular items included; none if no bundle holds it."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            bundle = export(model, "numpy", Path(folder) / "x.edgerec")
        except TargetError:
            return None
        return bundle.nbytes / len(model.items)


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown: means over seeds, ± half the range."""
    lines = [
        "Made by `python -m benchmarks.quality`. Mean over seeds ± half the range; full test "
        "set, all items ranked; d = 64 and history only unless stated otherwise; bytes/item of "
        "the tables, and of the whole file with ids and popular items; CPU seconds. *Paired* is "
        "half of the 95 % interval of the NDCG kept, over the same test users; mean over seeds.",
        "",
    ]
    for data in dict.fromkeys(r["dataset"] for r in rows):
        lines += [
            f"### {data}",
            "",
            "| model | seeds | bytes/item | file bytes/item | Recall@20 | NDCG@20 | NDCG kept "
            "| paired | overlap@20 | long tail | s |",
            "|---|---|---|---|---|---|---|---|---|---|---|",
        ]
        mine = [r for r in rows if r["dataset"] == data]
        for name in dict.fromkeys(r["model"] for r in mine):
            group = [r for r in mine if r["model"] == name]

            def cell(key: str, form: str, group: list[dict[str, Any]] = group) -> str:
                values = [r[key] for r in group if r[key] is not None]
                if not values:
                    return "–"
                if len(values) == 1:
                    return f"{values[0]:{form}}"
                spread = (max(values) - min(values)) / 2
                return f"{np.mean(values):{form}} ± {spread:{form}}"

            size = group[0].get("file_bytes_per_item")
            halves = [r["kept_half"] for r in group if "kept_half" in r]
            paired = f"{np.mean(halves):.1%}" if halves else "–"
            lines.append(
                f"| {name} | {len(group)} | {group[0]['bytes_per_item']:.1f} "
                f"| {'–' if size is None else f'{size:.1f}'} "
                f"| {cell('recall', '.4f')} | {cell('ndcg', '.4f')} "
                f"| {cell('ndcg_kept', '.1%')} | {paired} | {cell('overlap', '.3f')} "
                f"| {cell('long_tail', '.3f')} | {cell('seconds', '.0f')} |"
            )
        if data == "gowalla":
            lines += [
                f"| {name}, published (user rows) | | | | {r:.4f} | {n:.4f} | | | | | |"
                for name, (r, n) in PUBLISHED.items()
            ]
        lines.append("")
    return "\n".join(lines)


def write(new: dict[str, Any]) -> list[dict[str, Any]]:
    """Write a row, replacing an older one; return all rows, sorted by data set."""

    def key(row: dict[str, Any]) -> tuple[Any, ...]:
        return row["dataset"], row["model"], row["seed"]

    written = RESULTS / "quality.json"
    rows: list[dict[str, Any]] = json.loads(written.read_text("utf-8")) if written.exists() else []
    rows = sorted([r for r in rows if key(r) != key(new)] + [new], key=_place)
    write_text(written, json.dumps(rows, indent=1) + "\n")
    write_text(RESULTS / "quality.md", table(rows))
    return rows


def _place(row: dict[str, Any]) -> tuple[Any, ...]:
    order = ("uncompressed", *CHAINS, NEXT, *NEXT_CHAINS, *OTHERS, TAUGHT)
    return row["dataset"], order.index(row["model"]), row["seed"]


def main() -> None:
    """Measure, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gowalla", help="folder with train.txt and test.txt")
    parser.add_argument("--beauty", help="the file Beauty.txt")
    parser.add_argument("--ml-100k", action="store_true", help="include MovieLens-100K")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parts = ["compressed", "others", "next"]
    parser.add_argument("--part", choices=parts, nargs="+", default=parts)
    arguments = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for data in datasets(arguments):
        for seed in arguments.seeds:
            # Results are written after each row, so that an interrupted run keeps them.
            for one in run(data, seed, arguments.part):
                rows = write(one)
    console.print(table(rows), markup=False)


if __name__ == "__main__":
    main()
