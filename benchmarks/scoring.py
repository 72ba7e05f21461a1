"""Speed, memory and size of every target and codec, beside peers, in one run.

    python -m benchmarks.scoring [--items 40000 1000000] [--targets onnx] [--codecs int8]

One thread, d = 64, random tables, 100 histories of 1 to 50 items; everything is measured in a
process of its own. It writes ``benchmarks/results/scoring.json``, ``scoring.md`` and, for the docs,
``floor.md``. executorch lives in an environment of its own: there, ``--targets executorch --peers
--add``. Ten million items: ``--items 10000000 --targets numpy onnx tflite --codecs int8 pq --peers
"faiss SQ8" "faiss PQ16x4fs" --add``.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from edgerec.atomic import write_text
from edgerec.bench import measure, peak_rss_bytes
from edgerec.bundle import write_bundle
from edgerec.codecs import Codec, Fp32
from edgerec.device_model import DeviceModel, Head, Table
from edgerec.host import host
from edgerec.items import Items
from edgerec.ops import Op
from edgerec.reference import Reference
from edgerec.store import load_model, save_model
from edgerec.target import Signature, export, reasons_against
from edgerec.threads import thread_variables
from edgerec_pq.runs import runs_for

RESULTS = Path(__file__).parent / "results"
CODECS = ("fp32", "fp16", "int8", "int4", "pq")
PEERS = (
    *("numpy fp32", "onnxruntime fp32", "faiss Flat", "faiss SQ8", "faiss SQ4"),
    *("faiss PQ16x4fs", "usearch i8", "litert full int8"),
)
#: Codecs of a byte a number or less, peers' too.
SMALL = ("int8", "int4", "pq", "SQ8", "SQ4", "PQ16x4fs", "i8", "full int8")
WIDTH = 64
TOP = 20
#: Seconds after which to give up on a process.
TIMEOUT = 300
#: A bundle of so few items shows what a runtime takes for itself.
TINY = 1000

LEGEND = """Made by `python -m benchmarks.scoring`; one thread, d = 64, random tables, milliseconds.

- *file ÷ data*: bundle bytes over the table's and the id map's.
- *load*: opening the file in its runtime, already imported. *first*: the first recommendation.
- *p50*, *p95*: a recommendation, ids to ids, one after another; peers: scan and top 20 alone.
- *floor*: reading the table's bytes once; *from memory*: a recommendation; both p50, by turns,
  with caches driven out before each. *÷ floor*: their ratio.
- *re-scoring*: how much of p50 goes without it; "0 %" is within the noise.
- *RSS ÷ file*: peak memory above the runtime's own, over the file. The runtime's own is the
  peak with the same model of 1,000 items.
- *overlap*: of the top 20 with that of the uncompressed table. Random tables have no structure
  that a codec could use: see quality.md for trained ones.
- *export*: seconds, from a saved float32 model to a proven bundle (without the learning of pq's
  codebooks), and peak memory in MB.
- Rows at the end of a table, after the peers, are of a later run (`--add`): executorch's in its
  own environment, `--targets executorch --peers --add`; those of ten million items,
  `--items 10000000 --targets numpy onnx tflite --codecs int8 pq --peers "faiss SQ8"
  "faiss PQ16x4fs" --add`.
"""

#: Name and format of each column.
COLUMNS = {
    "file bytes": ",d",
    "file ÷ data": ".3f",
    "load": ".0f",
    "first": ".1f",
    "p50": ".2f",
    "p95": ".2f",
    "from memory": ".2f",
    "floor": ".2f",
    "÷ floor": ".2f",
    "re-scoring": ".0%",
    "RSS MB": ".0f",
    "own MB": ".0f",
    "RSS ÷ file": ".2f",
    "overlap": ".3f",
    "export s": ".1f",
    "export MB": ".0f",
}

console = Console(stderr=True)


def make_model(items: int) -> DeviceModel:
    """A LightGCN-like model with a random table."""
    rng = np.random.default_rng(0)
    table = Table.encode(rng.standard_normal((items, WIDTH), np.float32), Fp32())
    ops = (
        Op("Gather", ("items", "history"), "rows"),
        Op("Mul", ("rows", "weights"), "weighted"),
        Op("ReduceSum", ("weighted",), "user"),
    )
    popular = np.arange(min(items, 50), dtype=np.int32)
    ids = Items.of(f"{n:07d}" for n in range(items))
    return DeviceModel(ids, {"items": table}, ops, Head("items"), 50, popular=popular)


def codec_named(name: str, items: int) -> Codec:
    """A codec with its options' defaults; pq with as many runs of lengths as the compressor has."""
    codec = host().codecs[name]()
    if name == "pq":
        return dataclasses.replace(codec, runs=runs_for(items))
    return codec


