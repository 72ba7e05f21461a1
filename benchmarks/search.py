"""Compare what the search finds on Gowalla with ten chains made by hand, at three budgets.

    python -m benchmarks.search FOLDER [--trials 12] [--work FOLDER]

FOLDER contains train.txt and test.txt of Gowalla's standard split. A budget is a number of bytes
of file per item, in addition to what every bundle has (ids and popular items). At each budget, the
search's bundle is compared with the best of the chains below that fits: on all test users, by the
95 % interval of the ratio of their NDCG@20, paired over users. The work folder keeps what is done,
so that the command resumes after an interruption. The result is ``benchmarks/results/search.md``.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np

import edgerec
from benchmarks.quality import OPTIONS, RESULTS, console, gowalla
from edgerec.building.measured import quality_of_file
from edgerec.building.search.plan import plan
from edgerec.building.search.sizes import fixed_parts
from edgerec.contracts.device import Budget, Device
from edgerec.contracts.opening import load_model
from edgerec.data.dataset import Dataset
from edgerec.data.interval import of_ratio
from edgerec.device.machine import describe_machine
from edgerec.errors import CompressError
from edgerec.exporting.export import export
from edgerec.files.atomic import write_text
from edgerec.model.device_model import DeviceModel
from edgerec.model.model_file import save_model

#: Chains that a practitioner would try.
BY_HAND: tuple[tuple[str, ...], ...] = (
    ("quantize:codec=int4",),
    ("distill:width=24", "quantize:codec=int8"),
    ("distill:width=32", "quantize:codec=int4"),
    ("distill:width=16", "quantize:codec=int4"),
    ("lowrank:rank=24", "quantize:codec=int4"),
    ("pq:bytes=32",),
    ("pq:bytes=16",),
    ("pq:bytes=12",),
    ("pq:bytes=8",),
    ("distill:width=24", "pq:bytes=8"),
)

#: Bytes of file per item in addition to what every bundle has.
BUDGETS = (12, 20, 40)


def main() -> None:
    """Train, make the chains by hand, search, and write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder")
    parser.add_argument("--trials", type=int, default=12)
    parser.add_argument("--work", type=Path, default=Path("search-work"))
    arguments = parser.parse_args()
    work: Path = arguments.work
    work.mkdir(parents=True, exist_ok=True)
    data = gowalla(arguments.folder).split_recent(0.1, part="valid")
    if not (work / "gowalla.model").exists():
        trained = edgerec.train(data, seed=0, **OPTIONS["gowalla"])
        save_model(trained.to_device_model(), work / "gowalla.model")
    model = load_model(work / "gowalla.model")
    fixed, n = sum(fixed_parts(model).values()), len(model.items)
    made = [_by_hand(model, data, chain, work) for chain in BY_HAND]
    found = [_searched(model, data, fixed + n * more, more, arguments) for more in BUDGETS]
    lines = [
        f"Made by `python -m benchmarks.search gowalla`: {n:,} items, {len(data.train):,} "
        f"interactions, on {describe_machine()['cpu']}. NDCG@20 is that of all test users, *ratio* "
        "that of the search to the best chain by hand, with its 95 % interval.",
        "",
        "| budget per item above ids | search | file bytes per item | NDCG@20 | best by hand "
        "| file bytes per item | NDCG@20 | ratio | minutes |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for more, one in zip(BUDGETS, found, strict=True):
        fitting = [m for m in made if m["bytes"] and m["bytes"] <= fixed + n * more]
        best = max(fitting, key=lambda m: m["ndcg"])
        ratio = of_ratio(np.array(one["ndcgs"]), np.array(best["ndcgs"]))
        cells = [
            *(str(more), one["chain"], f"{one['bytes'] / n:.1f}", f"{one['ndcg']:.4f}"),
            *(best["chain"], f"{best['bytes'] / n:.1f}", f"{best['ndcg']:.4f}"),
            str(ratio),
            f"{one['seconds'] / 60:.0f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", "| by hand | file bytes per item | NDCG@20 |", "|---|---|---|"]
    for m in made:
        size = f"{m['bytes'] / n:.1f}" if m["bytes"] else f"refused: {m['why']}"
        lines.append(f"| {m['chain']} | {size} | {m['ndcg']:.4f} |")
    write_text(RESULTS / "search.md", "\n".join(lines) + "\n")
    console.print("\n".join(lines), markup=False)


def _by_hand(
    model: DeviceModel, data: Dataset, chain: tuple[str, ...], work: Path
) -> dict[str, Any]:
    """Compress, write a bundle for numpy, and measure it on all test users."""
    label = " → ".join(chain)
    kept = work / f"{label.replace(' → ', '+').replace(':', '-')}.json"
    if not kept.exists():
        path = work / "by-hand.edgerec"
        start = time.perf_counter()
        try:
            small = edgerec.compress(model, *chain, dataset=data.on_valid())
        except CompressError as error:
            found: dict[str, Any] = {"bytes": 0, "ndcg": 0.0, "ndcgs": [], "why": str(error)}
        else:
            size = export(small, "numpy", path).nbytes
            quality = quality_of_file(path, data)
            found = {"bytes": size, "ndcg": quality.ndcg, "ndcgs": quality.ndcgs.tolist()}
        found |= {"chain": label, "seconds": time.perf_counter() - start}
        write_text(kept, json.dumps(found))
        console.print(label, found["bytes"], found["ndcg"], f"{found['seconds']:.0f} s")
    done: dict[str, Any] = json.loads(kept.read_text("utf-8"))
    return done


def _searched(
    model: DeviceModel, data: Dataset, limit: int, more: int, arguments: argparse.Namespace
) -> dict[str, Any]:
    """Search under a budget, and measure the bundle on all test users."""
    folder = arguments.work / f"search-{more}"
    kept = folder / "found.json"
    if not kept.exists():
        start = time.perf_counter()
        device = Device(f"gowalla-{more}", Budget(max_bundle_bytes=limit), ("numpy",))
        result = plan(
            *(model, data, device),
            folder=folder,
            trials=arguments.trials,
            users=None,
            progress=lambda done, total, what: console.print(f"{more}: {done} of {total}, {what}"),
        )
        seconds = time.perf_counter() - start
        built = result.built[0]
        quality = quality_of_file(built.path, data)
        found = {"chain": result.chosen.label, "bytes": built.figures.bundle_bytes}
        found |= {"ndcg": quality.ndcg, "ndcgs": quality.ndcgs.tolist(), "seconds": seconds}
        write_text(kept, json.dumps(found))
    done: dict[str, Any] = json.loads(kept.read_text("utf-8"))
    return done


if __name__ == "__main__":
    main()
