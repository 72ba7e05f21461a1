"""The recbole importer: checkpoints of the layout that RecBole saves, without RecBole."""

from __future__ import annotations

import json
import os
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from edgerec.cli import app
from edgerec.contracts.compressor import Context
from edgerec.contracts.host import Host
from edgerec.contracts.opening import load_model
from edgerec.data.dataset import Dataset
from edgerec.data.dataset_file import save_dataset
from edgerec.errors import ModelError, OptionError
from edgerec.model.codecs import F32
from tests.rigs.recbole import D, Saved

#: The widths of NGCF's layers.
HIDDEN = (6, 4)


@pytest.fixture
def saved(dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Saved:
    return Saved(tmp_path, dataset, monkeypatch)


def test_rows_that_an_evaluated_model_has_kept(saved: Saved) -> None:
    rows = saved.restored(12)
    users, items = (part.numpy()[1:] for part in rows.values())
    path = saved.write("NGCF", rows)
    model = saved.read(path)
    assert np.array_equal(model.tables["items"].decode(), items)
    saved.same(model, users, items)
    assert (model.head.kind, model.normalization) == ("dot", 0.5)
    for dtype in (torch.float16, torch.float64):
        rows = saved.restored(12, dtype)
        of_numpy_2 = saved.fake("numpy._core.multiarray.scalar")
        model = saved.read(saved.write("SGL", rows, best_valid_score=of_numpy_2))
        wanted = rows["restore_item_e"].float().numpy()[1:]
        assert np.array_equal(model.tables["items"].decode(), wanted)


def test_ids_from_files_and_on_the_command_line(saved: Saved) -> None:
    path = saved.write("LightGCN", saved.restored(D))
    by_inter = saved.read(path)
    by_files = saved.read(path, files={"items": "items.txt", "users": "users.txt"})
    (saved.folder / "users.json").write_text(json.dumps(saved.users))
    np.save(saved.folder / "items.npy", saved.items)
    again = saved.read(path, files={"items": "items.npy", "users": "users.json"})
    assert list(again.items.ids) == saved.items
    for name in ("items", "past"):
        assert np.array_equal(by_files.tables[name].decode(), by_inter.tables[name].decode())
    assert (
        list(by_files.items.ids) == list(by_inter.items.ids) == saved.items != sorted(saved.items)
    )
    data, output = saved.folder / "x.dataset", saved.folder / "x.model"
    save_dataset(saved.data, data)
    spec = f"recbole:inter={saved.folder / 'x.inter'},history_length=7"
    given = ["import", spec, str(path), "--data", str(data), "-o", str(output)]
    done = CliRunner().invoke(app, given)
    assert done.exit_code == 0, done.output
    said = " ".join(done.output.split())
    assert "user rows are predicted from histories: overlap with the original's top 20 is" in said
    model = load_model(output)
    assert model.history_length == 7
    assert np.array_equal(model.tables["past"].decode(), by_inter.tables["past"].decode())


def dense_graph(saved: Saved) -> F32:
    """D^-1/2 A D^-1/2 of the training interactions, counted from 1 as RecBole does."""
    users, items = (
        {token: row for row, token in enumerate(tokens, 1)} for tokens in (saved.users, saved.items)
    )
    height = saved.counts["user"]
    found = np.zeros((sum(saved.counts.values()),) * 2, np.float32)
    for place, past in enumerate(saved.data.train.lists()):
        for item in past:
            ends = users[saved.data.users[place]], height + items[saved.data.items.ids[int(item)]]
            found[ends] = found[ends[::-1]] = 1
    scale = (found.sum(1) + 1e-7) ** -0.5
    return scale[:, None] * found * scale


def with_strangers(saved: Saved) -> Dataset:
    """The same interactions, and others of a user and of an item that the checkpoint lacks."""
    train, data = saved.data.train, saved.data
    users = [*(data.users[int(row)] for row in train.users), "stranger", saved.users[0]]
    items = [*(data.items.ids[int(row)] for row in train.items), saved.items[0], "strange"]
    return Dataset.from_pairs(users, items)


@pytest.mark.parametrize(
    ("model", "library"),
    [
        ("BPR", "recbole"),
        ("LightGCN", "recbole"),
        ("SGL", "recbole"),
        ("SimGCL", "recbole_gnn"),
        ("NGCF", "recbole"),
        ("NGCF", "recbole_gnn"),
    ],
)
def test_message_passing_equals_a_dense_reference(saved: Saved, model: str, library: str) -> None:
    graph = dense_graph(saved)
    rows = np.concatenate([part.numpy() for part in saved.state.values()])
    layers = [rows]
    names = ("linear", "interActTransform") if library == "recbole" else ("lin1", "lin2")
    for layer, width in enumerate(HIDDEN):
        if model != "NGCF":
            layers.append(graph @ layers[-1])
            continue
        mixed = np.zeros((len(rows), width), np.float32)
        heard, last = graph @ layers[-1], layers[-1]
        for name, given in zip(names, (last + heard, heard * last), strict=True):
            parts = saved.tensor(width, given.shape[1]), saved.tensor(width)
            for kind, part in zip(("weight", "bias"), parts, strict=True):
                saved.state[f"GNNlayers.{layer}.{name}.{kind}"] = part
            mixed += given @ parts[0].numpy().T + parts[1].numpy()
        mixed = np.where(mixed > 0, mixed, 0.2 * mixed)
        layers.append(mixed / np.linalg.norm(mixed, axis=1, keepdims=True))
    wanted = {
        "BPR": lambda: rows,
        "LightGCN": lambda: np.mean(layers, axis=0),
        "SGL": lambda: np.mean(layers, axis=0),
        "SimGCL": lambda: np.mean(layers[1:], axis=0),
        "NGCF": lambda: np.concatenate(layers, axis=1),
    }[model]()
    none = {} if model == "BPR" else {"restore_user_e": None, "restore_item_e": None}
    found = saved.read(saved.write(model, none, library), with_strangers(saved))
    height = saved.counts["user"]
    saved.same(found, wanted[1:height], wanted[height + 1 :])
    assert ("fold_in" in found.metadata) == (model != "SimGCL")


def test_users_without_training_interactions_are_left_out(saved: Saved) -> None:
    rows = saved.restored(D)
    with (saved.folder / "x.inter").open("a") as file:
        file.write(f"late\t1\t{saved.items[0]}\n")
    saved.counts["user"] += 1
    saved.state["user_embedding.weight"] = saved.tensor(saved.counts["user"], D)
    rows["restore_user_e"] = torch.cat([rows["restore_user_e"], saved.tensor(1, D)])
    users, items = (part.numpy()[1:] for part in rows.values())
    saved.same(saved.read(saved.write("LightGCN", rows)), users[:-1], items)


class Command:
    """Runs a command as soon as it is unpickled."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (self.command,)


def test_a_pickle_that_names_anything_else_runs_nothing(saved: Saved) -> None:
    marker = saved.folder / "ran"
    path = saved.write("BPR", epoch=Command(f"touch {marker}"))
    with pytest.raises(ModelError, match=rf"its pickle names {os.name}\.system, .*nothing .* run"):
        saved.read(path)
    for harmless in (print, torch.compile, np.load, pickle.loads, OrderedDict.fromkeys):
        path = saved.write("BPR", epoch=harmless)
        with pytest.raises(ModelError, match=r"saved\.pth: its pickle names "):
            saved.read(path)
    legacy = saved.folder / "legacy.pth"
    legacy.write_bytes(pickle.dumps(Command(f"touch {marker}")))
    with pytest.raises(ModelError, match=r"legacy\.pth: expected a checkpoint that RecBole saved"):
        saved.read(legacy)
    assert not marker.exists()


def test_what_is_no_checkpoint(saved: Saved) -> None:
    expected = r": expected a checkpoint that RecBole saved \(a \.pth file with config"
    with pytest.raises(ModelError, match=r"none\.pth: no such file"):
        saved.read(saved.folder / "none.pth")
    whole = saved.write("BPR")
    data = whole.read_bytes()
    part = saved.folder / "part.pth"
    part.write_bytes(data[: len(data) // 2])
    weights = saved.folder / "weights.pth"
    torch.save({"state_dict": saved.state}, weights, pickle_protocol=4)
    packed, big = saved.folder / "packed.pth", saved.folder / "big.pth"
    for path, how, order in (
        (packed, zipfile.ZIP_DEFLATED, b"little"),
        (big, zipfile.ZIP_STORED, b"big"),
    ):
        with zipfile.ZipFile(whole) as old, zipfile.ZipFile(path, "w", how) as new:
            for name in old.namelist():
                new.writestr(name, order if name.endswith("byteorder") else old.read(name))
    for path in (part, weights, packed, big):
        with pytest.raises(ModelError, match=path.name + expected):
            saved.read(path)
    with pytest.raises(ModelError, match="a part of it is no dictionary"):
        saved.read(saved.write("BPR", state_dict=[1]))


def test_what_a_checkpoint_lacks(saved: Saved) -> None:
    with pytest.raises(
        ModelError,
        match=r"saved\.pth: NeuMF is not supported; supported are BPR, LightGCN, NGCF, SGL, SimG",
    ):
        saved.read(saved.write("NeuMF", saved.restored(D)))
    saved.settings["n_layers"] = None
    with pytest.raises(ModelError, match="config: expected n_layers to be at least 1, got None"):
        saved.read(saved.write("LightGCN"))
    whole = saved.state.pop("item_embedding.weight")
    with pytest.raises(ModelError, match=r"no parameter 'item_embedding\.weight'; it has user_emb"):
        saved.read(saved.write("BPR"))
    for wrong in (whole.T.contiguous().T, whole.to(torch.bfloat16), 3):
        saved.state["item_embedding.weight"] = wrong  # type: ignore[assignment]  # 3 is wrong
        with pytest.raises(ModelError, match=r"item_embedding\.weight: expected a dense tensor of"):
            saved.read(saved.write("BPR"))


def test_tokens_that_do_not_belong_to_the_rows(saved: Saved) -> None:
    path = saved.write("BPR")
    counts = {"users": len(saved.users), "items": len(saved.items)}
    for side in counts:
        short = saved.folder / f"short-{side}.txt"
        whole = (saved.folder / f"{side}.txt").read_text().splitlines()
        short.write_text("\n".join(whole[1:]))
        options = {"users": "users.txt", "items": "items.txt", side: short.name}
        message = (
            rf"recbole\.{side}: expected {counts[side]} tokens, one for each of the {side} of .*"
            rf"besides \[PAD\], but .*{short.name} has {counts[side] - 1}"
        )
        with pytest.raises(OptionError, match=message):
            saved.read(path, files=options)
    with (saved.folder / "x.inter").open("a") as file:
        file.write(f"{saved.users[0]}\t1\trare\n")
    message = (
        rf"recbole\.inter: expected {counts['items']} items, .* has {counts['items'] + 1}; RecBole "
        r"filtered the interactions, .*Pass items= and users= instead"
    )
    with pytest.raises(OptionError, match=message):
        saved.read(path)
    both = {"items": "items.txt", "users": "users.txt"}
    one = {"items": "items.txt"}
    for options in (one, one | {"inter": "x.inter"}, both | {"inter": "x.inter"}):
        with pytest.raises(OptionError, match=r"a checkpoint has no tokens; pass either inter=, "):
            saved.read(path, files=options)
    for name in ("rm_dup_inter", "val_interval"):
        saved.settings[name] = "first"
        with pytest.raises(OptionError, match=f"was trained with {name}, so its rows may be in "):
            saved.read(saved.write("BPR"))
        del saved.settings[name]


def test_token_files_and_data_that_are_refused(saved: Saved) -> None:
    path = saved.write("BPR")
    (saved.folder / "other.inter").write_text("user_id:token\tfilm:token\nu\ti\n")
    for name, message in (
        ("other.inter", "expected an atomic file .*: its header has no field item_id"),
        ("none.inter", "expected an atomic file of RecBole, .*No such file"),
    ):
        with pytest.raises(ModelError, match=rf"{name}: {message}"):
            saved.read(path, files={"inter": name})
    with pytest.raises(ModelError, match=r"none\.txt: expected tokens, one per row"):
        saved.read(path, files={"items": "none.txt", "users": "users.txt"})
    with pytest.raises(OptionError, match=r"recbole: predicting user rows .*; pass --data"):
        Host.installed().importer("recbole", inter="x.inter").read(path, Context())
    other = Dataset.from_pairs(["ann", "ann", saved.users[0]], ["x", "y", "x"], name="other")
    message = (
        rf"other: has 1 of the {len(saved.users)} users of .*, such as '{saved.users[0]}'; pass"
    )
    with pytest.raises(OptionError, match=message):
        saved.read(path, other)
