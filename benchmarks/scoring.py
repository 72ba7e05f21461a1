"""Speed, memory and size of every target and codec, next to peers, in one run.

    python -m benchmarks.scoring [--items 40000 1000000] [--targets onnx] [--codecs int8]

It measures with one thread, d = 64, random tables and 100 histories of 1 to 50 items, with each
measurement in a separate process. The results are ``benchmarks/results/scoring.json``,
``scoring.md`` and, for the docs, ``floor.md``. executorch needs a separate environment; run it
there with ``--targets executorch --peers --add``. For ten million items, the options are ``--items
10000000 --targets numpy onnx tflite --codecs int8 --peers "faiss SQ8" "faiss PQ16x4fs" --add``.
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

from benchmarks.kernels import KERNELS
from benchmarks.scoring_tables import pages_of
from edgerec.contracts.bundle_writer import write_bundle
from edgerec.contracts.host import Host
from edgerec.contracts.opening import load_model
from edgerec.device.bench import measure, peak_rss_bytes
from edgerec.device.figures import Figures
from edgerec.device.threads import thread_variables
from edgerec.exporting.export import export, reasons_against, signature_of
from edgerec.files.atomic import write_text
from edgerec.model.codecs import Codec, Fp32
from edgerec.model.device_model import DeviceModel, Head
from edgerec.model.items import Items
from edgerec.model.model_file import save_model
from edgerec.model.ops import Op
from edgerec.model.oracle import Oracle
from edgerec.model.table import Table
from edgerec_pq.runs import runs_for

RESULTS = Path(__file__).parent / "results"


CODECS = ("fp32", "fp16", "int8", "int4", "pq")


PEERS = (
    *("numpy fp32", "onnxruntime fp32", "faiss Flat", "faiss SQ8", "faiss SQ4"),
    *("faiss PQ16x4fs", "usearch i8", "litert full int8", *KERNELS),
)


WIDTH = 64


TOP = 20


#: Seconds after which a process is abandoned.
TIMEOUT = 300


#: The catalogue of a bundle so small that its peak memory is the runtime's own.
TINY = 1000


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
    """A codec with default options; pq has 16 codes and the runs that the compressor would use."""
    codec = Host.installed().codecs[name]()
    if name == "pq":
        return dataclasses.replace(codec, subspaces=16, runs=runs_for(items))
    return codec


def in_a_process(*arguments: str) -> dict[str, Any]:
    """Run one of our modules; return the JSON on the last line that it prints."""
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
        return {"failed": f"did not finish within {TIMEOUT} s"}
    if done.returncode:
        return {"failed": (done.stderr.strip().splitlines() or [str(done.returncode)])[-1]}
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def exported(
    saved: Path, codec: str, target: str, path: Path, rescore: bool = True
) -> dict[str, Any]:
    """Quantize and export in a separate process; return its seconds and peak memory."""
    options = [] if rescore else ["--raw"]
    given = ("--export", str(saved), codec, target, str(path), *options)
    return in_a_process("benchmarks.scoring", *given)


def export_here(saved: str, codec: str, target: str, path: str, raw: bool) -> dict[str, Any]:
    """Export; a raw artefact returns what an integer scan proposes, so it is not proven."""
    start = time.perf_counter()
    model = load_model(saved)
    if model.tables["items"].codec.name != codec:
        model = model.with_codec(codec_named(codec, len(model.items)))
    if raw:
        lowering = importlib.import_module(f"edgerec_{target}.lower")
        if target == "onnx":
            # Its scan proposes groups of rows, and only scoring again picks single rows from them.
            lowering.rescore = lambda graph, _, __, groups, *rest: (
                graph.add("Mul", graph.add("Cast", groups, to=1), graph.constant(0.0)),
                groups,
            )
        else:
            lowering.INEXACT = ()
        # What is proposed is not a list of rows, from which seen ones could be left out.
        model, writer = model.replace(drop_seen=False), Host.installed().target(target)
        signature = signature_of(model, writer, TOP)
        payload = writer.lower(model, signature)
        write_bundle(path, model, target, signature, payload, {})
    else:
        export(model, target, path, top_k=TOP)
    return {
        "export s": time.perf_counter() - start,
        "export MB": peak_rss_bytes() / 1e6,
    }


def proposing(target: str) -> tuple[str, ...]:
    """The codecs whose scan in a target only proposes rows, which are then scored again."""
    if target == "numpy":
        return ()
    lowering = importlib.import_module(f"edgerec_{target}.lower")
    found: tuple[str, ...] = getattr(lowering, "INEXACT", ("int8", "int4"))
    return found


def ours(model: DeviceModel, targets: list[str], codecs: list[str]) -> Iterator[dict[str, Any]]:
    """Yield one row per target, runtime and codec."""
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
            # Training codebooks is slow, so it is done once; other codecs encode on each export.
            save_model(coded if codec == "pq" else model, saved)
            save_model(tiny, small)
            data = coded.table_bytes + coded.items.ids.nbytes
            for target in targets:
                row: dict[str, Any] = {"name": target, "codec": codec}
                if reasons := reasons_against(Host.installed().target(target), coded, None):
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
                for runtime in Host.installed().target(target).runtimes():
                    figures = measure(path, histories, runtime=runtime, trust=True)
                    own = measure(tiny_path, runtime=runtime, trust=True).peak_rss_bytes
                    found = row | figures_of(figures, own, data)
                    shared = zip(figures.lists, exact, strict=True)
                    found["overlap"] = float(np.mean([len({*a} & {*b}) / TOP for a, b in shared]))
                    if inexact:
                        without = measure(raw, histories, runtime=runtime, trust=True).p50_ms
                        found["re-scoring"] = max(0.0, 1 - without / figures.p50_ms)
                    yield found


def figures_of(figures: Figures, own: int, data: int) -> dict[str, Any]:
    """The columns that follow from what ``edgerec bench`` measured."""
    size = figures.bundle_bytes
    return {
        "runtime": f"{figures.runtime} {figures.runtime_version}",
        "file bytes": size,
        "file ÷ data": size / data,
        "load": figures.open_ms,
        "first": figures.first_ms,
        "p50": figures.p50_ms,
        "p95": figures.p95_ms,
        "from memory": figures.from_memory_ms,
        "floor": figures.floor_ms,
        "÷ floor": figures.from_memory_ms / figures.floor_ms,
        "RSS MB": figures.peak_rss_bytes / 1e6,
        "own MB": own / 1e6,
        "RSS ÷ file": (figures.peak_rss_bytes - own) / size,
    }


def top_lists(model: DeviceModel, rows: list[Any]) -> list[list[str]]:
    """The uncompressed model's best unseen items for each history."""
    oracle, lists = Oracle(model), []
    for history in rows:
        padded, weights = oracle.pad(history)
        logits = oracle.logits(oracle.encode(padded[None], weights[None]))[0]
        logits[history] = -np.inf
        best = np.argpartition(-logits, TOP)[:TOP]
        lists.append([model.items.ids[int(r)] for r in best])
    return lists


def peers(model: DeviceModel, names: list[str]) -> Iterator[dict[str, Any]]:
    """Yield one row per peer: its scan and top 20."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "table.npy"
        np.save(path, model.tables["items"].decode())
        for name in names:
            library, _, codec = name.partition(" ")
            row = {"name": library, "codec": codec}
            yield row | in_a_process("benchmarks.peers", name, str(path))


def key(row: dict[str, Any]) -> tuple[Any, ...]:
    """What a row measures, regardless of the runtime."""
    return row["items"], row["name"], row["codec"]


def main() -> None:
    """Measure, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, nargs="+", default=[40_000, 1_000_000])
    parser.add_argument("--targets", nargs="+", default=sorted(Host.installed().targets))
    parser.add_argument("--codecs", nargs="+", default=list(CODECS), choices=CODECS)
    parser.add_argument("--peers", nargs="*", default=list(PEERS), choices=PEERS)
    parser.add_argument(
        "--add", action="store_true", help="add to the existing rows, as from another environment"
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
