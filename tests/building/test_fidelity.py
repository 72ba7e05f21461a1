"""Builds without interactions: bundles are compared with the uncompressed model's lists."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import edgerec
from edgerec.building.build import build
from edgerec.building.fidelity import (
    ENOUGH,
    Synthetic,
    apart,
    judged_by,
    kept_of,
    learnable,
    synthetic,
)
from edgerec.building.recipe import Recipe
from edgerec.building.search.chains import Tried, by_preference
from edgerec.building.search.plan import plan
from edgerec.building.search.sampler import search_spaces
from edgerec.building.search.sweep import sweep
from edgerec.contracts.host import Host
from edgerec.data.dataset import Dataset
from edgerec.data.quality import evaluate, evaluation_users
from edgerec.data.ranking import rank
from edgerec.errors import BudgetError, CompressError, OptionError
from edgerec.model.codecs import Int4
from edgerec.model.device_model import DeviceModel
from edgerec.testing import adverse_models
from tests.conftest import make_dataset
from tests.rigs.compressors import Drop, Narrow, Slow
from tests.rigs.plans import QUICK, device, size_of


@pytest.fixture(scope="module")
def tables() -> DeviceModel:
    rows = np.random.default_rng(0).normal(size=(200, 16))
    return edgerec.from_embeddings(range(200), rows, popular=[str(n) for n in range(40)])


def test_histories_are_random_and_the_same_for_a_seed(tables: DeviceModel) -> None:
    one, same, other = (synthetic(tables, 60, seed) for seed in (0, 0, 1))
    assert one.train.digest == same.train.digest != other.train.digest
    lengths = np.diff(one.train.indptr)
    assert len(lengths) == len(one.users) == 60
    assert 1 <= lengths.min() < 5 < 15 < lengths.max() <= 50
    assert all(len(set(past.tolist())) == len(past) for past in one.train.lists())
    short = synthetic(tables.replace(history_length=3), 60)
    assert np.diff(short.train.indptr).max() == 3
    assert one.on_valid() is one
    assert len(synthetic(tables).users) == 1000


def test_popular_items_are_drawn_more_often(tables: DeviceModel) -> None:
    counts = synthetic(tables, 1000).train.counts(200)
    assert counts[0] > counts[3] > counts[20] > counts[40:].mean()
    # The items that are not listed as popular are all alike.
    assert counts[40:].min() > 0
    assert counts[40:120].mean() == pytest.approx(counts[120:].mean(), rel=0.15)
    # By Zipf's law, every sixth draw is item 0.
    assert 0.75 < counts[0] / 1000 < 1
    alike = synthetic(tables.replace(popular=np.zeros(0, np.int32)), 1000).train.counts(200)
    assert alike[:40].mean() == pytest.approx(alike[40:].mean(), rel=0.1)
    whole = tables.replace(popular=np.arange(200, dtype=np.int32)[::-1].copy())
    counts = synthetic(whole, 1000).train.counts(200)
    assert counts[199] > counts[190] > counts[:100].mean()
    assert counts.min() > 0


def test_what_is_held_out_are_the_models_own_lists(tables: DeviceModel) -> None:
    data = synthetic(tables, 30)
    assert data.test is not None
    lists = rank(tables, dataclasses.replace(data, test=None), np.arange(30), 20)
    assert [own.tolist() for own in data.test.lists()] == lists.tolist()
    before = evaluate(tables, data)
    assert (before.recalls == 1).all()
    worse = evaluate(tables.with_codec(Int4()), data)
    kept = kept_of(worse, before, data)
    assert kept.quality == kept.overlap == pytest.approx(worse.kept(before)[1])
    assert kept.quality == pytest.approx(kept.values.mean())
    assert 0.5 < kept.quality < 1
    assert 0 < kept.half < 0.1
    assert learnable(data) is None


def test_with_data_quality_is_measured(model: DeviceModel, dataset: Dataset) -> None:
    before, after = (
        evaluate(model, dataset),
        evaluate(model.with_codec(Int4(), [model.head.table]), dataset),
    )
    kept = kept_of(after, before, dataset)
    assert (kept.quality, kept.overlap) == after.kept(before)
    assert kept.half == after.kept_interval(before).half
    assert kept.values is after.ndcgs
    part = learnable(dataset)
    assert part is not None
    assert part.train is dataset.train
    assert part.valid is part.test is None
    assert judged_by(model, dataset, device(min_quality=0.9), None, 0) is dataset


def test_past_items_may_be_others() -> None:
    herbs = adverse_models()["herbs"]
    data = synthetic(herbs.replace(popular=np.arange(300, dtype=np.int32)), 50)
    assert herbs.past is not None
    past = {data.items.ids[int(row)] for row in data.train.items}
    assert past <= set(herbs.past.ids)
    # Symptoms, and the tenth of past items that are herbs as well.
    assert {name[0] for name in past} == {"i", "s"}
    assert data.test is not None
    assert {data.items.ids[int(row)] for row in data.test.items} <= set(herbs.items.ids)
    assert len(data.items) == 300 + 120 - 12
    assert (evaluate(herbs, data).recalls == 1).all()


def test_what_cannot_be_judged_without_data(tables: DeviceModel, tmp_path: Path) -> None:
    message = "watch: budget.min_quality is 0.9, but without a data set quality is not measured"
    limited = device(min_quality=0.9)
    with pytest.raises(OptionError, match=message):
        plan(tables, None, limited, folder=tmp_path)
    with pytest.raises(OptionError, match=message):
        build(tables, None, Recipe(targets=("numpy",), device=limited), tmp_path)
    situated = adverse_models()["situated"]
    with pytest.raises(OptionError, match="reads user_vector and context, which random hist"):
        judged_by(situated, None, None, None, 0)
    with pytest.raises(OptionError, match="so its files cannot be judged"):
        sweep(situated, make_dataset().split_random(0.2), [device()], folder=tmp_path)
    path = edgerec.export(situated, "numpy", tmp_path / "x.edgerec").path
    with pytest.raises(OptionError, match="so its files cannot be judged"):
        edgerec.verify(path, device(), dataset=make_dataset().split_random(0.2), model=situated)
    weighted = judged_by(tables.replace(weighted=True), None, device(), 7, 0)
    assert isinstance(weighted, Synthetic)
    assert len(weighted.users) == 7
    for users in (None, 5000):
        assert len(judged_by(tables, None, None, users, 0).users) == 1000
    with pytest.raises(CompressError, match="pq: needs training interactions; pass the dataset"):
        build(tables, None, Recipe((("pq", {"bytes": 4}),), ("numpy",)), tmp_path)


def test_a_build_without_data(tables: DeviceModel, tmp_path: Path) -> None:
    recipe = Recipe((("quantize", {"codec": "int4"}),), ("numpy",), device())
    (made,) = build(tables, None, recipe, tmp_path, users=100, seed=3)
    found = made.to_json()
    assert not {"quality", "ndcg", "recall"} & found.keys()
    assert found["histories"] == 100
    data = synthetic(tables, 100, 3)
    small = edgerec.compress(tables, "quantize:codec=int4")
    expected = kept_of(evaluate(small, data), evaluate(tables, data), data).overlap
    assert found["overlap"] == made.overlap == pytest.approx(expected, abs=0.002)
    assert found["overlap"] < 0.99
    (other,) = build(tables, None, dataclasses.replace(recipe, device=None), tmp_path, users=100)
    assert other.overlap is not None
    tight = dataclasses.replace(recipe, device=device(max_bundle_bytes=5000))
    with pytest.raises(BudgetError, match=r"budget\.max_bundle_bytes: measured"):
        build(tables, None, tight, tmp_path, users=100)


def test_figures_of_real_data_are_kept(
    model: DeviceModel, dataset: Dataset, tmp_path: Path
) -> None:
    (made,) = build(model, dataset, Recipe(targets=("numpy",)), tmp_path, users=30)
    assert made.overlap is None
    assert made.to_json() == made.figures.to_json()
    assert made.to_json()["quality"] == pytest.approx(1)
    assert apart(made.figures, dataset) == (made.figures, None)


#: Options of a quick search without data.
FAST: dict[str, Any] = {**QUICK, "trials": 6}


def test_the_smallest_that_keeps_the_lists_is_built(
    offer: Callable[..., None], tables: DeviceModel, tmp_path: Path
) -> None:
    """Also of a model that knows what it was trained on, which is not asked for."""
    offer(Narrow, Slow)
    model = tables.replace(metadata={"trained_on": "0123456789abcdef"})
    found = plan(model, None, device(), folder=tmp_path, **FAST | {"users": 400})
    overlaps = {t.label: t.quality for t in found.tried}
    assert overlaps["uncompressed"] == 1
    by_label = {t.label: t for t in found.tried}
    # It is beyond the noise of the best, but keeps more than 95 %; int4 keeps less.
    close, coarse = (by_label[f"narrow:codec={codec}"] for codec in ("int8", "int4"))
    assert ENOUGH < (close.quality or 0) < 1 - (close.half or 0)
    assert (coarse.quality or 0) < ENOUGH
    assert found.chosen == close
    assert all(t.quality == t.overlap for t in found.tried)
    # What trains is not offered, and nothing learns from random histories.
    assert {label.split(":")[0] for label in overlaps} == {"uncompressed", "narrow"}
    assert [context.dataset for _, context in Narrow.runs] == [None] * len(Narrow.runs)
    report = json.loads(found.report.read_text())
    assert report["validation"].startswith("quality was not measured, because there is no data")
    assert list(report["uncompressed"]) == ["table_bytes"]
    (bundle,) = report["bundles"]
    assert bundle["overlap"] == pytest.approx(found.chosen.quality, abs=0.01)
    assert "quality" not in bundle
    page = (tmp_path / "pareto.html").read_text()
    assert "top-20 overlap (random histories)" in page
    assert "NDCG" not in page


def test_the_closest_is_built_if_none_keeps_the_lists(
    offer: Callable[..., None], model: DeviceModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer(Narrow)
    monkeypatch.setattr("edgerec.building.search.choice.ENOUGH", 1.1)
    limit = size_of(model, "int8") + 100
    found = plan(model, None, device(max_bundle_bytes=limit), folder=tmp_path, **FAST)
    assert found.chosen.label == "narrow:codec=int8"
    assert found.built[0].figures.bundle_bytes <= limit


def test_with_data_the_report_is_about_quality(
    offer: Callable[..., None], model: DeviceModel, dataset: Dataset, tmp_path: Path
) -> None:
    offer(Narrow, Slow)
    found = plan(model, dataset, device(), folder=tmp_path, **FAST)
    report = json.loads(found.report.read_text())
    assert report["validation"].startswith("quality in trials is the share of NDCG@20 kept")
    assert report["uncompressed"]["ndcg_validation"] > 0
    assert "NDCG@20 kept (validation)" in (tmp_path / "pareto.html").read_text()
    assert any("slow" in t.label for t in found.tried)
    part = dataset.on_valid()
    before = evaluate(model, part, users=evaluation_users(part, 60, 0))
    (plain,) = (t for t in found.tried if not t.chain)
    assert plain.ndcgs == pytest.approx(before.ndcgs, abs=1e-4)


def test_with_data_nothing_but_noise_counts_as_the_best(
    offer: Callable[..., None],
    model: DeviceModel,
    dataset: Dataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    offer(Drop)
    monkeypatch.setattr("edgerec.building.search.choice.ENOUGH", 0.01)
    found = plan(model, dataset, device(), folder=tmp_path, **FAST)
    smallest = min(found.tried, key=lambda t: t.bundle_bytes or 0)
    assert smallest.label == "drop:share=0.5"
    assert found.chosen.label != smallest.label


def test_what_a_search_without_data_tries(
    offer: Callable[..., None], model: DeviceModel, tmp_path: Path
) -> None:
    host = Host.installed()
    spaces = search_spaces(host, learns=False)
    assert spaces["lowrank"] == {"rank": (16, 32, 48), "epochs": (0,)}
    assert spaces["quantize"] == search_spaces(host)["quantize"]
    assert "pq" in search_spaces(host)
    assert "pq" not in spaces
    offer(Narrow)
    # Each option of a compressor goes before what a sampler prefers.
    found = plan(model, None, device(), folder=tmp_path, **FAST | {"trials": 4})
    assert found.tried[0].label == "uncompressed"
    assert {t.label for t in found.tried[1:]} == {
        f"narrow:codec={codec}" for codec in ("fp16", "int8", "int4")
    }
    # Also where there are more chains than trials.
    offer(Narrow, Drop)
    found = plan(model, None, device(), folder=tmp_path, **FAST)
    assert len(found.tried) == 6
    assert all(len(t.chain) < 2 for t in found.tried)
    offer(Slow)
    with pytest.raises(OptionError, match="offers a search space that needs no interactions"):
        plan(model, None, device(), folder=tmp_path, **FAST)
    offer(Drop, Slow)
    assert list(search_spaces(host, learns=False)) == ["drop"]


def test_enough_is_as_good_as_the_best() -> None:
    values = {
        "a": (100, [1.0] * 9),
        "b": (60, [0.96] * 9),
        "c": (50, [0.95] * 9),
        "d": (9, [0.9] * 9),
    }
    chains = [
        Tried(n, ((name, {}),), size, quality=q[0], ndcgs=q)
        for n, (name, (size, q)) in enumerate(values.items())
    ]
    assert [t.label for t in by_preference(chains)] == ["a", "b", "c", "d"]
    assert [t.label for t in by_preference(chains, 0.95)] == ["c", "b", "a", "d"]
