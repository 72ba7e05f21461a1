"""How close imported models come to the originals, on MovieLens-100K.

    python -m benchmarks.imports [--models GAT NGCF …] [--targets numpy onnx tflite]

Each network of torch-geometric is trained by BPR for a few epochs; ``import_towers.py`` has models
that describe users by their histories. The original's lists are the top 20 unseen items of every
user, from its own states on the whole graph. Ours are those of ``Scorer`` on the written files, at
fp32 and int8, with H past items. A model that reads users' rows also teaches one that does not,
which is trained once and read at each H. Results of other models and targets are kept, as
ExecuTorch's are made in an environment of its own: ``benchmarks/results/imports.json`` and
``imports.md``.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from torch import Tensor, nn
from torch_geometric import nn as pyg
from torch_geometric.data import Data
from torch_geometric.utils import degree

import edgerec
from benchmarks.import_towers import TOWERS
from edgerec.data.dataset import Dataset
from edgerec.data.metrics import ndcg, overlap
from edgerec.files.atomic import write_text
from edgerec.model.codecs import Int8
from edgerec.model.device_model import DeviceModel

RESULTS = Path(__file__).parent / "results"

#: The width of all states, the number of interactions per step, epochs, and the learning rate.
WIDTH, BATCH, EPOCHS, RATE = 32, 8192, 40, 0.01

#: The weight of the original's lists in the training of a model that it teaches.
DISTILL = 20.0

#: The lengths of lists and of histories; no user has more items than the longer one.
TOP, LENGTHS = 20, (100, 800)

console = Console(stderr=True)


class Network(nn.Module):
    """Convolutions over rows of users and items."""

    def __init__(self, nodes: int, convs: list[nn.Module], act: Any = torch.relu) -> None:
        super().__init__()
        self.rows = nn.Embedding(nodes, WIDTH)
        nn.init.normal_(self.rows.weight, std=0.1)
        self.convs, self.act = nn.ModuleList(convs), act

    def forward(self, edge_index: Tensor) -> Tensor:
        """The states of all nodes after the last layer."""
        x = self.rows.weight
        for k, conv in enumerate(self.convs):
            x = conv(x, edge_index)
            x = self.act(x) if k < len(self.convs) - 1 else x
        return x


class NGCFConv(pyg.MessagePassing):
    """Wang et al., "Neural Graph Collaborative Filtering", SIGIR 2019, as it is usually written."""

    def __init__(self) -> None:
        super().__init__(aggr="add")
        self.w1, self.w2 = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        """One layer."""
        row, col = edge_index
        root = degree(col, x.size(0), dtype=x.dtype).pow(-0.5)
        root[root == float("inf")] = 0
        out = self.propagate(edge_index, x=x, norm=root[row] * root[col])
        return nn.functional.leaky_relu(out + self.w1(x), 0.2)

    def message(self, x_j: Tensor, x_i: Tensor, norm: Tensor) -> Tensor:
        """What an edge carries."""
        return norm.view(-1, 1) * (self.w1(x_j) + self.w2(x_j * x_i))


class NGCF(Network):
    """The states of all layers side by side."""

    def forward(self, edge_index: Tensor) -> Tensor:
        """The states of all nodes after each layer."""
        x = self.rows.weight
        states = [x]
        for conv in self.convs:
            x = conv(x, edge_index)
            states.append(nn.functional.normalize(x, dim=1))
        return torch.cat(states, 1)


def two(conv: Callable[[], nn.Module]) -> list[nn.Module]:
    """Two layers."""
    return [conv(), conv()]


MODELS: dict[str, Callable[[int], nn.Module]] = {
    "LightGCN": lambda n: pyg.LightGCN(n, WIDTH, 2),
    "GraphSAGE, mean": lambda n: Network(n, two(lambda: pyg.SAGEConv(WIDTH, WIDTH))),
    "GraphSAGE, max": lambda n: Network(n, two(lambda: pyg.SAGEConv(WIDTH, WIDTH, aggr="max"))),
    "GAT": lambda n: Network(n, two(lambda: pyg.GATConv(WIDTH, WIDTH)), nn.functional.elu),
    "GATv2, 2 heads": lambda n: Network(
        n, two(lambda: pyg.GATv2Conv(WIDTH, WIDTH // 2, heads=2)), nn.functional.elu
    ),
    "Transformer, 2 heads": lambda n: Network(
        n, two(lambda: pyg.TransformerConv(WIDTH, WIDTH // 2, heads=2))
    ),
    "GCN": lambda n: Network(n, two(lambda: pyg.GCNConv(WIDTH, WIDTH))),
    "NGCF": lambda n: NGCF(n, two(NGCFConv)),
}


def trained(name: str, edges: Tensor, users: int, items: int) -> tuple[nn.Module, Any]:
    """A network trained by BPR (Rendle et al., UAI 2009), and the method that returns states."""
    torch.manual_seed(0)
    model = MODELS[name](users + items)
    method = "get_embedding" if name == "LightGCN" else "forward"
    both = torch.cat([edges, edges.flip(0)], 1)
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE, weight_decay=1e-6)
    for _ in range(EPOCHS):
        order = torch.randperm(edges.shape[1])
        for part in order.split(BATCH):
            user, item = edges[:, part]
            other = torch.randint(users, users + items, (len(part),))
            x = getattr(model, method)(both)
            loss = -nn.functional.logsigmoid((x[user] * (x[item] - x[other])).sum(1)).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return model.eval(), method


def ranked(scores: NDArray[Any], data: Dataset) -> NDArray[np.int64]:
    """The top 20 unseen rows of each user."""
    for row, past in zip(scores, data.train.lists(), strict=True):
        row[past] = -np.inf
    return np.argsort(-scores, axis=1, kind="stable")[:, :TOP]


def listed(model: DeviceModel, target: str, data: Dataset, own: Any, folder: Path) -> Any:
    """The lists of ``Scorer`` on a written file, for every user."""
    path = folder / f"{target}.edgerec"
    edgerec.export(model, target, path, top_k=TOP)
    found = []
    with edgerec.Scorer.open(path, trust=True) as scorer:
        for user, past in enumerate(data.train.lists()):
            inputs = dict.fromkeys(model.inputs, None if own is None else own[user])
            recommended = scorer.recommend([data.items.ids[row] for row in past], TOP, **inputs)
            rows = [data.items.rows[one.id] for one in recommended]
            found.append(rows + [-1] * (TOP - len(rows)))
    return np.array(found)


def compared(
    models: dict[str, DeviceModel], wanted: Any, data: Dataset, own: Any, targets: list[str]
) -> list[dict[str, Any]]:
    """The overlap and the quality of each mode on each target."""
    relevant = list(data.test.lists()) if data.test is not None else []
    rows = []
    for mode, model in models.items():
        for codec, coded in (("fp32", model), ("int8", model.with_codec(Int8()))):
            for target in targets:
                with tempfile.TemporaryDirectory() as folder:
                    lists = listed(coded, target, data, own, Path(folder))
                row = {
                    **{"mode": mode, "codec": codec, "target": target},
                    **{"history_length": model.history_length, "overlap": overlap(wanted, lists)},
                    **{"ndcg": ndcg(lists, relevant), "original": ndcg(wanted, relevant)},
                }
                console.print(row)
                rows.append(row)
    return rows


def networks(names: list[str], data: Dataset, targets: list[str]) -> list[dict[str, Any]]:
    """All networks of torch-geometric: with the user's row, with a predicted one, and taught."""
    users, items = len(data.users), len(data.items)
    edges = torch.from_numpy(np.stack([data.train.users, data.train.items + users])).long()
    graph = Data(edge_index=torch.cat([edges, edges.flip(0)], 1), num_nodes=users + items)
    rows = []
    for name in names:
        console.print(f"[bold]{name}")
        model, method = trained(name, edges, users, items)
        with torch.no_grad():
            states = getattr(model, method)(graph.edge_index).numpy()
        wanted = ranked(states[:users] @ states[users:].T, data)
        own = next(m for m in model.modules() if isinstance(m, nn.Embedding)).weight.detach()
        own = own[:users].numpy()
        student = None
        for length in reversed(LENGTHS):
            found = {}
            for mode, predict in (("the user's own row", False), ("predicted", True)):
                found[mode] = edgerec.from_pyg(
                    model,
                    graph,
                    ids=data.items.ids,
                    users=users,
                    method=method,
                    history_length=length,
                    predict_start=predict,
                )
            if not found["the user's own row"].inputs:
                found = {"history alone": found["the user's own row"]}
            elif student is None:
                exact = found["the user's own row"]
                student = taught(exact, own, data)
            if student is not None:
                found["taught"] = student.replace(history_length=length)
            done = compared(found, wanted, data, own, targets)
            rows += [{"model": name} | row for row in done]
    return rows


