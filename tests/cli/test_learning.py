"""The commands that train, tune and evaluate."""

from __future__ import annotations

import dataclasses
import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from edgerec.cli.learning import train as train_command
from edgerec.cli.progress import progress_bar
from edgerec.compression.chain import same_content
from edgerec.contracts.opening import load_model
from edgerec.data.dataset import Dataset
from edgerec.data.dataset_file import load_dataset, save_dataset
from edgerec.data.quality import evaluate
from edgerec.exporting.export import export
from edgerec.training.options import TrainOptions
from edgerec.training.trained import load_trained
from tests.cli.test_cli import edgerec, fails


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, dataset: Dataset) -> Path:
    folder = tmp_path_factory.mktemp("learning")
    save_dataset(dataset, folder / "d.dataset")
    save_dataset(dataclasses.replace(dataset, valid=None), folder / "no-valid.dataset")
    train = ("train", "d.dataset", "--epochs", "3", "--dim", "8", "--tilt", "0.1", "-o", "m.model")
    done = edgerec(*train, cwd=folder)
    assert done.returncode == 0, done.stderr
    lines = done.stderr.splitlines()
    assert len([line for line in lines if re.match(r"training: \d of 3, \d+ s: loss", line)]) == 3
    assert re.search(r"test: Recall@20 0\.\d+ ± 0\.\d+  NDCG@20", done.stdout)
    return folder


def test_every_option_of_training_has_a_flag() -> None:
    flags = train_command.__signature__.parameters  # type: ignore[attr-defined]  # see flags_of
    assert {field.name for field in dataclasses.fields(TrainOptions)} <= set(flags)
    shown = edgerec("train", "--help").stdout
    assert "--learning-rate" in shown
    assert "0.15 by" in shown  # the default of the temperature


def test_flags_reach_the_training(folder: Path) -> None:
    options = load_model(folder / "m.model").metadata["training"]
    assert (options["epochs"], options["dim"], options["tilt"]) == (3, 8, 0.1)
    (folder / "o.toml").write_text('model = "lightgcn"\nepochs = 2\ndim = 4\nlearning_rate = 1\n')
    train = ("train", "d.dataset", "--options", "o.toml", "--dim", "6", "-o", "o.model")
    assert edgerec(*train, cwd=folder).returncode == 0
    options = load_model(folder / "o.model").metadata["training"]
    found = [options[name] for name in ("model", "epochs", "dim", "learning_rate")]
    assert found == ["lightgcn", 2, 6, 1.0]
    (folder / "bad.toml").write_text("epoch = 2\n")
    fails(
        folder,
        "bad.toml: unknown option epoch; options: model, dim",
        *("train", "d.dataset", "--options", "bad.toml", "-o", "x.model"),
    )
    fails(
        folder,
        "has no validation interactions to choose by",
        *("train", "no-valid.dataset", "--patience", "1", "-o", "x.model"),
    )


def test_a_family_with_its_options_and_its_network(folder: Path, dataset: Dataset) -> None:
    train = ("train", "d.dataset", "--model", "lightgcn:layers=2", "--epochs", "1", "--dim", "6")
    done = edgerec(*train, "--save-gnn", "x.gnn", "-o", "x.model", cwd=folder)
    assert done.returncode == 0, done.stderr
    model = load_model(folder / "x.model")
    assert model.metadata["training"]["model"] == "lightgcn:layers=2"
    loaded = load_trained(folder / "x.gnn", dataset)
    assert loaded.gnn.layers == 2
    assert same_content(loaded.to_device_model(), model)
    mistakes = {
        "--save-gnn: y.model is also --out": ("--save-gnn", "y.model"),
        "--save-gnn: d.dataset is also an input": ("--save-gnn", "d.dataset"),
        "layers: is also given in the model": ("--layers", "3"),
        "tied: lightgcn has no such option": ("--tied",),
    }
    for message, arguments in mistakes.items():
        fails(folder, message, *train, *arguments, "-o", "y.model")
    # Names are looked up before data are read, or a study is begun.
    fails(folder, "unknown family 'gate'", "train", "none.csv", "--model", "gate", "-o", "y.model")
    tune = ("tune", "--data", "d.dataset", "--model", "gate", "-o", "y.toml")
    fails(folder, "unknown family 'gate'; known: gat, graphsage", *tune)
    assert not (folder / "y.toml.study").exists()


