"""Quality of history-only models, before and after compression.

    python -m benchmarks.quality [--gowalla FOLDER] [--ml-100k] [--beauty FILE] [--seeds 3]

FOLDER holds train.txt and test.txt of Gowalla's standard split, as LightGCN's authors
publish it; FILE is Beauty, a line a user, items in time order, split leave-last-out.
MovieLens-100K is fetched. It writes ``benchmarks/results/quality.json`` and ``quality.md``:
means over seeds and their spread, on the full test set, all items ranked, training items
left out.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

import edgerec
from edgerec.atomic import write_text
from edgerec.data import Dataset
from edgerec.device_model import DeviceModel
from edgerec.quality import evaluate
from edgerec.readers import read_dataset

RESULTS = Path(__file__).parent / "results"

#: Published figures on Gowalla's split at d = 64: (Recall@20, NDCG@20).
PUBLISHED = {"LightGCN": (0.1830, 0.1554), "UltraGCN": (0.1862, 0.1580), "NGCF": (0.1570, 0.1327)}

#: Chains that are measured, by the name they have in the table.
CHAINS: dict[str, tuple[str, ...]] = {
    "int8": ("quantize:codec=int8",),
    "int4": ("quantize:codec=int4",),
    "int4, spared scores": ("quantize:codec=int4,range=scores",),
    "pq 32": ("pq:bytes=32",),
    "pq 16": ("pq:bytes=16,epochs=24",),
    "pq 8": ("pq:bytes=8,epochs=24",),
}

console = Console()


def datasets(arguments: argparse.Namespace) -> Iterator[tuple[Dataset, dict[str, Any]]]:
    """Each data set with the training options that differ from the defaults."""
    if arguments.gowalla:
        yield gowalla(arguments.gowalla), {"history_length": 1000}
    if arguments.ml_100k:
        yield one_of(None), {"history_length": 1000}
    if arguments.beauty:
        data = read_dataset(arguments.beauty, format="train.txt").split_last()
        yield named(data, "beauty"), {"history_length": 1000}


def gowalla(folder: str | Path) -> Dataset:
    """Gowalla's standard split."""
    data = read_dataset(Path(folder) / "train.txt", test=Path(folder) / "test.txt")
    return named(data, "gowalla")


def one_of(folder: str | None) -> Dataset:
    """Gowalla where its folder is given, else MovieLens-100K."""
    if folder is not None:
        return gowalla(folder)
    return named(edgerec.load("ml-100k").split_random(0.2), "ml-100k")


def named(data: Dataset, name: str) -> Dataset:
    """Return the data set under another name."""
    return Dataset(name, data.users, data.items, data.train, data.test)


def run(data: Dataset, seed: int, options: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Train, compress and evaluate with one seed; yield a row a model."""
    for tied in (True, False):
        start = time.perf_counter()
        model = edgerec.train(data, seed=seed, tied=tied, **options).to_device_model()
        seconds = time.perf_counter() - start
        before = evaluate(model, data)
        name = "uncompressed, one table" if tied else "uncompressed, two tables"
        yield row(data, seed, name, model, before, before, seconds)
        if not tied:
            continue
        for chain_name, chain in CHAINS.items():
            start = time.perf_counter()
            small = edgerec.compress(model, *chain, dataset=data, seed=seed)
            seconds = time.perf_counter() - start
            yield row(data, seed, chain_name, small, evaluate(small, data), before, seconds)


def row(
    data: Dataset, seed: int, name: str, model: DeviceModel, now: Any, before: Any, seconds: float
) -> dict[str, Any]:
    """One line of the table."""
    kept, overlap = now.kept(before)
    found = {
        "dataset": data.name,
        "seed": seed,
        "model": name,
        "bytes_per_item": model.table_bytes / len(model.items),
        "recall": now.recall,
        "ndcg": now.ndcg,
        "ndcg_kept": kept,
        "overlap": overlap,
        "long_tail": now.long_tail,
        "seconds": seconds,
    }
    console.print(found)
    return found


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown: means over seeds, ± half the range."""
    lines = [
        "Made by `python -m benchmarks.quality`. Mean over seeds ± half the range; full test "
        "set, all items ranked, history only.",
        "",
    ]
    for data in dict.fromkeys(r["dataset"] for r in rows):
        lines += [
            f"### {data}",
            "",
            "| model | seeds | bytes/item | Recall@20 | NDCG@20 | NDCG kept | overlap@20 "
            "| long tail | s |",
            "|---|---|---|---|---|---|---|---|---|",
        ]
        mine = [r for r in rows if r["dataset"] == data]
        for name in dict.fromkeys(r["model"] for r in mine):
            group = [r for r in mine if r["model"] == name]

            def cell(key: str, form: str, group: list[dict[str, Any]] = group) -> str:
                values = [r[key] for r in group]
                if len(values) == 1:
                    return f"{values[0]:{form}}"
                spread = (max(values) - min(values)) / 2
                return f"{np.mean(values):{form}} ± {spread:{form}}"

            lines.append(
                f"| {name} | {len(group)} | {group[0]['bytes_per_item']:.1f} "
                f"| {cell('recall', '.4f')} "
                f"| {cell('ndcg', '.4f')} | {cell('ndcg_kept', '.1%')} | {cell('overlap', '.3f')} "
                f"| {cell('long_tail', '.3f')} | {cell('seconds', '.0f')} |"
            )
        if data == "gowalla":
            lines += [
                f"| {name}, published (user rows) | | 256.0 | {r:.4f} | {n:.4f} | | | | |"
                for name, (r, n) in PUBLISHED.items()
            ]
        lines.append("")
    return "\n".join(lines)


def write(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Put a data set's rows in the place of its older ones; return all rows."""
    written = RESULTS / "quality.json"
    rows: list[dict[str, Any]] = json.loads(written.read_text("utf-8")) if written.exists() else []
    rows = [r for r in rows if r["dataset"] != found[0]["dataset"]] + found
    write_text(written, json.dumps(rows, indent=1) + "\n")
    write_text(RESULTS / "quality.md", table(rows))
    return rows


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gowalla", help="folder with train.txt and test.txt")
    parser.add_argument("--beauty", help="Beauty.txt")
    parser.add_argument("--ml-100k", action="store_true", help="MovieLens-100K, too")
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    for data, options in datasets(arguments):
        found: list[dict[str, Any]] = []
        for seed in range(arguments.seeds):
            for one in run(data, seed, options):
                found.append(one)
                # Written after each row, so that an interrupted run keeps what it has.
                rows = write(found)
        console.print(table(rows), markup=False)


if __name__ == "__main__":
    main()