def in_a_process(*arguments: str) -> dict[str, Any]:
    """Run a module of ours; return the JSON that it prints last."""
    try:
        done = subprocess.run(
            [sys.executable, "-m", *arguments],
            capture_output=True,
            text=True,
            check=False,
            env=os.environ | thread_variables(1),
            timeout=TIMEOUT,
        )
    except subprocess.TimeoutExpired:
        return {"failed": f"not done within {TIMEOUT} s"}
    if done.returncode:
        return {"failed": (done.stderr.strip().splitlines() or [str(done.returncode)])[-1]}
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def exported(
    saved: Path, codec: str, target: str, path: Path, rescore: bool = True
) -> dict[str, Any]:
    """Quantize and export in a process of its own: its seconds and its peak memory."""
    options = [] if rescore else ["--raw"]
    given = ("--export", str(saved), codec, target, str(path), *options)
    return in_a_process("benchmarks.scoring", *given)


def export_here(saved: str, codec: str, target: str, path: str, raw: bool) -> dict[str, Any]:
    """Export; a raw artefact, which returns what an integer scan proposes, proves wrong."""
    start = time.perf_counter()
    model = load_model(saved)
    if model.tables["items"].codec.name != codec:
        model = model.with_codec(codec_named(codec, len(model.items)))
    if raw:
        lowering = importlib.import_module(f"edgerec_{target}.lower")
        if target == "onnx":
            # Of what its scan proposes it takes no single rows but by scoring them again.
            lowering.rescore = lambda graph, _, __, groups, *rest: (
                graph.add("Cast", groups, to=1),
                groups,
            )
        else:
            lowering.INEXACT = ()
        signature = Signature(len(model.items), model.history_length, TOP)
        payload = host().target(target).lower(model, signature)
        write_bundle(path, model, target, signature, payload, {})
    else:
        export(model, target, path, top_k=TOP)
    return {
        "export s": time.perf_counter() - start,
        "export MB": peak_rss_bytes() / 1e6,
    }


def proposing(target: str) -> tuple[str, ...]:
    """Codecs of which a target's scan only proposes, and scores again what it has proposed."""
    if target == "numpy":
        return ()
    lowering = importlib.import_module(f"edgerec_{target}.lower")
    found: tuple[str, ...] = getattr(lowering, "INEXACT", ("int8", "int4"))
    return found


def ours(model: DeviceModel, targets: list[str], codecs: list[str]) -> Iterator[dict[str, Any]]:
    """Yield a row a target, runtime and codec."""
    rng = np.random.default_rng(1)
    rows = [rng.choice(len(model.items), rng.integers(1, 51), replace=False) for _ in range(100)]
    histories = [[model.items.ids[int(r)] for r in history] for history in rows]
    exact = top_lists(model, rows)
    tiny = make_model(TINY)
    with tempfile.TemporaryDirectory() as folder:
        for codec in codecs:
            chosen = codec_named(codec, len(model.items))
            coded = model if codec == "fp32" else model.with_codec(chosen)
            saved, small = Path(folder) / "model", Path(folder) / "tiny-model"
            # Learning codebooks takes its time, once; the others are encoded on each export.
            save_model(coded if codec == "pq" else model, saved)
            save_model(tiny, small)
            data = coded.table_bytes + coded.items.ids.nbytes
            for target in targets:
                row: dict[str, Any] = {"name": target, "codec": codec}
                if reasons := reasons_against(host().target(target), coded, None):
                    yield row | {"refused": "; ".join(reasons)}
                    continue
                path, tiny_path = Path(folder) / "x.edgerec", Path(folder) / "tiny.edgerec"
                row |= exported(saved, codec, target, path)
                if "failed" in row:
                    yield row
                    continue
                raw = Path(folder) / "raw.edgerec"
                inexact = codec in proposing(target)
                others = [exported(small, codec, target, tiny_path)]
                if inexact:
                    others.append(exported(saved, codec, target, raw, rescore=False))
                if failed := [other["failed"] for other in others if "failed" in other]:
                    yield row | {"failed": failed[0]}
                    continue
                for runtime in host().target(target).runtimes():
                    figures = measure(path, histories, runtime=runtime)
                    own = measure(tiny_path, runtime=runtime)["peak_rss_bytes"]
                    found = row | figures_of(figures, own, data)
                    shared = zip(figures["lists"], exact, strict=True)
                    found["overlap"] = float(np.mean([len({*a} & {*b}) / TOP for a, b in shared]))
                    if inexact:
                        without = measure(raw, histories, runtime=runtime)["p50_ms"]
                        found["re-scoring"] = max(0.0, 1 - without / figures["p50_ms"])
                    yield found


