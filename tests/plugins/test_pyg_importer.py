"""The pyg importer: state dicts of LightGCN, with and without the user's own row."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch_geometric.nn import GCN, LightGCN
from typer.testing import CliRunner

import edgerec
from edgerec.cli import app
from edgerec.contracts.compressor import Context
from edgerec.contracts.host import Host
from edgerec.contracts.opening import load_model
from edgerec.data.dataset import Dataset
from edgerec.data.dataset_file import save_dataset
from edgerec.device.scorer import Scorer
from edgerec.errors import ModelError, OptionError
from edgerec.model.codecs import F32
from edgerec.model.device_model import DeviceModel

D = 8


def network(data: Dataset, layers: int = 2, alpha: Tensor | None = None) -> LightGCN:
    torch.manual_seed(0)
    found = LightGCN(len(data.users) + len(data.items), D, layers, alpha)
    torch.nn.init.normal_(found.embedding.weight)
    return found


def states(data: Dataset, net: LightGCN) -> F32:
    """What the network says of all nodes on the whole graph."""
    user, item = (
        torch.from_numpy(one.astype(np.int64)) for one in (data.train.users, data.train.items)
    )
    item = item + len(data.users)
    ends = torch.stack([torch.cat([user, item]), torch.cat([item, user])])
    with torch.no_grad():
        return net.get_embedding(ends).numpy()


def read(path: Path, data: Dataset | None, **options: Any) -> DeviceModel:
    return Host.installed().importer("pyg", **options).read(path, Context(data))


@pytest.fixture
def saved(dataset: Dataset, tmp_path: Path) -> Path:
    path = tmp_path / "lightgcn.pt"
    torch.save(network(dataset).state_dict(), path)
    return path


@pytest.mark.parametrize("target", ["numpy", "onnx", "tflite"])
def test_lists_with_the_users_own_row(dataset: Dataset, tmp_path: Path, target: str) -> None:
    net = network(dataset, 3, torch.tensor([0.1, 0.5, 0.2, 0.2]))
    path = tmp_path / "x.pt"
    torch.save(net.state_dict(), path)
    model = read(path, dataset, predict_start=False, history_length=80)
    assert dict(model.inputs) == {"user_vector": D}
    assert model.metadata == {"imported": "x.pt"}
    assert model.popular.tolist() == dataset.popular.tolist()
    height, found = len(dataset.users), states(dataset, net)
    own = net.embedding.weight.detach().numpy()
    with Scorer(edgerec.export(model, target, tmp_path / "x.edgerec", top_k=10)) as scorer:
        for user in range(0, height, 10):
            past = dataset.train.of(user)
            scores = found[height:] @ found[user]
            scores[past] = -np.inf
            wanted = {dataset.items.ids[int(row)] for row in np.argsort(-scores)[:10]}
            ids = [dataset.items.ids[int(row)] for row in past]
            assert {one.id for one in scorer.recommend(ids, 10, user_vector=own[user])} == wanted


def test_users_are_predicted_by_default(dataset: Dataset, saved: Path, tmp_path: Path) -> None:
    model = read(saved, dataset)
    assert not model.inputs
    assert model.history_length == 200
    assert 0 < model.metadata["fold_in"]["overlap"] <= 1
    wanted = states(dataset, network(dataset))[len(dataset.users) :]
    assert np.allclose(model.tables["items"].decode(), wanted, atol=1e-5)
    save_dataset(dataset, tmp_path / "x.dataset")
    output = tmp_path / "x.model"
    for spec, said in (
        ("pyg:history_length=90", "user rows are predicted from histories"),
        ("pyg:predict_start=false", "it reads user_vector, which is not given here, so it is n"),
    ):
        given = [spec, str(saved), "--data", str(tmp_path / "x.dataset"), "-o", str(output)]
        done = CliRunner().invoke(app, ["import", *given])
        assert done.exit_code == 0, done.output
        assert said in " ".join(done.output.split())
        assert bool(load_model(output).inputs) == ("false" in spec)


def test_ids_from_files(dataset: Dataset, saved: Path, tmp_path: Path) -> None:
    rng, state = np.random.default_rng(5), torch.load(saved, weights_only=True)
    height = len(dataset.users)
    turned = rng.permutation(height), rng.permutation(len(dataset.items))
    order = np.concatenate([turned[0], turned[1] + height])
    state["embedding.weight"] = state["embedding.weight"][order].to(torch.float64)
    torch.save(state, tmp_path / "turned.pth")
    (tmp_path / "users.json").write_text(json.dumps([dataset.users[row] for row in turned[0]]))
    ids = [dataset.items.ids[int(row)] for row in turned[1]]
    (tmp_path / "items.txt").write_text("\n".join(ids))
    files = {"users": str(tmp_path / "users.json"), "items": str(tmp_path / "items.txt")}
    found = read(tmp_path / "turned.pth", dataset, predict_start=False, **files)
    straight = read(saved, dataset, predict_start=False)
    assert list(found.items.ids) == ids
    for name in straight.tables:
        rows = straight.tables[name].decode()[turned[1]]
        assert np.allclose(found.tables[name].decode(), rows, atol=1e-5)


def test_data_that_does_not_belong_to_the_nodes(
    dataset: Dataset, saved: Path, tmp_path: Path
) -> None:
    with pytest.raises(OptionError, match=r"pyg: a state dict has no graph; .* as --data"):
        read(saved, None)
    other = Dataset.from_pairs(["ann", "ann", "bob"], ["x", "y", "x"], name="other")
    message = (
        r"pyg: .*lightgcn\.pt has 200 nodes, but other has 2 users and other 2 items, 4 in all; pa"
    )
    with pytest.raises(OptionError, match=message):
        read(saved, other)
    file = tmp_path / "users.txt"
    file.write_text("\n".join(f"n{row}" for row in range(len(dataset.users))))
    message = r"pyg: of the 120 users of .*, fewer than half have an interaction in tastes; pass"
    with pytest.raises(OptionError, match=message):
        read(saved, dataset, users=str(file))


def test_whole_networks_are_refused_unread(dataset: Dataset, tmp_path: Path) -> None:
    path = tmp_path / "whole.pt"
    torch.save(network(dataset), path)
    message = (
        r"whole\.pt: holds Python objects, .* none of it was run; save its parameters alone, "
        r"torch\.save\(model\.state_dict\(\), path\), or pass .* to edgerec\.from_pyg or"
    )
    with pytest.raises(ModelError, match=message):
        read(path, dataset)


def test_other_networks_are_refused(dataset: Dataset, tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    state = network(dataset).state_dict()
    for wrong, got in (
        (GCN(4, 8, 3).state_dict(), r"convs\.0\.bias, convs\.0\.lin\.weight, .*"),
        ({**state, "x": torch.zeros(1)}, "alpha, embedding.weight, x"),
        ({"embedding.weight": state["embedding.weight"]}, "embedding.weight"),
        ({}, "none"),
    ):
        torch.save(wrong, path)
        message = rf"expected the state dict of torch_geometric\.nn\.LightGCN, .* got {got}\. Imp"
        with pytest.raises(ModelError, match=message):
            read(path, dataset)
    for name, one, message in (
        ("alpha", torch.ones(1), "alpha: expected a number for the rows and one per layer, got 1"),
        ("alpha", torch.ones(2, 1), r"alpha: expected floats with 1 axes, got torch\.float32 \[2,"),
        ("embedding.weight", torch.ones(3, 2).int(), r"weight: expected floats with 2 axes, got"),
        ("embedding.weight", torch.full((200, 8), torch.nan), "weight: has a number that is NaN"),
    ):
        torch.save({**state, name: one}, path)
        with pytest.raises(ModelError, match=message):
            read(path, dataset)
