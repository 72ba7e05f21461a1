"""Train on Gowalla next to peers, in this process; prints one line of JSON.

    python -m benchmarks.scale_peers ours FOLDER
    python -m benchmarks.scale_peers pyg FOLDER
    PYTHON_OF_RECBOLE benchmarks/scale_peers.py recbole FOLDER

``ours`` trains the default model to the end and judges each epoch on the test set. A peer is timed
for a few steps of its usual batches and loss, from which the seconds of an epoch follow. RecBole
has an environment of its own, so nothing but its packages is imported for it.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

#: Steps of a peer that are timed, after one that is not.
STEPS = 3


def ours(folder: str) -> dict[str, Any]:
    """Seconds of each epoch, without judging it, and NDCG@20 on all of the test set after it."""
    import torch

    import edgerec
    from benchmarks.quality import OPTIONS, gowalla
    from edgerec.training import descent

    torch.set_num_threads(1)
    data, start = gowalla(folder), time.process_time()
    seconds: list[float] = []
    epoch = descent.Descent.epoch

    def timed(self: Any, *given: Any) -> int:
        steps = epoch(self, *given)
        seconds.append(time.process_time() - start)
        return steps

    descent.Descent.epoch = timed  # type: ignore[method-assign]
    quality = []
    for epochs in (1, 2, 8):
        seconds.clear()
        start = time.process_time()
        model = edgerec.train(data, epochs=epochs, **OPTIONS["gowalla"]).to_device_model()
        quality.append((epochs, seconds[-1], edgerec.evaluate(model, data).ndcg))
    return {"seconds_per_epoch": (seconds[-1] - seconds[0]) / (len(seconds) - 1), "runs": quality}


def pyg(folder: str) -> dict[str, Any]:
    """PyG's LightGCN with three layers, batches of 8,192 and its BPR loss."""
    import torch
    from torch_geometric.nn.models import LightGCN

    from benchmarks.quality import gowalla
    from edgerec.training.graph import Graph

    torch.set_num_threads(1)
    data, batch = gowalla(folder), 8192
    graph = Graph(data.train, len(data.items))
    edges = graph.edge_index
    model = LightGCN(graph.n_nodes, 64, 3)
    optimizer = torch.optim.Adam(model.parameters(), 0.001)
    users, items = edges[:, len(data.train) :]

    def step() -> None:
        chosen = torch.randint(len(users), (batch,))
        others = torch.randint(graph.n_users, graph.n_nodes, (batch,))
        nodes = torch.cat([users[chosen], items[chosen], others])
        pairs = torch.stack(
            [users[chosen].repeat(2), torch.cat([items[chosen], others])],
        )
        good, bad = model(edges, pairs).chunk(2)
        loss = model.recommendation_loss(good, bad, node_id=nodes.unique())
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return {"seconds_per_epoch": _timed(step) * len(users) / batch}


def recbole(folder: str) -> dict[str, Any]:
    """RecBole's LightGCN with its own options: two layers, batches of 2,048 and BPR."""
    import tempfile

    import torch
    from recbole.config import Config
    from recbole.data import create_dataset, data_preparation
    from recbole.utils import get_model, init_seed

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as base:
        place = Path(base) / "gowalla"
        place.mkdir()
        with (place / "gowalla.inter").open("w") as file:
            file.write("user_id:token\titem_id:token\n")
            for line in (Path(folder) / "train.txt").read_text().splitlines():
                user, *items = line.split()
                file.writelines(f"{user}\t{item}\n" for item in items)
        sys.argv = sys.argv[:1]  # RecBole reads it, too
        settings = {"data_path": base, "eval_args": {"split": {"RS": [1, 0, 0]}}}
        config = Config("LightGCN", "gowalla", config_dict=settings | {"use_gpu": False})
        init_seed(0, True)
        train, *_ = data_preparation(config, create_dataset(config))
    model = get_model("LightGCN")(config, train.dataset)
    optimizer, batches = torch.optim.Adam(model.parameters(), 0.001), iter(train)

    def step() -> None:
        optimizer.zero_grad()
        model.calculate_loss(next(batches)).backward()
        optimizer.step()

    return {"seconds_per_epoch": _timed(step) * len(train)}


def _timed(step: Any) -> float:
    """CPU seconds of a step."""
    step()
    start = time.process_time()
    for _ in range(STEPS):
        step()
    return (time.process_time() - start) / STEPS


if __name__ == "__main__":
    print(json.dumps({"ours": ours, "pyg": pyg, "recbole": recbole}[sys.argv[1]](sys.argv[2])))
