"""The command that compares lists, and the reference of an import."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from click.testing import Result
from typer.testing import CliRunner

from edgerec.building.agree import agree
from edgerec.cli import app
from edgerec.contracts.opening import load_model
from edgerec.data.dataset import Dataset
from edgerec.data.dataset_file import save_dataset
from edgerec.errors import DataError, ModelError, OptionError
from edgerec.importing.embeddings import from_embeddings
from edgerec.model.codecs import Int4
from edgerec.model.model_file import save_model
from tests.building.test_agree import write

RNG = np.random.default_rng(0)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(one) for one in arguments])


def said(*arguments: object) -> str:
    done = run(*arguments)
    assert done.exit_code == 0, done.output
    return " ".join(done.output.split())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, dataset: Dataset) -> Path:
    """Two models, the lists of one of them, and the tables that it is imported from."""
    folder = tmp_path_factory.mktemp("agree")
    rows = RNG.normal(size=(len(dataset.items), 8)).astype(np.float32)
    model = from_embeddings(dataset.items.ids, rows, pooling="sqrt")
    np.savez(folder / "x.npz", items=rows, users=RNG.normal(size=(len(dataset.users), 8)))
    np.savez(folder / "shifted.npz", items=np.roll(rows, 1, 0))
    save_model(model, folder / "x.model")
    save_model(model.with_codec(Int4()), folder / "int4.model")
    save_dataset(dataset, folder / "d.dataset")
    write(folder / "lists.parquet", model, dataset)
    pl.read_parquet(folder / "lists.parquet").drop("score").write_csv(folder / "lists.csv")
    return folder


def test_the_figures(folder: Path, dataset: Dataset) -> None:
    data = ("--data", folder / "d.dataset")
    shown = said("agree", folder / "x.model", folder / "lists.parquet", *data)
    assert "top-20 overlap 1.0000 ± 0.0000 identical lists 100.0%" in shown
    assert "rank correlation 1 (Kendall's τ of items in both lists)" in shown
    assert "score difference" in shown
    assert "120 users; ± is the 95 % interval" in shown
    both = (folder / "x.model", folder / "int4.model")
    expected = agree(*both, dataset, top=5, users=40)
    assert expected.overlap.value < 1
    shown = said("agree", *both, *data, "--top", 5, "--users", 40)
    assert f"top-5 overlap {expected.overlap}" in shown
    assert f"identical lists {expected.identical:.1%}" in shown
    assert f"score difference {expected.score_difference:.4g} (greatest, as" in shown
    assert "40 users;" in shown
    found = json.loads(run("agree", *both, *data, "--top", 5, "--users", 40, "--json").output)
    assert found == pytest.approx(expected.summary())
    shown = said("agree", folder / "lists.csv", folder / "x.model", *data)
    assert "score difference not known" in shown
    pl.read_csv(folder / "lists.csv").filter(pl.col("user") < "u1").write_csv(folder / "few.csv")
    shown = said("agree", folder / "few.csv", folder / "x.model", *data)
    assert "100 users, 20 more have no list on one side; ±" in shown


def test_an_overlap_that_is_too_low(folder: Path) -> None:
    same = ("agree", folder / "x.model", folder / "lists.csv", "--data", folder / "d.dataset")
    assert run(*same, "--at-least", 1).exit_code == 0
    other = (*same[:2], folder / "int4.model", *same[3:])
    done = run(*other, "--at-least", 0.999)
    assert "top-20 overlap" in done.output
    assert isinstance(done.exception, DataError)
    message = str(done.exception)
    assert "x.model and " in message
    assert "their top-20 lists overlap by 0." in message
    assert message.endswith("which is less than --at-least 0.999")
    assert run(*other, "--at-least", 0.5).exit_code == 0


def importing(folder: Path, file: str, options: str, *more: object) -> Result:
    (folder / "out.model").unlink(missing_ok=True)
    given = (f"tables:{options}", folder / file, "-o", folder / "out.model")
    return run("import", *given, "--data", folder / "d.dataset", *more)


def test_an_import_is_compared_with_the_original(folder: Path) -> None:
    lists = ("--reference", folder / "lists.csv")
    assert importing(folder, "x.npz", "pooling=sqrt", *lists, "--at-least", 1).exit_code == 0
    done = importing(folder, "x.npz", "pooling=sqrt", *lists)
    assert done.exit_code == 0, done.output
    shown = " ".join(done.output.split())
    assert "overlap with the top-20 lists of" in shown
    assert "lists.csv: 1.0000 ± 0.0000 on 120 users" in shown
    noted = load_model(folder / "out.model").metadata
    assert noted["reference"] == {"overlap": 1.0, "users": 120}
    assert noted["imported"] == "x.npz"
    assert importing(folder, "x.npz", "pooling=sqrt").exit_code == 0
    assert "reference" not in load_model(folder / "out.model").metadata


def test_an_exact_import_that_is_not(folder: Path) -> None:
    lists = ("--reference", folder / "lists.csv")
    done = importing(folder, "shifted.npz", "pooling=sqrt", *lists)
    assert isinstance(done.exception, ModelError)
    message = str(done.exception)
    for part in (
        *("overlap with the top-20 lists of", "lists.csv: 0.", "on 120 users, expected at least"),
        *("at least 0.999; nothing was written", "shifted by one, such as by a row for padding"),
        *("normalization", "mean instead of sqrt or sum", "training mode", "training split"),
    ):
        assert part in message
    assert not (folder / "out.model").exists()
    assert (
        importing(folder, "shifted.npz", "pooling=sqrt", *lists, "--at-least", 0.1).exit_code == 0
    )
    noted = load_model(folder / "out.model").metadata["reference"]
    assert 0.1 < noted["overlap"] < 0.9
    assert noted["overlap"] == round(noted["overlap"], 4)


def test_user_rows_that_are_predicted_need_not_agree(folder: Path) -> None:
    lists = ("--reference", folder / "lists.csv")
    done = importing(folder, "x.npz", "users=users", *lists)
    assert done.exit_code == 0, done.output
    noted = load_model(folder / "out.model").metadata
    assert noted["reference"]["overlap"] < 0.999
    assert "fold_in" in noted
    # Unless a bound is given.
    done = importing(folder, "x.npz", "users=users", *lists, "--at-least", 0.999)
    assert isinstance(done.exception, ModelError)
    assert not (folder / "out.model").exists()


def test_what_a_reference_needs(folder: Path) -> None:
    given = ("import", "tables", folder / "x.npz", "-o", folder / "y.model")
    for more, message in (
        (("--reference", folder / "lists.csv"), "--reference: lists are compared .* as --data"),
        (("--at-least", 0.9, "--data", folder / "d.dataset"), "--at-least: applies to the overlap"),
    ):
        done = run(*given, *more)
        assert isinstance(done.exception, OptionError)
        with pytest.raises(OptionError, match=message):
            raise done.exception
    lists = ("--reference", folder / "x.model", "--data", folder / "d.dataset")
    done = run(*given[:-1], folder / "x.model", *lists)
    assert "is also an input" in str(done.exception)
