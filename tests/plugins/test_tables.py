"""The tables importer: arrays from files, on the command line and from Python."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file
from typer.testing import CliRunner

from edgerec.cli import app
from edgerec.contracts.compressor import Context
from edgerec.contracts.host import Host
from edgerec.contracts.opening import load_model
from edgerec.data.dataset import Dataset
from edgerec.data.dataset_file import save_dataset
from edgerec.errors import ModelError, OptionError, UnknownNameError
from edgerec.model.device_model import DeviceModel

RNG = np.random.default_rng(0)
ITEMS, PAST = RNG.normal(size=(2, 30, 4)).astype(np.float32)
IDS = [f"film {row}" for row in range(30)]


def read(path: Path, data: Dataset | None = None, **options: str) -> DeviceModel:
    return Host.installed().importer("tables", **options).read(path, Context(data))


def ids_of(folder: Path) -> str:
    path = folder / "ids.txt"
    path.write_text("\n".join(IDS) + "\n", "utf-8")
    return str(path)


def test_each_kind_of_file(tmp_path: Path) -> None:
    ids = ids_of(tmp_path)
    np.savez(tmp_path / "x.npz", items=ITEMS, seen=PAST)
    save_file({"items": ITEMS, "seen": PAST}, tmp_path / "x.safetensors")
    for name in ("x.npz", "x.safetensors"):
        model = read(tmp_path / name, ids=ids, past="seen", pooling="sqrt", head="cosine")
        assert list(model.items.ids) == IDS
        assert np.array_equal(model.tables["items"].decode(), ITEMS)
        assert np.array_equal(model.tables["past"].decode(), PAST)
        assert (model.normalization, model.head.kind) == (0.5, "cosine")
        assert model.metadata["imported"] == name
    np.save(tmp_path / "x.npy", ITEMS)
    np.save(tmp_path / "ids.npy", np.arange(30))
    (tmp_path / "ids.json").write_text(json.dumps(list(range(30))))
    for name in ("ids.npy", "ids.json"):
        model = read(tmp_path / "x.npy", ids=str(tmp_path / name))
        assert list(model.items.ids) == [str(row) for row in range(30)]


def test_user_rows_are_folded_in(dataset: Dataset, tmp_path: Path) -> None:
    items = RNG.normal(size=(len(dataset.items), 4))
    users = np.stack([items[past].sum(0) for past in dataset.train.lists()])
    np.savez(tmp_path / "als.npz", items=items, users=users)
    save_dataset(dataset, tmp_path / "x.dataset")
    run = CliRunner().invoke
    output = tmp_path / "als.model"
    given = [str(tmp_path / "als.npz"), "--data", str(tmp_path / "x.dataset"), "-o", str(output)]
    done = run(app, ["import", "tables:users=users", *given])
    assert done.exit_code == 0, done.output
    said = " ".join(done.output.split())
    assert "user rows are predicted from histories: overlap with the original's top 20 is" in said
    assert "NDCG@20" in said
    model = load_model(output)
    assert model.metadata["fold_in"]["users"] > 10
    with pytest.raises(OptionError, match=r"tables\.users: predicting user rows .* pass --data"):
        read(tmp_path / "als.npz", users="users")
    with pytest.raises(OptionError, match=r"tables\.past: has no effect with users"):
        read(tmp_path / "als.npz", dataset, users="users", past="items")


def test_what_is_refused(tmp_path: Path) -> None:
    ids = ids_of(tmp_path)
    np.savez(tmp_path / "x.npz", rows=ITEMS)
    (tmp_path / "x.npy").write_bytes(b"no array")
    objects = np.array([{}], dtype=object)
    np.save(tmp_path / "o.npy", objects, allow_pickle=True)
    for path, options, message in (
        ("x.npz", {}, "tables.items: .* has no array 'items'; it has rows"),
        ("x.npz", {"items": "rows", "past": "p"}, "tables.past: .* has no array 'p'; it has rows"),
        ("x.npy", {}, "x.npy: is no file of arrays"),
        ("o.npy", {}, "o.npy: is no file of arrays: .*allow_pickle"),
        ("none.npy", {}, "none.npy: no such file"),
    ):
        with pytest.raises((ModelError, OptionError), match=message):
            read(tmp_path / path, ids=ids, **options)
    with pytest.raises(OptionError, match=r"tables\.ids: expected a file with an id per row"):
        read(tmp_path / "x.npz", items="rows")
    with pytest.raises(ModelError, match=r"nope\.txt: expected ids, one per row"):
        read(tmp_path / "x.npz", items="rows", ids=str(tmp_path / "nope.txt"))
    with pytest.raises(OptionError, match="pooling"):
        Host.installed().importer("tables", pooling="max")
    with pytest.raises(UnknownNameError, match="importer 'caffe'"):
        Host.installed().importer("caffe")