def test_a_family_that_reads_side_edges(tmp_path: Path, dataset: Dataset) -> None:
    pairs = zip(dataset.histories.users.tolist(), dataset.histories.items.tolist(), strict=True)
    lines = [f"{dataset.users[user]}\t{dataset.items.ids[item]}" for user, item in pairs]
    (tmp_path / "x.tsv").write_text("user\titem\n" + "\n".join(lines) + "\n")
    (tmp_path / "facts.tsv").write_text("i001\tof\tx\ni002\tof\tx\nnone\tof\ty\n")
    (tmp_path / "friends.tsv").write_text("u001\tu002\n")
    side = ("--triples", "facts.tsv", "--friends", "friends.tsv")
    done = edgerec("data", "x.tsv", *side, "--split", "random", "-o", "d.dataset", cwd=tmp_path)
    assert "1 facts about other items dropped" in done.stdout, done.stderr
    train = ("train", "d.dataset", "--epochs", "2", "--dim", "8", "--patience", "1")
    for model in ("knowledge:layers=1,heads=2", "social:weight=0.5", "pinsage:neighbors=3"):
        own = ("--save-user-vectors", "rows.npy") if model.startswith("social") else ()
        saved = ("--save-gnn", "x.gnn", "-o", "x.model")
        done = edgerec(*train, "--model", model, *own, *saved, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert "test: Recall@20" in done.stdout
        loaded = load_trained(tmp_path / "x.gnn", load_dataset(tmp_path / "d.dataset"))
        assert same_content(loaded.to_device_model(), load_model(tmp_path / "x.model"))
        if own:
            edgerec("train", "d.dataset", "--dim", "8", "-o", "alone.model", cwd=tmp_path)
            taught = ("--teacher", "x.model", "--teacher-vectors", "rows.npy", "-o", "taught.model")
            done = edgerec("train", "d.dataset", "--dim", "8", *taught, cwd=tmp_path)
            assert done.returncode == 0, done.stderr
            alone, learned = (load_model(tmp_path / f"{x}.model") for x in ("alone", "taught"))
            assert learned.inputs == {}
            assert not same_content(alone, learned)
    row = ("user-vector", "rows.npy", "u001", "--data", "d.dataset", "-o", "u001.user")
    assert edgerec(*row, cwd=tmp_path).returncode == 0
    assert np.load(tmp_path / "rows.npy")[1].any()
    mistakes = {
        "--save-user-vectors: lightgcn recommends from histories alone": ("--save-user-vectors",),
        "--save-user-vectors: y.npy is also --save-gnn": (
            "--save-gnn",
            "y.npy",
            "--save-user-vectors",
        ),
    }
    for message, arguments in mistakes.items():
        fails(
            tmp_path, message, *train, "--model", "lightgcn", *arguments, "y.npy", "-o", "y.model"
        )
    fails(
        tmp_path,
        "teacher_vectors: has no effect without a teacher",
        *(*train, "--teacher-vectors", "rows.npy", "-o", "y.model"),
    )
    before = (tmp_path / "rows.npy").read_bytes()
    for flag in ("--save-user-vectors", "-o"):
        fails(
            tmp_path,
            "rows.npy is also an input",
            *(*train, "--model", "lightgcn", "--teacher", "x.model"),
            *("--teacher-vectors", "rows.npy", *(() if flag == "-o" else ("-o", "y.model"))),
            *(flag, "rows.npy"),
        )
    assert (tmp_path / "rows.npy").read_bytes() == before
    assert not (tmp_path / "y.npy").exists()


def test_models_keep_their_quality(folder: Path, dataset: Dataset) -> None:
    model = load_model(folder / "m.model")
    kept = model.metadata["quality"]
    assert kept["test"]["ndcg"] == pytest.approx(evaluate(model, dataset).ndcg)
    assert kept["valid"]["ndcg"] == pytest.approx(evaluate(model, dataset.on_valid()).ndcg)
    assert 0 < kept["test"]["ndcg_half"] < 0.2
    assert kept["test"]["users"] == 120


def test_evaluate(folder: Path, dataset: Dataset) -> None:
    model = load_model(folder / "m.model")
    export(model, "numpy", folder / "m.edgerec", top_k=15)
    expected = evaluate(model, dataset, k=10).summary()
    for file in ("m.model", "m.edgerec"):
        evaluation = ("evaluate", file, "--data", "d.dataset", "-k", "10")
        found = json.loads(edgerec(*evaluation, "--json", cwd=folder).stdout)
        assert found == pytest.approx(expected)
        shown = edgerec(*evaluation, cwd=folder).stdout
        assert f"NDCG@10      {expected['ndcg']:.4f} ± {expected['ndcg_half']:.4f}" in shown
    valid = ("evaluate", "m.model", "--data", "d.dataset", "--on", "valid", "--json")
    found = json.loads(edgerec(*valid, cwd=folder).stdout)
    assert found["ndcg"] == pytest.approx(evaluate(model, dataset.on_valid()).ndcg)


@pytest.mark.parametrize(
    ("message", "arguments"),
    [
        ("k: m.edgerec recommends at most 15 items, got 16", ("m.edgerec", "-k", "16")),
        ("runtime: m.model is a model, which has no runtime", ("m.model", "--runtime", "numpy")),
        ("--on: expected test or valid, got 'train'", ("m.model", "--on", "train")),
        ("d.dataset: expected a bundle, got a dataset", ("d.dataset",)),
        ("none.model: no such file", ("none.model",)),
    ],
)
def test_what_evaluate_refuses(folder: Path, message: str, arguments: tuple[str, ...]) -> None:
    export(load_model(folder / "m.model"), "numpy", folder / "m.edgerec", top_k=15)
    fails(folder, message, "evaluate", *arguments, "--data", "d.dataset")


def test_tune(folder: Path) -> None:
    tune = ("tune", "--data", "d.dataset", "--dim", "8", "--trials", "2", "-o", "t.toml")
    done = edgerec(*tune, cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "NDCG@20 on validation: 0." in done.stdout
    assert "tuning: 1 of 2" in done.stderr
    train = ("train", "d.dataset", "--options", "t.toml", "-o", "t.model")
    assert edgerec(*train, cwd=folder).returncode == 0
    assert load_model(folder / "t.model").metadata["training"]["dim"] == 8
    # What has been tried is not tried again.
    again = edgerec(*tune, cwd=folder)
    assert "epoch" not in again.stderr
    fails(folder, "--out: expected a file name that ends in .toml", *tune[:-1], "t.json")


def test_progress_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar("training", Console(file=sys.stdout)) as progress:
        for epoch in range(3):
            progress(epoch, 3, "a step")
            progress(epoch, 3, "another step of the same epoch")
    lines = capsys.readouterr().out.splitlines()
    assert lines == [f"training: {epoch} of 3, 0 s: a step" for epoch in range(3)]
