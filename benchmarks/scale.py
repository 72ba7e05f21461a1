"""How training, ranking, compression and reading grow with the data, on one machine.

    python -m benchmarks.scale [--millions 1 3 10] [--gowalla FOLDER [--recbole PYTHON]]
        [--rank 100000] [--items 1000000 10000000] [--read 30]

Graphs are generated: power laws with clusters (``benchmarks/scale_graphs.py``), with a tenth as
many items as interactions. Each measurement runs in a process of its own, on all cores unless
stated otherwise. The results are ``benchmarks/results/scale.md`` and the curve ``docs/scale.png``.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console

from edgerec.files.atomic import atomic_write, write_text

RESULTS = Path(__file__).parent / "results"
PICTURE = Path(__file__).parent.parent / "docs" / "scale.png"

#: LightGCN's published NDCG@20 on Gowalla.
PUBLISHED = 0.1554

#: The bundles that are made of random rows.
BUNDLES = (("int8", "numpy"), ("int8", "onnx"), ("pq", "numpy"), ("pq", "onnx"))

console = Console()


def measured(*command: str) -> dict[str, Any]:
    """Run a command; return the JSON on the last line that it prints."""
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    console.print(found)
    return found


def stage(*arguments: object) -> dict[str, Any]:
    """Run ``benchmarks.scale_stages``."""
    return measured(sys.executable, "-m", "benchmarks.scale_stages", *map(str, arguments))


def trainings(rows: list[dict[str, Any]]) -> list[str]:
    """The table of training, and the slope of its time."""
    lines = [
        "### Training to the end, eight epochs",
        "",
        "| interactions | users | items | s per epoch | s in all | s to 98 % of the final NDCG@20 "
        "| NDCG@20 | peak memory beyond the data, in fp32 tables | peak GB |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for r in rows:
        tables = (r["peak_bytes"] - r["data_bytes"]) / (r["items"] * 64 * 4)
        lines.append(
            f"| {r['interactions']:,} | {r['users']:,} | {r['items']:,} "
            f"| {r['seconds'][-1] / len(r['seconds']):.1f} | {r['seconds'][-1]:.0f} "
            f"| {r['seconds_to_98']:.0f} | {r['ndcg'][-1]:.4f} | {tables:.1f} "
            f"| {r['peak_bytes'] / 1e9:.2f} |"
        )
    if len(rows) > 1:
        first, last = rows[0], rows[-1]
        slope = math.log(last["seconds"][-1] / first["seconds"][-1]) / math.log(
            last["interactions"] / first["interactions"]
        )
        lines += ["", f"Slope of the time over interactions, on log axes: {slope:.2f}."]
    return lines


def peers(found: dict[str, Any]) -> list[str]:
    """The table of seconds per epoch on Gowalla."""
    own = found["ours"]
    reached = next(((e, s) for e, s, ndcg in own["runs"] if ndcg >= PUBLISHED), None)
    lines = [
        "### Gowalla, CPU seconds on one thread",
        "",
        "| | s per epoch | times ours |",
        "|---|---|---|",
    ]
    names = {
        "ours": "edgerec, its default model",
        "pyg": "PyG's LightGCN, 3 layers, batches of 8,192",
        "recbole": "RecBole's LightGCN, its own options",
    }
    lines += [
        f"| {names[name]} | {one['seconds_per_epoch']:.1f} "
        f"| {one['seconds_per_epoch'] / own['seconds_per_epoch']:.1f} |"
        for name, one in found.items()
    ]
    runs = "; ".join(f"{e} epochs, {s:.0f} s: {ndcg:.4f}" for e, s, ndcg in own["runs"])
    lines += ["", f"Whole trainings of edgerec, with their NDCG@20 on the test set: {runs}."]
    if reached:
        lines.append(
            f"LightGCN's published {PUBLISHED} is reached by {reached[0]} epochs, in "
            f"{reached[1]:.0f} s."
        )
    return lines


def ranking(r: dict[str, Any]) -> list[str]:
    """What ranking takes next to the bare product."""
    return [
        "### Exact ranking",
        "",
        f"{r['users']:,} users, {r['items']:,} items: the bare matrix product takes "
        f"{r['product']:.1f} s, ranking {r['rank']:.1f} s ({r['rank'] / r['product']:.2f} times as "
        f"long), and all of `evaluate` {r['evaluate']:.1f} s.",
    ]


def bundles(rows: list[dict[str, Any]]) -> list[str]:
    """Seconds and peak memory of each stage, from random rows to a proven bundle."""
    lines = [
        "### Random rows of d = 64 to proven bundles",
        "",
        "| items | codec | target | encode s | export and prove s | bundle MB | peak GB |",
        "|---|---|---|---|---|---|---|",
    ]
    for r in rows:
        stages = r["stages"]
        peak = max(memory for _, memory in stages.values())
        lines.append(
            f"| {r['items']:,} | {r['codec']} | {r['target']} | {stages['encode'][0]:.1f} "
            f"| {stages['export and prove'][0]:.1f} | {r['bytes'] / 1e6:.0f} | {peak / 1e9:.2f} |"
        )
    return lines


def reading(r: dict[str, Any]) -> list[str]:
    """What reading takes."""
    return [
        "### Reading",
        "",
        f"{r['interactions']:,} interactions of Parquet, read, filtered to a 5-core and split: "
        f"{r['seconds']:.0f} s, peak {r['peak_bytes'] / 1e9:.2f} GB.",
    ]


#: The sections by the key of their results.
SECTIONS: dict[str, Callable[[Any], list[str]]] = {
    "train": trainings,
    "peers": peers,
    "rank": ranking,
    "bundles": bundles,
    "read": reading,
}


def report(found: dict[str, Any]) -> str:
    """Markdown of all results."""
    lines = ["Made by `python -m benchmarks.scale`."]
    for key, section in SECTIONS.items():
        if key in found:
            lines += ["", *section(found[key])]
    return "\n".join(lines) + "\n"


def draw(rows: list[dict[str, Any]]) -> None:
    """The curve of training time over interactions."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    edges = [r["interactions"] for r in rows]
    for label, key in (("to the end", -1), ("first epoch", 0)):
        axes.loglog(edges, [r["seconds"][key] for r in rows], "o-", label=label)
    linear = [rows[0]["seconds"][-1] * e / edges[0] for e in edges]
    axes.loglog(edges, linear, "--", color="#8a8f98", label="proportional")
    axes.set_xlabel("interactions")
    axes.set_ylabel("seconds of training")
    axes.set_title("Training time grows with the interactions")
    axes.legend()
    with atomic_write(PICTURE) as file:
        figure.savefig(file, format="png")