def taught(teacher: DeviceModel, own: Any, data: Dataset) -> DeviceModel:
    """A model of histories alone that has learned the lists of one that reads users' rows."""
    trained = edgerec.train(
        data, teacher=teacher, teacher_vectors=own, dim=WIDTH, distill=DISTILL, epochs=16
    )
    return trained.to_device_model()


def towers(names: list[str], data: Dataset, targets: list[str]) -> list[dict[str, Any]]:
    """Models of histories, which read as many items as the original did."""
    rows = []
    for name in names:
        console.print(f"[bold]{name}")
        for length in LENGTHS:
            scores, model = TOWERS[name](data, length)
            done = compared({"history alone": model}, ranked(scores, data), data, None, targets)
            rows += [{"model": name} | row for row in done]
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    """The results as a Markdown table: the lowest overlap of all targets."""
    every = dict.fromkeys(row["model"] for row in rows)
    targets = []
    for target in dict.fromkeys(row["target"] for row in rows):
        measured = {row["model"] for row in rows if row["target"] == target}
        without = "; ".join(name for name in every if name not in measured)
        targets.append(f"{target} (without {without})" if without else target)
    lines = [
        f"Overlaps and NDCG are the lowest of any target: {', '.join(targets)}.",
        "",
        "| model | user vector | H | overlap, fp32 | int8 | NDCG@20 | original's |",
        "|---|---|---|---|---|---|---|",
    ]
    keys = dict.fromkeys((r["model"], r["mode"], r["history_length"]) for r in rows)
    for model, mode, length in keys:
        own = [
            r for r in rows if (r["model"], r["mode"], r["history_length"]) == (model, mode, length)
        ]
        low = {
            codec: min(r["overlap"] for r in own if r["codec"] == codec)
            for codec in ("fp32", "int8")
        }
        quality = min(r["ndcg"] for r in own if r["codec"] == "fp32")
        lines.append(
            f"| {model} | {mode} | {length} | {low['fp32']:.4f} | {low['int8']:.4f} | "
            f"{quality:.4f} | {own[0]['original']:.4f} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run what is asked for, and write the table."""
    parser = argparse.ArgumentParser()
    every = [*MODELS, *TOWERS]
    parser.add_argument("--models", nargs="+", choices=every, default=every)
    parser.add_argument("--targets", nargs="+", default=["numpy", "onnx", "tflite"])
    given = parser.parse_args()
    data, path = edgerec.load("ml-100k").split_random(0.2), RESULTS / "imports.json"
    for name in given.models:
        rows = (networks if name in MODELS else towers)([name], data, given.targets)
        new = {(row["model"], row["target"]) for row in rows}
        old = json.loads(path.read_text("utf-8")) if path.exists() else []
        rows += [row for row in old if (row["model"], row["target"]) not in new]
        rows.sort(key=lambda row: (every.index(row["model"]), row["history_length"]))
        write_text(path, json.dumps(rows, indent=1) + "\n")
        write_text(RESULTS / "imports.md", table(rows))


if __name__ == "__main__":
    main()
