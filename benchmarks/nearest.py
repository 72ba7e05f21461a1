"""Reading a few clusters instead of all rows: what it saves and misses, beside libraries.

    python -m benchmarks.nearest --gowalla FOLDER [--models FOLDER] [--only gowalla generated]
        [--part ours libraries]

It trains the default model on Gowalla (``train.txt`` and ``test.txt`` in FOLDER) and on the million
items of ``benchmarks.scale``, clusters the rows, and measures int8 bundles that read more or fewer
clusters. Overlap is that of the top 20 with a scan of all rows in the same codec, for 200 users.
Times are the median from ids to ids, with one thread, the lower one of two processes. Models, once
trained, are kept in the second folder. The results are ``benchmarks/results/nearest.json`` and
``nearest.md``.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

import edgerec
from benchmarks.nearest_peers import TOP, overlap, peers
from benchmarks.scale_graphs import clustered_graph
from edgerec import Dataset, DeviceModel
from edgerec.data.matching import known_history, rows_in
from edgerec.data.quality import evaluation_users
from edgerec.data.readers import read_dataset
from edgerec.device.bench import measure
from edgerec.files.atomic import write_text
from edgerec.model.blocks import Blocks
from edgerec.model.codecs import F32
from edgerec.model.history import pad_histories
from edgerec.model.oracle import Oracle

RESULTS = Path(__file__).parent / "results"

#: The shares of clusters that are read, and the targets.
READ, TARGETS = (0.02, 0.035, 0.05, 0.07, 0.1), ("numpy", "onnx", "tflite")

#: The users whose lists are compared, and those that NDCG is measured on.
USERS, JUDGED = 200, 5000

console = Console(stderr=True)


def data_of(name: str, gowalla: Path) -> Dataset:
    """The interactions to train on and, of Gowalla, the test."""
    if name == "generated":
        return clustered_graph(10_000_000)
    return read_dataset(gowalla / "train.txt", test=gowalla / "test.txt", format="train.txt")


def trained(name: str, data: Dataset, folder: Path) -> DeviceModel:
    """The default model, read from the folder if it has been trained before."""
    path = folder / f"{name}.edgerec"
    if not path.exists():
        epochs = {"epochs": 4, "patience": 4} if name == "generated" else {}
        edgerec.save_model(edgerec.train(data, **epochs).to_device_model(), path)
    return edgerec.load_model(path)


def users_of(model: DeviceModel, data: Dataset) -> tuple[list[list[str]], F32]:
    """The histories of some users, and their vectors."""
    chosen = np.random.default_rng(0).choice(len(data.users), USERS, replace=False)
    to_model = rows_in(model.items, data)
    known = [known_history(to_model, data.histories, int(user)) for user in chosen]
    rows, given = ([part[side] for part in known] for side in (0, 1))
    vectors = Oracle(model).encode(*pad_histories(rows, model, given))
    ids = model.items.ids
    return [[ids[int(row)] for row in history[::-1]] for history in rows[:100]], vectors


def top_of(oracle: Oracle, users: F32) -> NDArray[np.int64]:
    """The rows of the best of all that are read, int64[users, TOP]."""
    return np.concatenate(
        [np.argpartition(-oracle.logits(user[None]), TOP)[:, :TOP] for user in users]
    )


def reading(model: DeviceModel, share: float | None) -> DeviceModel:
    """The model, reading a share of its clusters or, if it is none, all rows."""
    blocks = model.head.blocks
    if blocks is None:
        raise ValueError("the model has no clusters")
    read = Blocks(blocks.height, max(2, round((share or 0) * blocks.count(len(model.items)))))
    return model.with_blocks(read if share else None)


def p50(model: DeviceModel, target: str, histories: list[list[str]]) -> tuple[float, int]:
    """Milliseconds per recommendation, and the bytes of the file."""
    with tempfile.TemporaryDirectory() as folder:
        bundle = edgerec.export(model, target, Path(folder) / "x.edgerec", top_k=TOP)
        found = [measure(bundle.path, histories, trust=True).p50_ms for _ in range(2)]
        return min(found), bundle.nbytes


def ours(name: str, data: Dataset, folder: Path) -> Iterator[dict[str, Any]]:
    """One row for all rows, and one per share of clusters."""
    path = folder / f"{name}-clusters.edgerec"
    if not path.exists():
        chain = ("cluster", "quantize:codec=int8")
        edgerec.save_model(edgerec.compress(trained(name, data, folder), *chain), path)
    model = edgerec.load_model(path)
    histories, users = users_of(model, data)
    console.print(model)
    exact = top_of(Oracle(reading(model, None)), users)
    for share in (None, *READ):
        part = reading(model, share)
        row: dict[str, Any] = {"data": name, "items": len(model.items), "read": share or 1.0}
        if share:
            row["overlap"] = overlap(top_of(Oracle(part), users), exact)
        if data.test is not None:
            judged = evaluation_users(data, JUDGED)
            row["ndcg"] = edgerec.evaluate(part, data, users=judged).ndcg
        for target in TARGETS:
            row[target], row[f"{target} bytes"] = p50(part, target, histories)
        yield row


def libraries(name: str, data: Dataset, folder: Path) -> Iterator[dict[str, Any]]:
    """One row per library and setting, on the same rows and users in float."""
    model = trained(name, data, folder)
    _, users = users_of(model, data)
    oracle = Oracle(model)
    for row in peers(oracle.candidates, users, top_of(oracle, users)):
        yield {"data": name, "items": len(model.items), **row}


def page(rows: list[dict[str, Any]]) -> str:
    """The results as Markdown: our curve and the libraries, per data set."""
    parts = []
    for name in dict.fromkeys(row["data"] for row in rows):
        mine = [row for row in rows if row["data"] == name and "read" in row]
        whole = next(row for row in mine if row["read"] == 1)
        lines = [
            f"**{name}**, {whole['items']:,} items, int8, clusters of 64:",
            "",
            "| rows read | overlap | NDCG@20 kept | "
            + " | ".join(f"{one}, ms | ×" for one in TARGETS)
            + " |",
            "|--:|--:|--:|" + "--:|" * (2 * len(TARGETS)),
        ]
        for row in mine:
            kept = f"{row['ndcg'] / whole['ndcg']:.1%}" if "ndcg" in row else "–"
            overlap = f"{row['overlap']:.4f}" if "overlap" in row else "1"
            times = (f"{row[t]:.2f} | {whole[t] / row[t]:.1f}" for t in TARGETS)
            lines.append(f"| {row['read']:.1%} | {overlap} | {kept} | {' | '.join(times)} |")
        others = [row for row in rows if row["data"] == name and "library" in row]
        if others:
            lines += ["", "| library | setting | overlap | bytes per item | ms |"]
            lines.append("|---|---|--:|--:|--:|")
        for row in others:
            lines.append(
                f"| {row['library']} | {row['setting']} | {row['overlap']:.4f} | "
                f"{row['bytes'] / row['items']:.1f} | {row['ms']:.2f} |"
            )
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"


def main() -> None:
    """Measure, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gowalla", type=Path, required=True)
    parser.add_argument("--models", type=Path, default=Path("nearest-models"))
    names = ("gowalla", "generated")
    parser.add_argument("--only", nargs="+", choices=names, default=names)
    parts = {"ours": ours, "libraries": libraries}
    parser.add_argument("--part", nargs="+", choices=parts, default=[*parts])
    given = parser.parse_args()
    given.models.mkdir(parents=True, exist_ok=True)
    path = RESULTS / "nearest.json"
    rows = json.loads(path.read_text("utf-8")) if path.exists() else []
    for name in given.only:
        data = data_of(name, given.gowalla)
        for part in given.part:
            fresh = []
            for row in parts[part](name, data, given.models):
                console.print(row)
                fresh.append({"part": part, **row})
            rows = [row for row in rows if (row["data"], row["part"]) != (name, part)] + fresh
            write_text(path, json.dumps(rows, indent=1) + "\n")
            write_text(RESULTS / "nearest.md", page(rows))


if __name__ == "__main__":
    main()
