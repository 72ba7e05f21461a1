"""Networks of torch-geometric, trained on a whole graph, say the same on a user's own items."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch_geometric import nn as pyg
from torch_geometric.data import Data

import edgerec
from edgerec.device.scorer import Scorer
from edgerec.errors import ModelError
from edgerec.importing import edges
from edgerec.model.oracle import Oracle
from tests.rigs.pyg import (
    BOTH,
    DATA,
    EDGES,
    HISTORIES,
    MODELS,
    STATES,
    D,
    H,
    Layers,
    N,
    U,
    made,
    states_of,
)


@pytest.mark.parametrize("name", MODELS)
def test_users_are_those_of_the_whole_graph(name: str) -> None:
    model, data, found = made(name)
    states = states_of(model, data)
    users, items = states if isinstance(states, tuple) else (states[:U], states[U:])
    own = model.user_rows.weight.detach() if name == "ngcf" else STATES[:U]
    own = model.embedding.weight.detach()[:U] if name == "lightgcn" else own
    oracle = Oracle(found)
    assert np.allclose(oracle.candidates, items, atol=1e-6)
    assert {len(past) for past in HISTORIES} >= {1, H}
    for user, past in enumerate(HISTORIES):
        if len(past) <= H:
            inputs = {one: own[user : user + 1].numpy() for one in found.inputs}
            history, weights = oracle.pad(past)
            vector = oracle.encode(history[None], weights[None], **inputs)[0]
            assert np.allclose(vector, users[user], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("target", ["numpy", "onnx", "tflite", "torchscript"])
@pytest.mark.parametrize("name", ["gat heads", "ngcf", "sage lists", "gcn", "transformer"])
def test_every_target_runs_what_was_imported(name: str, target: str, tmp_path: Path) -> None:
    _, _, found = made(name, popular=[3, 5])
    file = edgerec.export(found, target, tmp_path / "x.edgerec", top_k=10)
    own = {one: np.zeros(width, np.float32) for one, width in found.inputs.items()}
    assert len(Scorer(file, trust=True).recommend(["5", "9", "30"], 10, **own)) == 10


def test_what_is_linear_becomes_one_table_and_a_sum() -> None:
    for name, inputs in (("lgconv", {}), ("lightgcn", {"user_vector": D})):
        _, _, found = made(name)
        assert set(found.tables) == {"items", "past"}
        assert found.normalization == 0.5
        assert found.inputs == inputs
    assert set(made("gcn")[2].tables) == {
        "items",
        "past",
    }  # of which the last round is all that counts
    assert len(made("gat")[2].tables) > 2
    assert len(made("sage mean")[2].tables) > 2


def test_rows_that_are_only_added_up_keep_their_bias() -> None:
    class Biased(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.out = pyg.LGConv(), nn.Linear(D, D)

        def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
            return self.out(self.conv(x, edge_index))

    torch.manual_seed(0)
    found = edgerec.from_pyg(Biased(), DATA, ids=range(N), users=U, history_length=H)
    assert "shift" in found.constants
    assert [op.kind for op in found.encoder] == ["Gather", "Mul", "ReduceSum", "Add"]


def test_attention_survives_a_loud_item_in_padding() -> None:
    """Padding reads the first item; if it outweighs all others, its exponent would overflow."""
    torch.manual_seed(0)
    states = STATES.clone()
    states[U] = 1e4
    model = Layers(pyg.GATConv(D, D, add_self_loops=False))
    with torch.no_grad():
        model.convs[0].att_src.copy_(model.convs[0].lin.weight.sum(1).reshape(1, 1, -1))
    found = edgerec.from_pyg(
        model, Data(x=states, edge_index=BOTH), ids=range(N), users=U, history_length=H
    )
    assert "Exp" in {op.kind for op in found.encoder}


def test_repeated_edges_count_as_often_on_a_device(tmp_path: Path) -> None:
    torch.manual_seed(0)
    more = torch.cat([BOTH, BOTH[:, EDGES.shape[1] : EDGES.shape[1] + 50]], 1)
    model = Layers(pyg.GraphConv(D, D))
    data = Data(x=STATES, edge_index=more)
    found = edgerec.from_pyg(model, data, ids=range(N), users=U, history_length=2 * H)
    assert found.repeats == "keep"
    scorer = Scorer(edgerec.export(found, "numpy", tmp_path / "x.edgerec", top_k=10))
    past = [str(row) for row in HISTORIES[0]]
    own = {"user_vector": STATES[0].numpy()}
    assert np.allclose(scorer.user(past + past, **own), states_of(model, data)[0], atol=1e-4)
    assert made("graphconv")[2].repeats == "merge"


@pytest.mark.parametrize(("name", "wrong"), [("graphconv", "present"), ("sage max", "mask")])
def test_the_proof_sees_padding(name: str, wrong: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real = edges._per_edge

    def all_ones(builder: Any, named: str, of_loop: float, loop: bool) -> Any:
        return real(builder, "count" if named == wrong else named, of_loop, loop)

    monkeypatch.setattr(edges, "_per_edge", all_ones)
    with pytest.raises(ModelError, match="it computes other user vectors"):
        made(name)
