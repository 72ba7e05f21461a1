"""Compare peers and edgerec on the same trained model, in one run.

    python -m benchmarks.quality_peers [--gowalla FOLDER] [--users 2000]

Each library takes the fp32 model (gather past rows, add them up, score all items), quantizes it in
its own way, and ranks all items for the same random test users in its own runtime, with one thread.
The data set is MovieLens-100K by default. ``bytes/item`` counts the whole file, or all tensors if
there is no file, without the catalogue, which peers do not store. The results are
``benchmarks/results/quality_peers.json`` and ``quality_peers.md``. It needs the ``bench`` extra.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

import edgerec
from benchmarks.quality import OPTIONS, one_of
from benchmarks.quality_libraries import PEERS
from edgerec.contracts.bundle import Bundle
from edgerec.data.dataset import Dataset
from edgerec.data.quality import Quality, evaluate, evaluation_users, quality_of
from edgerec.device.scorer import Scorer
from edgerec.files.atomic import write_text
from edgerec.model.device_model import DeviceModel
from edgerec.model.oracle import Oracle

RESULTS = Path(__file__).parent / "results"

console = Console()


#: Our chains, each with the target that runs it. tflite is not among them, because its two runtimes
#: and TensorFlow conflict in one process.
OURS = {
    "int8": ("quantize:codec=int8", "onnx"),
    "int4": ("quantize:codec=int4", "onnx"),
    "pq, 32 bytes": ("pq:bytes=32", "numpy"),
    "pq, 16 bytes": ("pq:bytes=16", "numpy"),
    "pq, 8 bytes": ("pq:bytes=8", "numpy"),
}


def our_peers(model: DeviceModel, data: Dataset, folder: Path) -> Iterator[tuple[str, int, Scorer]]:
    """Yield the name, size and scorer of each of our bundles of the same model."""
    for name, (chain, target) in OURS.items():
        small = edgerec.compress(model, chain, dataset=data)
        bundle = edgerec.export(small, target, folder / "ours.edgerec", top_k=20)
        catalogue = sum(
            size for part, size in sections(bundle).items() if part.startswith("items/")
        )
        yield f"edgerec, {name}, {target}", bundle.nbytes - catalogue, Scorer.open(bundle.path)


def sections(bundle: Bundle) -> dict[str, int]:
    """The size in bytes of each section of a bundle."""
    from edgerec.files.container import Container

    container = Container(bundle.path)
    return {name: container.nbytes(name) for name in container.names}


def measure(data: Dataset, model: DeviceModel, count: int) -> Iterator[dict[str, Any]]:
    """Yield one row per peer, then one per chain of ours."""
    users = evaluation_users(data, count)
    before = evaluate(model, data, users=users)
    n = len(model.items)

    def row(name: str, nbytes: int, lists: NDArray[np.int32], times: list[float]) -> dict[str, Any]:
        quality: Quality = quality_of(lists, data, users)
        kept, shared = quality.kept(before)
        found = {
            "dataset": data.name,
            "name": name,
            "bytes_per_item": nbytes / n,
            "ndcg": quality.ndcg,
            "ndcg_kept": kept,
            "overlap": shared,
            "p50_ms": float(np.median(times)) * 1e3,
        }
        console.print(found)
        return found

    histories, oracle = [data.train.of(int(user)) for user in users], Oracle(model)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for make in PEERS:
            for peer in make(model, folder):
                lists, times = np.empty((len(users), 20), np.int32), []
                for place, seen in enumerate(histories):
                    history, weights = oracle.pad(seen)
                    start = time.perf_counter()
                    scores = peer.scores(history, weights)
                    scores[seen] = -np.inf
                    top = np.argpartition(-scores, 20)[:20]
                    lists[place] = top[np.argsort(-scores[top])]
                    times.append(time.perf_counter() - start)
                yield row(peer.name, peer.nbytes, lists, times)
        for name, nbytes, scorer in our_peers(model, data, folder):
            lists, times = np.full((len(users), 20), -1, np.int32), []
            for place, seen in enumerate(histories):
                ids = [data.items.ids[int(i)] for i in seen]
                start = time.perf_counter()
                found = scorer.recommend(ids, 20)
                times.append(time.perf_counter() - start)
                lists[place] = [data.items.rows[r.id] for r in found]
            yield row(name, nbytes, lists, times)


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown: one table per data set."""
    text = [
        "Made by `python -m benchmarks.quality_peers [--gowalla FOLDER]`. One seed, random test "
        "users, one thread.",
        "",
    ]
    for data in dict.fromkeys(r["dataset"] for r in rows):
        text += [
            f"### {data}",
            "",
            "| | bytes/item | NDCG@20 | NDCG kept | overlap@20 | p50 ms |",
            "|---|---|---|---|---|---|",
        ]
        text += [
            f"| {r['name']} | {r['bytes_per_item']:.1f} | {r['ndcg']:.4f} | {r['ndcg_kept']:.1%} "
            f"| {r['overlap']:.3f} | {r['p50_ms']:.2f} |"
            for r in rows
            if r["dataset"] == data
        ]
        text.append("")
    return "\n".join(text)


def main() -> None:
    """Measure, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gowalla", help="folder with train.txt and test.txt")
    parser.add_argument("--users", type=int, default=2000)
    arguments = parser.parse_args()
    # The libraries warn about the versions of each other's packages.
    warnings.simplefilter("ignore")
    written = RESULTS / "quality_peers.json"
    rows: list[dict[str, Any]] = json.loads(written.read_text("utf-8")) if written.exists() else []
    data = one_of(arguments.gowalla)
    model = edgerec.train(data, seed=0, **OPTIONS[data.name]).to_device_model()
    rows = [r for r in rows if r["dataset"] != data.name]
    # Results are written after each row, so that an interrupted run keeps them.
    for row in measure(data, model, arguments.users):
        rows.append(row)
        write_text(written, json.dumps(rows, indent=1) + "\n")
        write_text(RESULTS / "quality_peers.md", table(rows))
    console.print(table(rows), markup=False)


if __name__ == "__main__":
    main()
