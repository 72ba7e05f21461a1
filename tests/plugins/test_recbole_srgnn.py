"""Checkpoints of SRGNN: sessions in which items come back."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import edgerec
from edgerec.contracts.compressor import Context
from edgerec.contracts.host import Host
from edgerec.data.dataset import Dataset
from edgerec.device.scorer import Scorer
from edgerec.errors import OptionError
from tests.rigs.recbole import D, Saved

#: The shape of each parameter, for rows of width 1.
SHAPES = {
    **{"gnn.w_ih": (3, 2), "gnn.w_hh": (3, 1), "gnn.b_ih": (3,), "gnn.b_hh": (3,)},
    **{"gnn.b_iah": (1,), "gnn.b_ioh": (1,)},
    **{f"gnn.linear_edge_{way}.weight": (1, 1) for way in ("in", "out")},
    **{f"gnn.linear_edge_{way}.bias": (1,) for way in ("in", "out")},
    **{f"linear_{name}.weight": (1, 1) for name in ("one", "two")},
    **{f"linear_{name}.bias": (1,) for name in ("one", "two", "transform")},
    "linear_transform.weight": (1, 2),
}


@pytest.fixture
def saved(dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Saved:
    found = Saved(tmp_path, dataset, monkeypatch)
    del found.state["user_embedding.weight"]
    for name, shape in SHAPES.items():
        found.state[name] = 0.5 * found.tensor(*(D * n for n in shape))
    found.state["linear_three.weight"] = found.tensor(1, D)
    found.settings |= {"step": 2, "MAX_ITEM_LIST_LENGTH": 15}
    return found


def sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def reference(p: dict[str, Any], rows: Any, session: list[int]) -> Any:
    """The user vector, over the nodes of the session graph as RecBole builds it."""
    nodes, alias = np.unique(session, return_inverse=True)
    follows = np.zeros((len(nodes), len(nodes)))
    for a, b in itertools.pairwise(alias):
        follows[a, b] = 1
    into = (follows / np.maximum(follows.sum(0), 1)).T
    out = follows / np.maximum(follows.sum(1, keepdims=True), 1)
    h = rows[nodes]
    for _ in range(2):
        sides = []
        for way, edges, bias in (("in", into, "gnn.b_iah"), ("out", out, "gnn.b_ioh")):
            sent = h @ p[f"gnn.linear_edge_{way}.weight"].T + p[f"gnn.linear_edge_{way}.bias"]
            sides.append(edges @ sent + p[bias])
        given = np.concatenate(sides, 1) @ p["gnn.w_ih"].T + p["gnn.b_ih"]
        own = h @ p["gnn.w_hh"].T + p["gnn.b_hh"]
        (gr, gz, gn), (hr, hz, hn) = np.split(given, 3, 1), np.split(own, 3, 1)
        update = sigmoid(gz + hz)
        h = (1 - update) * h + update * np.tanh(gn + sigmoid(gr + hr) * hn)
    states, last = h[alias], h[alias[-1]]
    shown = last @ p["linear_one.weight"].T + p["linear_one.bias"]
    shown = shown + states @ p["linear_two.weight"].T + p["linear_two.bias"]
    pooled = (sigmoid(shown) @ p["linear_three.weight"].T * states).sum(0)
    return (
        np.concatenate([pooled, last]) @ p["linear_transform.weight"].T + p["linear_transform.bias"]
    )


@pytest.mark.parametrize("target", ["numpy", "onnx", "tflite", "torchscript"])
def test_sessions_equal_the_graph_of_their_items(saved: Saved, target: str, tmp_path: Path) -> None:
    path = saved.write("SRGNN")
    options = {"items": str(saved.folder / "items.txt")}
    model = Host.installed().importer("recbole", **options).read(path, Context())
    assert (model.repeats, model.drop_seen, model.history_length) == ("keep", False, 15)
    assert model.metadata == {"imported": "saved.pth"}
    parts = {name: one.numpy() for name, one in saved.state.items()}
    rows = parts["item_embedding.weight"][1:]
    scorer = Scorer(edgerec.export(model, target, tmp_path / "x.edgerec", top_k=10), trust=True)
    sessions = [[4], [4, 4], [1, 2, 1, 2, 1, 3], [7, 5, 5, 7, 9, 7, 5], [*range(8), *range(7)]]
    for session in sessions:
        wanted = reference(parts, rows, session)
        found = scorer.user([saved.items[row] for row in session])
        assert np.allclose(found, wanted, rtol=1e-3, atol=1e-4)
        best = scorer.recommend([saved.items[row] for row in session], 10)
        scores = rows @ wanted
        assert {saved.items[row] for row in np.argsort(-scores)[:10]} == {one.id for one in best}


def test_what_it_needs(saved: Saved) -> None:
    path = saved.write("SRGNN")
    assert saved.read(path, files={"inter": "x.inter"}).items.ids[0] == saved.items[0]
    with pytest.raises(OptionError, match=r"pass either inter=, .* or items= alone, with a token"):
        saved.read(path, files={"items": "items.txt", "users": "users.txt"})
