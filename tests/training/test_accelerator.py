"""Training on an accelerator: everything is there while it trains, and on the CPU afterwards.

The stand-in refuses operations on tensors of both devices, as a real one does. A real one is used
where there is one.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

import edgerec
from edgerec.cli import app
from edgerec.data.dataset import Dataset
from edgerec.data.dataset_file import save_dataset
from edgerec.data.quality import evaluate
from edgerec.errors import OptionError
from edgerec.model.device_model import DeviceModel
from edgerec.training.loop import train
from edgerec.training.trained import Trained
from tests.rigs.elsewhere import elsewhere

SMALL: dict[str, Any] = {"dim": 8, "epochs": 2, "history_length": 20}

REAL = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else ""


@contextlib.contextmanager
def away(name: str) -> Iterator[None]:
    with elsewhere() if name == "xpu" else contextlib.nullcontext(), edgerec.accelerator(name):
        yield


@pytest.fixture(
    params=["xpu", pytest.param(REAL, marks=pytest.mark.skipif(not REAL, reason="no accelerator"))]
)
def device(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def alike(there: Trained, here: Trained, dataset: Dataset) -> None:
    """Check that the network is on the CPU, and as good as the one that was trained there."""
    assert all(part.is_cpu for part in there.gnn.state_dict().values())
    found, wanted = (
        evaluate(one.to_device_model(), dataset, user_vectors=one.user_vectors).ndcg
        for one in (there, here)
    )
    assert found == pytest.approx(wanted, rel=0.05)


@pytest.mark.parametrize(
    "family",
    [
        "historygcn",
        "historygcn:tied=False",
        "lightgcn:user_embedding=True",
        "graphsage",
        "ngcf",
        "gat",
        "pinsage",
        "knowledge",
        "social",
    ],
)
def test_families(dataset: Dataset, family: str, device: str) -> None:
    here = train(dataset, model=family, **SMALL)
    seen = []

    def said(done: int, total: int, what: str) -> None:
        seen.append(torch.zeros(1).device.type)

    with away(device):
        there = train(dataset, model=family, progress=said, **SMALL)
    assert seen == [device, device]
    alike(there, here, dataset)


@pytest.mark.parametrize("family", ["lightgcn:user_embedding=True", "graphsage", "historygcn"])
def test_the_next_item(dataset: Dataset, family: str, device: str) -> None:
    options = {**SMALL, "model": family, "predict": "next", "recency": 1.0}
    here = train(dataset, **options)
    with away(device):
        there = train(dataset, **options)
        if there.user_vectors is None:
            edgerec.compress(there.to_device_model(), "distill:width=4,epochs=1", dataset=dataset)
    alike(there, here, dataset)


def test_a_teacher_stopping_and_resuming(dataset: Dataset, device: str, tmp_path: Path) -> None:
    teacher = train(dataset, dim=16, epochs=2).to_device_model()
    other = train(dataset, model="graphsage", dim=16, epochs=2).to_device_model()
    options = {**SMALL, "teacher": [teacher, other], "patience": 5, "epochs": 3}
    path = tmp_path / "state"

    class Stopped(Exception):
        pass

    def stop(done: int, total: int, what: str) -> None:
        raise Stopped

    with away(device):
        with pytest.raises(Stopped):
            train(dataset, checkpoint=path, progress=stop, **options)
        there = train(dataset, checkpoint=path, **options)
    alike(there, train(dataset, **options), dataset)


@pytest.mark.parametrize(
    "step",
    [
        "quantize:codec=int4,epochs=1",
        "pq:epochs=1",
        "pq:bytes=20,epochs=1,popular=0.2",
        "distill:width=4,epochs=1",
        "prune:share=0.3,importance=fisher,epochs=1",
    ],
)
@pytest.mark.parametrize("family", ["historygcn", "graphsage"])
def test_compressors(dataset: Dataset, family: str, step: str, device: str) -> None:
    model = train(dataset, model=family, **SMALL).to_device_model()
    here = edgerec.compress(model, step, dataset=dataset)
    with away(device):
        there = edgerec.compress(model, step, dataset=dataset)
    assert isinstance(there, DeviceModel)
    assert evaluate(there, dataset).ndcg == pytest.approx(evaluate(here, dataset).ndcg, rel=0.1)


def test_unknown_and_absent_devices() -> None:
    for name, reason in (("gpu", "Expected one of"), ("hpu", "")):
        with (
            pytest.raises(OptionError, match=f"accelerator: expected .* got {name!r} .*{reason}"),
            edgerec.accelerator(name),
        ):
            pass


def test_on_the_command_line(dataset: Dataset, tmp_path: Path) -> None:
    path = tmp_path / "some.dataset"
    save_dataset(dataset, path)
    model, run = str(tmp_path / "some.model"), CliRunner()
    training = ["train", str(path), "--dim", "8", "--epochs", "1", "-o", model]
    with elsewhere():
        assert run.invoke(app, ["--accelerator", "xpu", *training]).exit_code == 0
    wrong = run.invoke(app, ["--accelerator", "gpu", *training])
    assert "accelerator: expected a device" in str(wrong.exception)
    useless = run.invoke(app, ["--accelerator", "cpu", "inspect", model])
    assert "--accelerator: has no effect on inspect; it is for demo, train" in str(
        useless.exception
    )
