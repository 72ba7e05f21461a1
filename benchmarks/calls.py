"""What the call of an artefact costs: long histories, and batches next to one by one.

    python -m benchmarks.calls [--items 40000 1000000] [--targets numpy onnx tflite]

Random int8 tables of d = 64, one thread. A history of h items is read in the graph: repeats are
merged, weights computed, and seen items left out of K + h rows. The results are
``benchmarks/results/calls.md``: milliseconds for histories of 10, 200 and 1,000 items, and how many
times as long 64 calls of ``recommend`` take as one of ``recommend_batch``.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from benchmarks.scoring import in_a_process, make_model
from edgerec.contracts.opening import load_model
from edgerec.device.scorer import Scorer
from edgerec.exporting.export import export
from edgerec.files.atomic import write_text
from edgerec.model.codecs import Int8
from edgerec.model.model_file import save_model

RESULTS = Path(__file__).parent / "results"

#: Lengths of histories, the number of histories of each, and how often each is run.
LENGTHS, COUNT, ROUNDS = (10, 200, 1000), 20, 5

#: The number of histories in a batch, and their length.
BATCH, BATCH_LENGTH = 64, 30

console = Console(stderr=True)


def measured(path: str) -> dict[str, Any]:
    """Measure one bundle in this process."""
    rng = np.random.default_rng(0)
    with Scorer.open(path, trust=True) as scorer:
        ids = scorer.bundle.items.ids

        def histories(count: int, length: int) -> list[list[str]]:
            rows = (rng.choice(len(ids), length, replace=False) for _ in range(count))
            return [[ids[int(row)] for row in one] for one in rows]

        found: dict[str, Any] = {}
        for length in LENGTHS:
            quickest = [
                fastest(lambda one=one: scorer.recommend(one, 20))  # type: ignore[misc]  # bound here
                for one in histories(COUNT, length)
            ]
            found[str(length)] = float(np.median(quickest)) * 1e3
        batch = histories(BATCH, BATCH_LENGTH)
        one_by_one = fastest(lambda: [scorer.recommend(one, 20) for one in batch])
        found["batch"] = one_by_one / fastest(lambda: scorer.recommend_batch(batch, 20))
    return found


def fastest(run: Callable[[], object]) -> float:
    """Seconds of the quickest of several runs."""
    times = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times)


def table(rows: list[dict[str, Any]]) -> str:
    """The results as a Markdown table."""
    lengths = " | ".join(f"{length:,} past items" for length in LENGTHS)
    lines = [
        "Made by `python -m benchmarks.calls`. Milliseconds, int8, d = 64, one thread; the last",
        f"column is 64 calls of `recommend` as a multiple of one `recommend_batch`, with "
        f"{BATCH_LENGTH} past items each.",
        "",
        f"| items | target | {lengths} | one by one ÷ batch |",
        f"|--:|---|{'--:|' * (len(LENGTHS) + 1)}",
    ]
    for row in rows:
        times = " | ".join(f"{row[str(length)]:.2f}" for length in LENGTHS)
        lines.append(f"| {row['items']:,} | {row['target']} | {times} | {row['batch']:.1f} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, nargs="+", default=[40_000, 1_000_000])
    parser.add_argument("--targets", nargs="+", default=["numpy", "onnx", "tflite"])
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    parser.add_argument("--export", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        print(json.dumps(measured(given.measure)))
        return
    if given.export:
        saved, target, path = given.export
        export(load_model(saved), target, path, top_k=50)
        print("{}")
        return
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        saved, path = Path(folder) / "x.model", Path(folder) / "x.edgerec"
        for items in given.items:
            model = make_model(items).replace(history_length=LENGTHS[-1])
            save_model(model.with_codec(Int8()), saved)
            for target in given.targets:
                options = ("--export", str(saved), target, str(path))
                done = in_a_process("benchmarks.calls", *options)
                done = done or in_a_process("benchmarks.calls", "--measure", str(path))
                if "failed" in done:
                    sys.exit(f"{target}: {done['failed']}")
                rows.append({"items": items, "target": target} | done)
                console.print(rows[-1])
    write_text(RESULTS / "calls.md", table(rows))


if __name__ == "__main__":
    main()
