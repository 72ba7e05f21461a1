"""One measurement of ``benchmarks.scale``, in this process; it prints one line of JSON.

Run it as ``python -m benchmarks.scale_stages`` followed by ``train MILLIONS``, ``rank USERS
ITEMS``, ``compress ITEMS CODEC TARGET FILE`` or ``read MILLIONS``.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

import edgerec
from benchmarks.scale_graphs import clustered_graph
from benchmarks.scoring import codec_named, make_model
from edgerec.data.dataset import Dataset
from edgerec.data.interactions import Interactions
from edgerec.data.ranking import rank_rows
from edgerec.data.readers import read_dataset
from edgerec.device.bench import peak_rss_bytes
from edgerec.exporting.export import export
from edgerec.training.stopping import EarlyStopping

EPOCHS, BLOCK = 8, 512


def train(millions: str) -> dict[str, Any]:
    """Train the default model; seconds per epoch, NDCG@20 after each, and peak memory."""
    data = clustered_graph(int(float(millions) * 1e6))
    before, start = peak_rss_bytes(), time.perf_counter()
    seconds, judged, idle = [], [], [0.0]
    judge = EarlyStopping.judge

    def timed(self: EarlyStopping) -> float:
        begun = time.perf_counter()
        found = judge(self)
        idle[0] += time.perf_counter() - begun
        return found

    EarlyStopping.judge = timed  # type: ignore[method-assign]  # what evaluation takes is left out

    def after(epoch: int, ndcg: float) -> None:
        seconds.append(time.perf_counter() - start - idle[0])
        judged.append(ndcg)
        print(f"epoch {epoch}: {seconds[-1]:.0f} s, NDCG@20 {ndcg:.4f}", file=sys.stderr)

    edgerec.train(data, epochs=EPOCHS, patience=EPOCHS, judged=after)
    enough = next(s for s, ndcg in zip(seconds, judged, strict=True) if ndcg >= 0.98 * judged[-1])
    return {
        "interactions": len(data.train),
        "users": len(data.users),
        "items": len(data.items),
        "seconds": seconds,
        "ndcg": judged,
        "seconds_to_98": enough,
        "data_bytes": before,
        "peak_bytes": peak_rss_bytes(),
    }


def rank(users: str, items: str) -> dict[str, Any]:
    """Rank all items for many users, next to the bare product of the same matrices."""
    model, n_users = make_model(int(items)), int(users)
    rng = np.random.default_rng(0)
    history = rng.integers(0, int(items), (n_users, 20)).astype(np.int32)
    parts = [
        Interactions(np.arange(n_users + 1, dtype=np.int64) * len(part.T), part.ravel())
        for part in (history, history[:, :1])
    ]
    data = Dataset(
        "random", [str(u) for u in range(n_users)], model.items, parts[0], None, parts[1]
    )
    vectors = rng.standard_normal((n_users, 64), np.float32)
    rows = model.tables["items"].decode().T
    start = time.perf_counter()
    for at in range(0, n_users, BLOCK):
        vectors[at : at + BLOCK] @ rows
    product = time.perf_counter() - start
    start = time.perf_counter()
    rank_rows(model, data, np.arange(n_users))
    ranked = time.perf_counter() - start
    start = time.perf_counter()
    edgerec.evaluate(model, data)
    return {
        "users": n_users,
        "items": int(items),
        "product": product,
        "rank": ranked,
        "evaluate": time.perf_counter() - start,
    }


def compress(items: str, codec: str, target: str, path: str) -> dict[str, Any]:
    """Encode a random table and export it, proven; seconds and peak memory of each stage."""
    start = time.perf_counter()
    model = make_model(int(items))
    stages = {"make": (time.perf_counter() - start, peak_rss_bytes())}
    start = time.perf_counter()
    encoded = model.replace(
        tables={
            name: type(table).encode(table.decode(), codec_named(codec, int(items)))
            for name, table in model.tables.items()
        }
    )
    del model
    stages["encode"] = (time.perf_counter() - start, peak_rss_bytes())
    start = time.perf_counter()
    export(encoded, target, path)
    stages["export and prove"] = (time.perf_counter() - start, peak_rss_bytes())
    size = Path(path).stat().st_size
    return {"items": int(items), "codec": codec, "target": target, "bytes": size, "stages": stages}


def read(millions: str, path: str | None = None) -> dict[str, Any]:
    """Write random interactions as Parquet; read, filter and split them in a process of its own."""
    if path is not None:
        start = time.perf_counter()
        data = read_dataset(path).k_core(5).split_recent(0.2)
        known = len(data.train) + (0 if data.test is None else len(data.test))
        seconds = time.perf_counter() - start
        return {"interactions": known, "seconds": seconds, "peak_bytes": peak_rss_bytes()}
    count, rng = int(float(millions) * 1e6), np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "interactions.parquet")
        columns = {
            "user_id": rng.integers(0, max(2, count // 30), count).astype(np.int32),
            "item_id": (count // 100 * rng.random(count) ** 2).astype(np.int32),
            "timestamp": rng.integers(0, 10**9, count),
        }
        pl.DataFrame(columns).write_parquet(path)
        command = [sys.executable, "-m", "benchmarks.scale_stages", "read", millions, path]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


if __name__ == "__main__":
    stages = {"train": train, "rank": rank, "compress": compress, "read": read}
    print(json.dumps(stages[sys.argv[1]](*sys.argv[2:])))
