"""Models whose past items are others than those that they recommend."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from edgerec.compression.chain import compress
from edgerec.contracts.bundle import Bundle
from edgerec.contracts.opening import load_model
from edgerec.data.dataset import Dataset
from edgerec.data.interactions import Interactions
from edgerec.data.ranking import rank
from edgerec.device.scorer import Scorer
from edgerec.device.vectors import replay
from edgerec.errors import BundleError, CompressError, ModelError
from edgerec.exporting.export import export
from edgerec.model.device_model import DeviceModel, Head
from edgerec.model.items import Items
from edgerec.model.model_file import save_model
from edgerec.model.oracle import Oracle
from edgerec.testing.models import adverse_models
from tests.fuzz.corpus import Seed, assemble

TARGETS = pytest.mark.parametrize("target", ["numpy", "onnx", "tflite", "torchscript"])


@pytest.fixture(scope="module")
def herbs() -> DeviceModel:
    """A model of 120 past items and 300 candidates; past item 10 is candidate 289, and so on."""
    return adverse_models()["herbs"]


def best(model: DeviceModel, rows: list[int], without: list[int]) -> list[str]:
    oracle = Oracle(model)
    history, weights = oracle.pad(np.array(rows))
    logits = oracle.logits(oracle.encode(history[None], weights[None]))[0]
    logits[without] = -np.inf
    return [model.items.ids[int(row)] for row in np.argsort(-logits)]


@TARGETS
def test_histories_are_of_past_items(target: str, herbs: DeviceModel, tmp_path: Path) -> None:
    scorer = Scorer(export(herbs, target, tmp_path / "x.edgerec", top_k=20), trust=True)
    assert replay(scorer) == []
    # A candidate that is not a past item says nothing, and is not recommended.
    found = scorer.recommend(["symptom 3", "i00289", "i00000", "nope"], 20)
    assert found.unknown == ["i00000", "nope"]
    assert [one.id for one in found] == best(herbs, [3, 10], [289, 0])[:20]
    found = scorer.recommend(["symptom 3"], 20, exclude=["i00007"])
    assert [one.id for one in found] == best(herbs, [3], [7])[:20]
    long = [herbs.history_items.ids[row] for row in range(60)]
    seen = [299 - row for row in range(0, 60, 10)]
    found = scorer.recommend(long, 20)
    assert found.truncated == 30
    assert [one.id for one in found] == best(herbs, list(range(60)), seen)[:20]


@TARGETS
def test_none_of_them_may_be_a_candidate(target: str, tmp_path: Path) -> None:
    model = adverse_models()["herbs"]
    ids = Items.of(f"symptom {row}" for row in range(120))
    model = model.replace(past=ids)
    assert not model.leaves_out_seen
    scorer = Scorer(export(model, target, tmp_path / "x.edgerec", top_k=20), trust=True)
    found = scorer.recommend(["symptom 3", "symptom 10"], 20)
    assert [one.id for one in found] == best(model, [3, 10], [])[:20]


def test_files(herbs: DeviceModel, tmp_path: Path) -> None:
    save_model(herbs, tmp_path / "x.model")
    again = load_model(tmp_path / "x.model")
    assert again.past is not None
    assert herbs.past is not None
    assert list(again.past.ids) == list(herbs.past.ids)
    path = export(herbs, "numpy", tmp_path / "x.edgerec").path
    bundle = Bundle.open(path)
    assert list(bundle.past.ids) == list(herbs.past.ids)
    bundle.unpack(tmp_path / "app")
    described = json.loads((tmp_path / "app" / "edgerec.json").read_text("utf-8"))
    assert described["past_ids"] == list(herbs.past.ids)
    # Without past items of their own, the tables do not fit.
    seed = Seed.of("", path)
    sections = {name: part for name, part in seed.sections.items() if not name.startswith("past/")}
    path.write_bytes(assemble(seed.kind, seed.meta, sections))
    with pytest.raises(BundleError, match="past: 120 rows for 300 items"):
        Scorer.open(path)


def test_parts_that_do_not_fit(herbs: DeviceModel, models: dict[str, DeviceModel]) -> None:
    past = herbs.past
    with pytest.raises(ModelError, match="past: 120 rows for 300 items"):
        herbs.replace(past=None)
    with pytest.raises(ModelError, match="table 'items' cannot have rows of both past items and"):
        models["sum"].replace(past=past)
    with pytest.raises(ModelError, match="past: expected Items or None, got list"):
        herbs.replace(past=["a"])
    with pytest.raises(ModelError, match="items: 300 rows for 120 items"):
        herbs.replace(items=past, head=Head("items"), popular=np.zeros(0, np.int32))


def test_compressing(herbs: DeviceModel, dataset: Dataset, tmp_path: Path) -> None:
    small = compress(herbs, "lowrank:rank=8", "quantize:codec=int8")
    assert small.table_bytes < herbs.table_bytes / 4
    export(small, "onnx", tmp_path / "x.edgerec", top_k=20)
    fewer = compress(herbs, "prune:structure=items,share=0.5,importance=magnitude")
    assert (len(fewer.items), len(fewer.history_items)) == (150, 120)
    export(fewer, "numpy", tmp_path / "y.edgerec", top_k=20)
    for step, message in (
        ("pq", "it orders the rows of one catalogue"),
        ("distill:width=8", "so none of them can be left out"),
        ("quantize:codec=int4,epochs=1", "past items are others than those to recommend"),
        ("prune:share=0.5,importance=fisher", "past items are others than those to recommend"),
    ):
        with pytest.raises((CompressError, ModelError), match=message):
            compress(herbs, step, dataset=dataset)


def test_evaluation(herbs: DeviceModel) -> None:
    assert herbs.past is not None
    names = [*herbs.past.ids, *(i for i in herbs.items.ids if i not in herbs.past.rows)]
    rows = {name: row for row, name in enumerate(names)}
    users, items = [0, 0, 1, 1], [3, 10, 5, rows["i00200"]]
    data = Dataset("clinic", ["u", "v"], Items.of(names), Interactions.of_pairs(users, items, 2))
    lists = rank(herbs, data, np.arange(2), 5)
    assert [names[row] for row in lists[0]] == best(herbs, [3, 10], [289])[:5]
    assert [names[row] for row in lists[1]] == best(herbs, [5], [200])[:5]
