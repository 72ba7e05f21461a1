"""Item features on the command line: read, learned from, and new items added."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from edgerec.cli import app
from edgerec.contracts.opening import load_model
from edgerec.data.dataset import Dataset
from edgerec.data.dataset_file import load_dataset
from edgerec.errors import DataError, OptionError

runner = CliRunner()


@pytest.fixture
def folder(dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Interactions and features in files, in the current folder."""
    monkeypatch.chdir(tmp_path)
    pairs = zip(dataset.train.users, dataset.train.items, strict=True)
    lines = [f"{dataset.users[u]},{dataset.items.ids[i]}" for u, i in pairs]
    Path("pairs.csv").write_text("user,item\n" + "\n".join(lines) + "\n")
    kinds = [title.split()[-1] for title in dataset.items.titles or ()]
    rows = [{"item": i, "kind": [k]} for i, k in zip(dataset.items.ids, kinds, strict=True)]
    Path("items.jsonl").write_text("\n".join(map(json.dumps, rows)))
    Path("new.csv").write_text("item,kind\nx,0\ny,1|2\n")
    return tmp_path


def call(*arguments: str) -> str:
    """Run a command, which has to succeed."""
    result = runner.invoke(app, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


READ = ("data", "pairs.csv", "--item-features", "items.jsonl", "--feature-columns")


def test_a_catalogue_grows(folder: Path) -> None:
    call(*READ, "kind=categories", "--split", "random", "-o", "d.dataset")
    features = load_dataset("d.dataset").item_features
    assert features is not None
    assert features.kinds == [["kind", "categories"]]
    call("train", "d.dataset", "--features", "kind", "--epochs", "1", "--dim", "8", "-o", "m.model")
    assert load_model("m.model").metadata["training"]["features"] == "kind"
    grow = ("--data", "d.dataset", "--features", "new.csv", "--feature-columns", "kind=categories")
    said = call("add-items", "m.model", *grow, "-o", "n.model")
    before, after = load_model("m.model"), load_model("n.model")
    assert f"{len(after.items)} items, 2 of them new" in said
    assert list(after.items.ids) == [*before.items.ids, "x", "y"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("data", "pairs.csv", "--item-features", "items.jsonl"), "pass both or neither"),
        (("data", "pairs.csv", "--feature-columns", "kind=text"), "pass both or neither"),
        ((*READ, "kind"), "expected different names with a kind each"),
        ((*READ, "colour=categories"), "no column 'colour'; columns: item, kind"),
    ],
)
def test_what_is_refused(arguments: tuple[str, ...], message: str, folder: Path) -> None:
    with pytest.raises((OptionError, DataError), match=message):
        runner.invoke(app, [*arguments, "-o", "d.dataset"], catch_exceptions=False)
    assert not (folder / "d.dataset").exists()
