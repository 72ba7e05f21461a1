"""The context of users on the command line: read, trained with, built, and passed to a bundle."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

import edgerec
from edgerec.cli import app
from edgerec.contracts.bundle import DESCRIPTION
from edgerec.data.dataset import Dataset
from edgerec.errors import OptionError
from edgerec.testing import example_models

runner = CliRunner()


def call(*arguments: str) -> str:
    """Run a command, which has to succeed."""
    result = runner.invoke(app, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture(scope="module")
def folder(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set with users of two countries, a model that reads them, and its bundle."""
    folder = tmp_path_factory.mktemp("context")
    pairs = zip(dataset.train.users, dataset.train.items, strict=True)
    lines = [f"{dataset.users[u]},{dataset.items.ids[i]}" for u, i in pairs]
    (folder / "pairs.csv").write_text("user,item\n" + "\n".join(lines) + "\n")
    about = [
        f"{user},{20 + n % 50},{'DE' if n % 2 else 'FR'}" for n, user in enumerate(dataset.users)
    ]
    (folder / "users.csv").write_text("user,age,country\n" + "\n".join(about) + "\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        read = ("--user-features", "users.csv", "--user-feature-columns")
        columns = "age=numbers,country=categories"
        call("data", "pairs.csv", *read, columns, "--split", "random", "-o", "d.dataset")
        learn = ("--context", "age,country", "--epochs", "1", "--dim", "8", "-o", "m.model")
        call("train", "d.dataset", *learn)
        chain = ("--compress", "quantize:codec=int8", "--target", "numpy", "-o", "dist")
        call("build", "m.model", "--data", "d.dataset", *chain)
    return folder


@pytest.fixture(autouse=True)
def inside(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Be in the folder."""
    monkeypatch.chdir(folder)


BUNDLE = "dist/numpy.edgerec"


def test_a_bundle_is_told_what_is_known(dataset: Dataset) -> None:
    past = ("score", BUNDLE, "--json", "-k", "5", "--history", dataset.items.ids[3], "--context")
    lists = [call(*past, known) for known in ("", "age=30,country=DE", "age=70,country=FR")]
    assert len({*lists}) > 1
    assert all(len(json.loads(one)) == 5 for one in lists)


def test_files_are_measured_and_compared_with_it() -> None:
    ours = call("evaluate", "m.model", "--data", "d.dataset")
    built = call("evaluate", BUNDLE, "--data", "d.dataset")
    assert ours.split("NDCG@20")[1][:5] == built.split("NDCG@20")[1][:5]
    assert "overlap" in call("agree", "m.model", BUNDLE, "--data", "d.dataset")
    call("bench", BUNDLE, "--data", "d.dataset", "--model", "m.model", "--users", "20")


def test_an_app_finds_how_to_code_it() -> None:
    call("unpack", BUNDLE, "-o", "parts")
    described = json.loads((Path("parts") / DESCRIPTION).read_text("utf-8"))
    age, country = described["context"]
    assert country == {"name": "country", "labels": ["DE", "FR"]}
    assert age["name"] == "age"
    assert len(age["values"]) == len(age["ranks"])
    assert described["inputs"] == {"context": 3}


def test_a_context_without_names_is_numbers(tmp_path: Path) -> None:
    model = edgerec.load_model("m.model")
    plain = model.replace(metadata={})
    edgerec.export(plain, "numpy", tmp_path / "x.edgerec", top_k=5)
    known = model.items.ids[3]
    past = ("score", str(tmp_path / "x.edgerec"), "--json", "-k", "5", "--history", known)
    assert len(json.loads(call(*past, "--context", "0.5,1,0"))) == 5
    with pytest.raises(OptionError, match="has no names for what it reads; expected numbers"):
        call(*past, "--context", "age=31")
    edgerec.export(example_models()["sum"], "numpy", tmp_path / "y.edgerec", top_k=5)
    with pytest.raises(OptionError, match=r"y.edgerec reads none; leave it out"):
        call("score", str(tmp_path / "y.edgerec"), "--history", "1", "--context", "1")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("score", BUNDLE, "--history", "1"), "reads age, country; pass what is known, such as"),
        (("score", BUNDLE, "--history", "1", "--context", "age"), "different names with a value"),
        (("score", BUNDLE, "--history", "1", "--context", "mood=3"), "does not read mood"),
        (("data", "pairs.csv", "--user-features", "users.csv", "-o", "e.dataset"), "both or neith"),
        (
            ("train", "d.dataset", "--context", "mood", "-o", "n.model"),
            "knows no mood of its users",
        ),
    ],
)
def test_what_is_refused(arguments: tuple[str, ...], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        runner.invoke(app, list(arguments), catch_exceptions=False)