def figures_of(figures: dict[str, Any], own: int, data: int) -> dict[str, Any]:
    """The columns of what ``edgerec bench`` measured."""
    size = figures["bundle_bytes"]
    return {
        "runtime": f"{figures['runtime']} {figures['runtime_version']}",
        "file bytes": size,
        "file ÷ data": size / data,
        "load": figures["open_ms"],
        "first": figures["first_ms"],
        "p50": figures["p50_ms"],
        "p95": figures["p95_ms"],
        "from memory": figures["from_memory_ms"],
        "floor": figures["floor_ms"],
        "÷ floor": figures["from_memory_ms"] / figures["floor_ms"],
        "RSS MB": figures["peak_rss_bytes"] / 1e6,
        "own MB": own / 1e6,
        "RSS ÷ file": (figures["peak_rss_bytes"] - own) / size,
    }


def top_lists(model: DeviceModel, rows: list[Any]) -> list[list[str]]:
    """The uncompressed model's best unseen items of each history."""
    oracle, lists = Reference(model), []
    for history in rows:
        padded, weights = oracle.pad(history)
        logits = oracle.logits(oracle.encode(padded[None], weights[None]))[0]
        logits[history] = -np.inf
        best = np.argpartition(-logits, TOP)[:TOP]
        lists.append([model.items.ids[int(r)] for r in best])
    return lists


def peers(model: DeviceModel, names: list[str]) -> Iterator[dict[str, Any]]:
    """Yield the scan and top 20 of libraries that people use instead."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "table.npy"
        np.save(path, model.tables["items"].decode())
        for name in names:
            library, _, codec = name.partition(" ")
            row = {"name": library, "codec": codec}
            yield row | in_a_process("benchmarks.peers", name, str(path))


def pages_of(rows: list[dict[str, Any]]) -> dict[str, str]:
    """Markdown: all there is, a table for each size, and what of it the docs quote."""
    sizes = dict.fromkeys(r["items"] for r in rows)
    tables = [
        f"### {n:,} items\n\n{table_of([r for r in rows if r['items'] == n], COLUMNS)}"
        for n in sizes
    ]
    scans = [r for r in rows if r["items"] == 1_000_000 and "p50" in r and r["codec"] in SMALL]
    quoted = {name: COLUMNS[name] for name in ("p50", "÷ floor", "RSS ÷ file", "overlap")}
    return {"scoring.md": "\n".join([LEGEND, *tables]), "floor.md": table_of(scans, quoted)}


def table_of(rows: list[dict[str, Any]], columns: dict[str, str]) -> str:
    """Markdown, a row a target, codec and runtime."""
    lines = [
        "| | codec | runtime | " + " | ".join(columns) + " |",
        "|---|---|---|" + "--:|" * len(columns),
    ]
    for r in rows:
        why = r.get("refused") or r.get("failed")
        cells = [f"{r[c]:{form}}" if c in r else "" for c, form in columns.items()]
        if why:
            cells[0] = f"{'refused' if 'refused' in r else 'failed'}: {why}".replace("|", "/")
        lines.append(
            f"| {r['name']} | {r['codec']} | {r.get('runtime', '')} | {' | '.join(cells)} |"
        )
    return "\n".join(lines) + "\n"


def key(row: dict[str, Any]) -> tuple[Any, ...]:
    """What a row is of, whatever the runtime."""
    return row["items"], row["name"], row["codec"]


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, nargs="+", default=[40_000, 1_000_000])
    parser.add_argument("--targets", nargs="+", default=sorted(host().targets))
    parser.add_argument("--codecs", nargs="+", default=list(CODECS), choices=CODECS)
    parser.add_argument("--peers", nargs="*", default=list(PEERS), choices=PEERS)
    parser.add_argument(
        "--add", action="store_true", help="to the rows that are there: of another environment"
    )
    parser.add_argument("--export", nargs=4, help=argparse.SUPPRESS)
    parser.add_argument("--raw", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.export:
        print(json.dumps(export_here(*given.export, given.raw)))
        return
    written = RESULTS / "scoring.json"
    rows: list[dict[str, Any]] = json.loads(written.read_text("utf-8")) if given.add else []
    for items in given.items:
        model = make_model(items)
        fresh: list[dict[str, Any]] = []
        found = [ours(model, given.targets, given.codecs), peers(model, given.peers)]
        for row in (row for part in found for row in part):
            new = {"items": items, **row}
            rows = [r for r in rows if r in fresh or key(r) != key(new)] + [new]
            fresh.append(new)
            console.print(new)
            write_text(written, json.dumps(rows, indent=1) + "\n")
            for name, page in pages_of(rows).items():
                write_text(RESULTS / name, page)


if __name__ == "__main__":
    main()
