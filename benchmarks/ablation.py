"""Single compressors and chains, compared at about equal bytes per item.

    python -m benchmarks.ablation [--gowalla FOLDER] [--seed 0]

The data set is MovieLens-100K by default. There is one model and one seed, the full test set, and
users have only a history. The results are ``benchmarks/results/ablation.json`` and ``ablation.md``.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from typing import Any

import edgerec
from benchmarks.quality import OPTIONS, RESULTS, console, one_of, row
from edgerec.data.dataset import Dataset
from edgerec.data.quality import evaluate
from edgerec.errors import CompressError
from edgerec.files.atomic import write_text

#: Chains by the approximate bytes per item of their results; each group is one comparison.
GROUPS: dict[str, tuple[tuple[str, ...], ...]] = {
    "about 42 bytes": (
        ("quantize:codec=int4_group/group=16",),
        ("quantize:codec=int4,popular=0.125",),
        ("pq:bytes=42",),
        ("pq:bytes=42,popular=0.2",),
    ),
    "about 38 bytes": (
        ("quantize:codec=int4",),
        ("quantize:codec=int4,epochs=4",),
        ("pq:bytes=38",),
        ("pq:bytes=38,popular=0.2",),
        ("lowrank:rank=32", "quantize:codec=int8"),
        ("prune:structure=dimensions,share=0.5", "quantize:codec=int8"),
        ("prune:structure=dimensions,share=0.5,epochs=4", "quantize:codec=int8"),
        ("prune:structure=items,share=0.45", "quantize:codec=int8"),
        ("prune:structure=weights,share=0.9,importance=magnitude",),
        ("prune:structure=weights,share=0.9,importance=magnitude,epochs=4",),
        ("distill:width=32", "quantize:codec=int8"),
    ),
    "about 20 bytes": (
        ("pq:bytes=20",),
        ("pq:bytes=20,popular=0.05",),
        ("pq:bytes=20,popular=0.1",),
        ("lowrank:rank=32", "quantize:codec=int4"),
        ("prune:structure=dimensions,share=0.5", "quantize:codec=int4"),
        ("distill:width=32", "quantize:codec=int4"),
        ("distill:width=32", "quantize:codec=int4,epochs=4"),
        ("distill:width=32", "pq:bytes=20"),
    ),
    "about 11 bytes": (
        ("pq:bytes=11",),
        ("pq:bytes=11,popular=0.03",),
        ("lowrank:rank=16", "quantize:codec=int4"),
        ("distill:width=16", "quantize:codec=int4,epochs=4"),
        ("distill:width=32", "pq:bytes=11"),
    ),
}


def run(data: Dataset, seed: int) -> Iterator[dict[str, Any]]:
    """Train once, then yield one row per chain."""
    model = edgerec.train(data, seed=seed, **OPTIONS[data.name]).to_device_model()
    before = evaluate(model, data)
    yield row(data, seed, "uncompressed", model, before, before, 0.0) | {"group": ""}
    for group, chains in GROUPS.items():
        for chain in chains:
            name, start = " → ".join(chain), time.perf_counter()
            try:
                small = edgerec.compress(model, *chain, dataset=data, seed=seed)
            except CompressError as error:
                yield {"dataset": data.name, "model": name, "group": group, "error": str(error)}
                continue
            seconds = time.perf_counter() - start
            found = row(data, seed, name, small, evaluate(small, data), before, seconds)
            yield found | {"group": group}


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown: one table per data set and group, the best chain first."""
    lines = ["Made by `python -m benchmarks.ablation`. One seed; full test set; history only.", ""]
    for data in dict.fromkeys(r["dataset"] for r in rows):
        mine = [r for r in rows if r["dataset"] == data]
        for group in GROUPS:
            found = [r for r in mine if r["group"] == group]
            if not found:  # measured before the group was added
                continue
            lines += [
                f"### {data}, {group} per item",
                "",
                "| chain | bytes/item | file bytes/item | NDCG@20 | NDCG kept | overlap@20 "
                "| long tail | s |",
                "|---|---|---|---|---|---|---|---|",
            ]
            for r in sorted(found, key=lambda r: -r.get("ndcg", 0)):
                if "error" in r:
                    lines.append(f"| `{r['model']}` | {r['error']} | | | | | | |")
                    continue
                size = r.get("file_bytes_per_item")
                lines.append(
                    f"| `{r['model']}` | {r['bytes_per_item']:.1f} "
                    f"| {'–' if size is None else f'{size:.1f}'} | {r['ndcg']:.4f} "
                    f"| {r['ndcg_kept']:.1%} | {r['overlap']:.3f} | {r['long_tail']:.3f} "
                    f"| {r['seconds']:.0f} |"
                )
            lines.append("")
    return "\n".join(lines)


def main() -> None:
    """Measure, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gowalla", help="folder with train.txt and test.txt")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    data = one_of(arguments.gowalla)
    written = RESULTS / "ablation.json"
    rows: list[dict[str, Any]] = json.loads(written.read_text("utf-8")) if written.exists() else []
    rows = [r for r in rows if r["dataset"] != data.name]
    for found in run(data, arguments.seed):
        rows.append(found)
        write_text(written, json.dumps(rows, indent=1) + "\n")
        write_text(RESULTS / "ablation.md", table(rows))
    console.print(table(rows), markup=False)


if __name__ == "__main__":
    main()
