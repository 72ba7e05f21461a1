"""The main job on real data: MovieLens-100K, every target, two families."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import edgerec
from edgerec.contracts.host import Host
from edgerec.data.dataset import Dataset
from edgerec.data.quality import evaluate
from edgerec.exporting.answers import Answers, measure_parity
from edgerec.model.device_model import DeviceModel

pytestmark = pytest.mark.network


@pytest.fixture(scope="module")
def films() -> Dataset:
    return edgerec.load("ml-100k").split_random(0.2)


@pytest.fixture(scope="module", params=["lightgcn", "graphsage"])
def model(films: Dataset, request: pytest.FixtureRequest) -> DeviceModel:
    model = edgerec.train(films, model=request.param, epochs=4).to_device_model()
    assert evaluate(model, films).ndcg > 0.3
    return edgerec.compress(model, "quantize:codec=int8")


@pytest.mark.parametrize("target", ["numpy", "tflite", "onnx", "torchscript"])
def test_every_test_history(
    target: str, model: DeviceModel, films: Dataset, tmp_path: Path
) -> None:
    bundle = edgerec.export(model, target, tmp_path / "x.edgerec", top_k=20)
    for runtime in Host.installed().target(target).runtimes():
        runner = Host.installed().target(target).load(bundle, runtime)
        parity = measure_parity(runner, Answers(model, list(films.train.lists()), 20))
        assert parity.overlap >= 0.999, (runtime, parity)
        assert parity.score_error <= 1e-4, (runtime, parity)


def test_the_data_set_is_the_published_one(films: Dataset) -> None:
    assert films.test is not None
    assert (len(films.users), len(films.items)) == (943, 1682)
    assert len(films.train) + len(films.test) == 100_000
    assert films.train.ratings is not None
    assert set(np.unique(films.train.ratings)) == {1, 2, 3, 4, 5}
    assert films.items.title(films.items.rows["50"]) == "Star Wars (1977)"


def test_training_narrow_tables_brings_the_order_back(films: Dataset) -> None:
    model = edgerec.train(films, epochs=4).to_device_model()
    before = evaluate(model, films)
    kept = [
        evaluate(edgerec.compress(model, f"lowrank:rank=8{options}", dataset=films), films)
        for options in ("", ",epochs=4")
    ]
    (ndcg, overlap), (ndcg_trained, overlap_trained) = (small.kept(before) for small in kept)
    assert ndcg_trained > ndcg + 0.01
    assert overlap_trained > overlap + 0.03
