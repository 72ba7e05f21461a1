"""The planner under a budget: what cannot fit never runs, and a refusal says what works."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from edgerec.building.search import trials
from edgerec.building.search.plan import plan
from edgerec.contracts.host import Host
from edgerec.data.dataset import Dataset
from edgerec.errors import BudgetError
from edgerec.model.device_model import DeviceModel
from tests.rigs.compressors import Drop, Narrow
from tests.rigs.plans import QUICK, device, size_of


def test_a_chain_that_cannot_fit_never_runs(
    offer: Callable[..., None], model: DeviceModel, dataset: Dataset, tmp_path: Path
) -> None:
    offer(Narrow)
    # The file's own header needs room too, which only the written file tells.
    limit = size_of(model, "int8") + 5000
    assert limit < size_of(model, "fp16")
    found = plan(model, dataset, device(max_bundle_bytes=limit), folder=tmp_path, trials=4, **QUICK)
    assert {t.label for t in found.tried} == {
        *("uncompressed", "narrow:codec=fp16", "narrow:codec=int8", "narrow:codec=int4")
    }
    assert {codec for codec, _ in Narrow.runs} == {"int8", "int4"}
    pruned = [t for t in found.tried if t.too_large]
    assert {t.label for t in pruned} == {"uncompressed", "narrow:codec=fp16"}
    assert all("max_bundle_bytes is" in (t.reason or "") for t in pruned)
    assert found.chosen.label == "narrow:codec=int8"
    assert found.built[0].figures.bundle_bytes <= limit


def test_a_step_that_makes_a_chain_too_large_is_not_run(
    offer: Callable[..., None], model: DeviceModel, dataset: Dataset, tmp_path: Path
) -> None:
    offer(Narrow, Drop)
    runner = trials.Search(
        model, dataset, device(max_bundle_bytes=1000), (), 60, 0, Host.installed()
    )
    chain = (("drop", {"share": 0.2}), ("narrow", {"codec": "int8"}))
    tried = trials.try_chain(0, chain, runner)
    assert tried.too_large
    assert len(Drop.runs) == 1
    assert Narrow.runs == []
    assert [s["compressor"] for s in tried.steps] == ["drop"]
    # What the first step gave is kept, so nothing at all runs the next time.
    trials.try_chain(1, (chain[0], ("narrow", {"codec": "fp16"})), runner)
    assert len(Drop.runs) == 1


def test_an_impossible_size(
    offer: Callable[..., None], model: DeviceModel, dataset: Dataset, tmp_path: Path
) -> None:
    offer(Narrow)
    budget = {"max_bundle_bytes": 1000, "min_quality": 0.9}
    with pytest.raises(BudgetError) as caught:
        plan(model, dataset, device(**budget), folder=tmp_path, trials=4, **QUICK)
    message = str(caught.value)
    assert f"takes at least {size_of(model, 'int4'):,}, the limit is 1,000" in message
    assert message.startswith(
        "watch: budget.max_bundle_bytes: the smallest chain of those tried, narrow:codec=i"
    )
    offered = re.search(r"Nearest budget that works: max_bundle_bytes = ([\d,]+) \(", message)
    assert offered is not None
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["error"] == message
    assert report["chosen"] is None
    assert not list(tmp_path.glob("*.edgerec"))
    # What the message offers does work.
    limit = int(offered[1].replace(",", ""))
    budget = {"max_bundle_bytes": limit, "min_quality": 0.9}
    found = plan(model, dataset, device(**budget), folder=tmp_path / "offered", trials=4, **QUICK)
    assert found.built[0].figures.bundle_bytes <= limit


def test_an_impossible_quality(
    offer: Callable[..., None], model: DeviceModel, dataset: Dataset, tmp_path: Path
) -> None:
    offer(Drop)
    limits = {"min_quality": 1.0, "max_bundle_bytes": size_of(model, "fp16")}
    with pytest.raises(BudgetError) as caught:
        plan(model, dataset, device(**limits), folder=tmp_path, trials=3, **QUICK)
    message = str(caught.value)
    assert "budget.min_quality: the best chain that fits, drop:share=0.5, keeps 0." in message
    assert re.search(r"min_quality = 0\.\d+.* \(drop:share=0.5, numpy\)", message)
    assert re.search(r"or max_bundle_bytes = [\d,]+ \(uncompressed, numpy\)", message)


def test_an_impossible_latency(
    offer: Callable[..., None], model: DeviceModel, dataset: Dataset, tmp_path: Path
) -> None:
    offer(Narrow)
    with pytest.raises(BudgetError) as caught:
        plan(model, dataset, device(max_p95_ms=1e-4), folder=tmp_path, trials=2, **QUICK)
    message = str(caught.value)
    assert "watch: 2 chains were built and none keeps the budget" in message
    assert re.search(r"numpy: budget.max_p95_ms: measured .*, the limit is 0.0001", message)
    assert re.search(r"Nearest budget that works: max_p95_ms = [\d.]+ \(", message)


def test_the_next_best_is_taken_when_a_file_breaks_the_budget(
    offer: Callable[..., None], model: DeviceModel, dataset: Dataset, tmp_path: Path
) -> None:
    offer(Narrow)
    # Tables of int8 fit, but not with the file's header.
    limit = size_of(model, "int8") + 10
    found = plan(model, dataset, device(max_bundle_bytes=limit), folder=tmp_path, trials=4, **QUICK)
    attempts = json.loads(found.report.read_text())["attempts"]
    assert [a["chain"] for a in attempts] == ["narrow:codec=int8", "narrow:codec=int4"]
    assert "budget.max_bundle_bytes: measured" in attempts[0]["violations"]["numpy"][0]
    assert found.chosen.label == "narrow:codec=int4"
    assert [p.name for p in tmp_path.glob("*.edgerec")] == ["numpy.edgerec"]
