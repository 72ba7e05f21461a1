"""Speed, memory and size of every target and codec, beside peers, in one run.

    python -m benchmarks.scoring [--items 40000 1000000]

One thread, d = 64, random tables, histories of 1 to 50 items. Each bundle is measured by
``edgerec bench`` in a fresh process; peers (numpy fp32, and faiss where it is installed)
are measured the same way on the scan alone. ``of floor`` is the time to read the table's
bytes once, measured in the same run, as a share of p50. It writes
``benchmarks/results/scoring.json`` and ``scoring.md``.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

import edgerec
from edgerec.atomic import write_text
from edgerec.bench import measure
from edgerec.codecs import Codec, Fp16, Fp32, Int4, Int8
from edgerec.device_model import DeviceModel, Head, Table
from edgerec.host import host
from edgerec.items import Items
from edgerec.ops import Op
from edgerec.reference import Reference, pad_history
from edgerec.target import reasons_against

RESULTS = Path(__file__).parent / "results"
CODECS: tuple[Codec, ...] = (Fp32(), Fp16(), Int8(), Int4())
WIDTH = 64

console = Console()


def make_model(items: int) -> DeviceModel:
    """A LightGCN-like model with a random table."""
    rng = np.random.default_rng(0)
    table = Table.encode(rng.normal(size=(items, WIDTH)).astype(np.float32), Fp32())
    ops = (
        Op("Gather", ("items", "history"), "rows"),
        Op("Mul", ("rows", "weights"), "weighted"),
        Op("ReduceSum", ("weighted",), "user"),
    )
    popular = np.arange(50, dtype=np.int32)
    ids = Items.of(f"{n:07d}" for n in range(items))
    return DeviceModel(ids, {"items": table}, ops, Head("items"), 50, popular=popular)


def read_seconds(nbytes: int) -> float:
    """Least time to read that many bytes once with one thread."""
    block = np.ones(max(nbytes // 8, 1), np.int64)
    times = []
    for _ in range(7):
        start = time.perf_counter()
        block.sum()
        times.append(time.perf_counter() - start)
    return min(times)


def ours(model: DeviceModel) -> Iterator[dict[str, Any]]:
    """Yield a row a target, runtime and codec."""
    rng = np.random.default_rng(1)
    rows = [rng.choice(len(model.items), rng.integers(1, 50), replace=False) for _ in range(100)]
    histories = [[model.items.ids[int(r)] for r in history] for history in rows]
    exact = top_lists(model, rows)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.edgerec"
        for codec in CODECS:
            coded = model.with_codec(codec)
            for name, target in host().targets.items():
                if reasons_against(target(), coded, None):
                    continue
                start = time.perf_counter()
                bundle = edgerec.export(coded, name, path, top_k=20)
                seconds = time.perf_counter() - start
                for runtime in target().runtimes():
                    figures = measure(path, histories, runtime=runtime)
                    lists = figures.pop("lists")
                    shared = [len(set(a) & set(b)) / 20 for a, b in zip(lists, exact, strict=True)]
                    yield figures | {
                        "codec": codec.name,
                        "table_bytes": coded.table_bytes,
                        "file_ratio": bundle.nbytes / (coded.table_bytes + id_bytes(model)),
                        "overlap": float(np.mean(shared)),
                        "export_s": seconds,
                    }


def top_lists(model: DeviceModel, rows: list[Any]) -> list[list[str]]:
    """The uncompressed model's 20 best unseen items of each history."""
    oracle, lists = Reference(model), []
    for history in rows:
        padded, weights = pad_history(history, model.history_length, model.normalization)
        logits = oracle.logits(oracle.encode(padded[None], weights[None]))[0]
        logits[history] = -np.inf
        lists.append([model.items.ids[int(r)] for r in np.argsort(-logits)[:20]])
    return lists


def id_bytes(model: DeviceModel) -> int:
    """Bytes of the id map."""
    return model.items.ids.nbytes


def peers(model: DeviceModel) -> Iterator[dict[str, Any]]:
    """Yield the scan and top 20 of libraries that people use instead."""
    table = model.tables["items"].decode()
    user = np.random.default_rng(2).normal(size=(1, WIDTH)).astype(np.float32)

    def numpy_fp32() -> None:
        scores = table @ user[0]
        np.argpartition(-scores, 20)[:20]

    yield peer("numpy", "fp32", table.nbytes, numpy_fp32)
    if importlib.util.find_spec("faiss") is None:
        return
    import faiss

    faiss.omp_set_num_threads(1)
    inner = faiss.METRIC_INNER_PRODUCT
    for codec, key, nbytes in (
        ("fp32", "Flat", 4 * WIDTH),
        ("int8", "SQ8", WIDTH),
        ("int4", "SQ4", WIDTH // 2),
        ("pq", "PQ32x4fs", 16),
    ):
        index = faiss.index_factory(WIDTH, key, inner)
        index.train(table[:100_000])
        index.add(table)
        yield peer(
            f"faiss {key}", codec, nbytes * len(table), lambda index=index: index.search(user, 20)
        )


def peer(name: str, codec: str, nbytes: int, scan: Callable[[], object]) -> dict[str, Any]:
    """Time a scan."""
    times = []
    for _ in range(30):
        start = time.perf_counter()
        scan()
        times.append((time.perf_counter() - start) * 1e3)
    p50, p95 = np.percentile(times[5:], [50, 95])
    return {"target": name, "codec": codec, "table_bytes": nbytes, "p50_ms": p50, "p95_ms": p95}


def table_of(rows: list[dict[str, Any]]) -> str:
    """Markdown, a table for each size."""
    columns = {
        "bundle_bytes": ",d",
        "file_ratio": ".3f",
        "open_ms": ".0f",
        "first_ms": ".1f",
        "p50_ms": ".2f",
        "p95_ms": ".2f",
        "of_floor": ".0%",
        "rss_over_file": ".2f",
        "overlap": ".3f",
        "export_s": ".1f",
    }
    lines = ["Made by `python -m benchmarks.scoring`; one thread, d = 64.", ""]
    for items in dict.fromkeys(r["items"] for r in rows):
        lines += [
            f"### {items:,} items",
            "",
            "| target | runtime | codec | " + " | ".join(columns) + " |",
            "|" + "---|" * (len(columns) + 3),
        ]
        for r in (r for r in rows if r["items"] == items):
            cells = [f"{r[c]:{form}}" if c in r else "" for c, form in columns.items()]
            lines.append(
                f"| {r['target']} | {r.get('runtime', '')} | {r['codec']} | "
                + " | ".join(cells)
                + " |"
            )
        lines.append("")
    return "\n".join(lines)


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, nargs="+", default=[40_000, 1_000_000])
    rows: list[dict[str, Any]] = []
    for items in parser.parse_args().items:
        model = make_model(items)
        for found in (*ours(model), *peers(model)):
            found["items"] = items
            found["of_floor"] = read_seconds(found["table_bytes"]) * 1e3 / found["p50_ms"]
            if "peak_rss_bytes" in found:
                above = found["peak_rss_bytes"] - found["baseline_rss_bytes"]
                found["rss_over_file"] = above / found["bundle_bytes"]
            rows.append(found)
            console.print(found)
        write_text(RESULTS / "scoring.json", json.dumps(rows, indent=1) + "\n")
        write_text(RESULTS / "scoring.md", table_of(rows))
    console.print(table_of(rows), markup=False)


if __name__ == "__main__":
    main()