def main() -> None:
    """Measure what is asked for, and write all results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--millions", nargs="*", default=[], help="millions of interactions")
    parser.add_argument("--gowalla", help="folder with train.txt and test.txt")
    parser.add_argument("--recbole", help="the Python of an environment with RecBole")
    parser.add_argument("--rank", type=int, help="users and items to rank")
    parser.add_argument("--items", type=int, nargs="*", default=[], help="random rows to bundle")
    parser.add_argument("--read", type=float, help="millions of interactions to read")
    arguments = parser.parse_args()
    written = RESULTS / "scale.json"
    found = json.loads(written.read_text("utf-8")) if written.exists() else {}

    def keep(key: str, value: Any) -> None:
        # Written after each measurement, so that an interrupted run keeps it.
        found[key] = value
        write_text(written, json.dumps(found, indent=1) + "\n")
        write_text(RESULTS / "scale.md", report(found))

    def add(key: str, new: dict[str, Any], *names: str) -> None:
        same = [r for r in found.get(key, []) if any(r[n] != new[n] for n in names)]
        keep(key, sorted([*same, new], key=lambda r: tuple(r[n] for n in names)))

    for millions in arguments.millions:
        add("train", stage("train", millions), "items")
    if "train" in found:
        draw(found["train"])
    if arguments.gowalla:
        module = "benchmarks.scale_peers"
        runs = {
            name: measured(sys.executable, "-m", module, name, arguments.gowalla)
            for name in ("ours", "pyg")
        }
        if arguments.recbole:
            script = str(Path(__file__).parent / "scale_peers.py")
            runs["recbole"] = measured(
                arguments.recbole, "-W", "ignore", script, "recbole", arguments.gowalla
            )
        keep("peers", runs)
    if arguments.rank:
        keep("rank", stage("rank", arguments.rank, arguments.rank))
    for items in arguments.items:
        for codec, target in BUNDLES:
            with tempfile.TemporaryDirectory() as folder:
                new = stage("compress", items, codec, target, Path(folder) / "bundle.edgerec")
            add("bundles", new, "items", "codec", "target")
    if arguments.read:
        keep("read", stage("read", arguments.read))
    console.print(report(found), markup=False)


if __name__ == "__main__":
    main()
