"""Building without interactions, on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from typer.testing import CliRunner

from edgerec.cli import app
from edgerec.data.dataset import Dataset
from edgerec.data.dataset_file import save_dataset
from edgerec.errors import DataError, OptionError
from edgerec.importing.embeddings import from_embeddings
from edgerec.model.model_file import save_model

DEVICE = '[device]\nname = "kiosk"\ntargets = ["numpy"]\n'


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, dataset: Dataset) -> Path:
    folder = tmp_path_factory.mktemp("no-quality")
    rows = np.random.default_rng(0).normal(size=(len(dataset.items), 16))
    save_model(from_embeddings(dataset.items.ids, rows), folder / "x.model")
    save_dataset(dataset, folder / "d.dataset")
    (folder / "kiosk.toml").write_text(DEVICE + "max_bundle_bytes = 6000\n")
    (folder / "good.toml").write_text(DEVICE + "min_quality = 0.9\n")
    return folder


def build(folder: Path, *more: object) -> Result:
    given = ("build", folder / "x.model", "-o", folder / "dist", *more)
    return CliRunner().invoke(app, [str(one) for one in given])


def test_a_chain(folder: Path) -> None:
    chain = ("--compress", "quantize:codec=int4", "--target", "numpy", "--no-quality")
    done = build(folder, *chain)
    assert done.exit_code == 0, done.output
    shown = " ".join(done.output.split())
    assert (
        "quality was not measured; overlap: of the top-20 lists for 1,000 random histories with "
        "those of the uncompressed model" in shown
    )
    assert "kept: NDCG@20" not in shown
    assert "Recall@20" not in shown
    assert "numpy.edgerec" in shown
    done = build(folder, *chain, "--users", 50, "--json")
    (found,) = json.loads(done.output[done.output.index("[") :])
    assert found["histories"] == 50
    assert 0.5 < found["overlap"] < 1
    assert "quality" not in found


def test_a_search(folder: Path) -> None:
    search = ("--device", folder / "kiosk.toml", "--no-quality", "--trials", 4, "--users", 50)
    done = build(folder, *search)
    assert done.exit_code == 0, done.output
    assert "quality was not measured" in " ".join(done.output.split())
    assert "50 random histories" in " ".join(done.output.split())
    assert (folder / "dist" / "numpy.edgerec").stat().st_size <= 6000


def test_with_data_quality_is_measured(folder: Path) -> None:
    done = build(folder, "--target", "numpy", "--data", folder / "d.dataset")
    shown = " ".join(done.output.split())
    assert "kept: NDCG@20 as a share of the uncompressed model's" in shown
    assert "100.0%" in shown
    assert "Recall@20" in shown
    assert "not measured;" not in shown


@pytest.mark.parametrize(
    ("message", "more"),
    [
        ("--data: is needed to measure quality; pass --no-quality", ()),
        ("--no-quality: is for models without interactions, so it takes no --data", ("both",)),
        ("kiosk: budget.min_quality is 0.9, but without a data set .* drop that", ("limit",)),
        ("unknown dataset 'films'", ("--data", "films")),
    ],
)
def test_what_is_refused(message: str, more: tuple[str, ...], folder: Path) -> None:
    forms = {
        ("both",): ("--no-quality", "--data", folder / "d.dataset"),
        ("limit",): ("--no-quality", "--device", folder / "good.toml"),
    }
    done = build(folder, *forms.get(more, more))
    assert done.exception is not None
    with pytest.raises((OptionError, DataError), match=message):
        raise done.exception
