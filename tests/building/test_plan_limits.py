"""The planner under a budget: what cannot fit never runs, and a refusal says what works."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edgerec.building.search import trials
from edgerec.building.search.chains import Tried, by_preference
from edgerec.building.search.plan import plan
from edgerec.building.search.sizes import fixed_parts
from edgerec.building.search.trials import Search, try_chain
from edgerec.contracts.device import Budget, Device
from edgerec.contracts.host import Host
from edgerec.contracts.target import Target
from edgerec.data.dataset import Dataset
from edgerec.errors import BudgetError, OptionError
from edgerec.model.device_model import DeviceModel
from edgerec.model.model_file import items_sections
from edgerec.model.options import parse_spec
from tests.rigs.compressors import Drop, Narrow, Slow
from tests.rigs.plans import QUICK, device, size_of


def test_a_chain_that_cannot_fit_never_runs(
    offer: Callable[..., None], model: DeviceModel, dataset: Dataset, tmp_path: Path
) -> None:
    offer(Narrow)
    limit = size_of(model, "int8") + 100
    assert limit < size_of(model, "fp16")
    found = plan(model, dataset, device(max_bundle_bytes=limit), folder=tmp_path, trials=4, **QUICK)
    assert {t.label for t in found.tried} == {
        *("uncompressed", "narrow:codec=fp16", "narrow:codec=int8", "narrow:codec=int4")
    }
    assert {codec for codec, _ in Narrow.runs} == {"int8", "int4"}
    pruned = [t for t in found.tried if t.too_large]
    assert {t.label for t in pruned} == {"uncompressed", "narrow:codec=fp16"}
    assert all("max_bundle_bytes is" in (t.reason or "") for t in pruned)
    # Both are within noise of the better one, so the smaller one is built.
    assert found.chosen.label == "narrow:codec=int4"
    assert found.built[0].figures.bundle_bytes <= limit


def test_a_step_that_makes_a_chain_too_large_is_not_run(
    offer: Callable[..., None], model: DeviceModel, dataset: Dataset, tmp_path: Path
) -> None:
    offer(Narrow, Drop)
    runner = trials.Search(
        *(model, dataset, device(max_bundle_bytes=1000), (), 60, 0, Host.installed()),
        allow_pruning_items=True,
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
    budget = {"max_bundle_bytes": 6000, "min_quality": 0.9}
    with pytest.raises(BudgetError) as caught:
        plan(model, dataset, device(**budget), folder=tmp_path, trials=4, **QUICK)
    message = str(caught.value)
    assert f"takes {size_of(model, 'int4'):,}, the limit is 6,000" in message
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
    offer: Callable[..., None],
    model: DeviceModel,
    dataset: Dataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    offer(Narrow)
    answers = [["budget.max_p95_ms: measured 9 ms, the limit is 1"]]

    def violations(budget: Budget, _: object, where: str) -> list[str]:
        assert "(not measured on " in where
        return answers.pop() if budget.max_p95_ms and answers else []

    monkeypatch.setattr(Budget, "violations", violations)
    found = plan(model, dataset, device(max_p95_ms=1), folder=tmp_path, trials=4, **QUICK)
    attempts = json.loads(found.report.read_text())["attempts"]
    assert attempts[0]["chain"] == "narrow:codec=int4"
    assert "budget.max_p95_ms: measured" in attempts[0]["violations"]["numpy"][0]
    assert found.chosen.label == attempts[1]["chain"] != "narrow:codec=int4"
    assert [p.name for p in tmp_path.glob("*.edgerec")] == ["numpy.edgerec"]


def test_a_chain_for_every_runtime_goes_before_a_smaller_one_for_some(
    offer: Callable[..., None],
    model: DeviceModel,
    dataset: Dataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    offer(Narrow)
    onnx = Host.installed().targets["onnx"]
    own = onnx.refuse

    def refuse(self: Target, model: DeviceModel) -> list[str]:
        coarse = any(table.codec.name == "int4" for table in model.tables.values())
        return ["not with int4"] if coarse else own(self, model)

    monkeypatch.setattr(onnx, "refuse", refuse)
    both = Device("phone", Budget(), ("numpy", "onnx"))
    found = plan(model, dataset, both, folder=tmp_path, trials=4, **QUICK)
    assert {t.label: len(t.targets) for t in found.tried}["narrow:codec=int4"] == 1
    assert found.chosen.label == "narrow:codec=int8"
    assert {built.target for built in found.built} == {"numpy", "onnx"}


def test_items_stay_in_the_catalogue_unless_they_may_go(
    offer: Callable[..., None], model: DeviceModel, dataset: Dataset, tmp_path: Path
) -> None:
    offer(Drop)
    options = {**QUICK, "allow_pruning_items": False}
    found = plan(model, dataset, device(), folder=tmp_path, trials=3, **options)
    assert found.chosen.label == "uncompressed"
    assert {t.reason for t in found.tried if t.skipped} == {
        "takes 16 items out of the catalogue; allow it with --allow-pruning-items",
        "takes 40 items out of the catalogue; allow it with --allow-pruning-items",
    }


@pytest.mark.parametrize(
    ("chain", "reason"),
    [
        ("quantize:codec=int8 lowrank:rank=8", "lowrank would undo int8, which comes before it"),
        ("quantize:codec=int4 pq:bytes=60", "pq would undo int4, which comes before it"),
        ("quantize:codec=int8 quantize:codec=int4", "quantize would undo int8"),
        (
            "pq:bytes=60 prune:structure=weights,share=0.5",
            "prune cannot tell its result in advance, and may undo pq",
        ),
        ("pq:bytes=60 quantize:codec=int8", "quantize would encode anew what has codec pq"),
        ("distill:width=128", "distill.width: 128 is not below the model's width 128"),
    ],
)
def test_chains_that_undo_their_work_are_no_trials(
    chain: str, reason: str, model: DeviceModel, dataset: Dataset
) -> None:
    host = Host.installed()
    runner = Search(model, dataset, device(), (), 60, 0, host)
    tried = try_chain(0, tuple(parse_spec(spec) for spec in chain.split()), runner)
    assert tried.skipped
    assert reason in (tried.reason or "")
    assert runner.models == {}


def test_a_budget_below_what_is_fixed_is_refused_at_once(
    offer: Callable[..., None], model: DeviceModel, dataset: Dataset, tmp_path: Path
) -> None:
    offer(Narrow)
    fixed = fixed_parts(model)
    sections = items_sections(model.items).values()
    assert sum(fixed.values()) == sum(len(memoryview(s).cast("B")) for s in sections) + 320
    with pytest.raises(BudgetError) as caught:
        plan(model, dataset, device(max_bundle_bytes=1000), folder=tmp_path, trials=4)
    assert f"takes {sum(fixed.values()):,} bytes (ids {fixed['ids']:,}, titles" in str(caught.value)
    assert Narrow.runs == []


def test_the_smallest_within_noise_goes_first() -> None:
    rng = np.random.default_rng(0)
    best = rng.gamma(2, 0.1, 500)

    def tried(size: int, factor: float, noise: float) -> Tried:
        ndcgs = best * factor + rng.normal(0, noise, 500)
        return Tried(size, (), size, quality=float(ndcgs.mean() / best.mean()), ndcgs=list(ndcgs))

    chains = [
        tried(90, 1.0, 0),
        tried(50, 0.999, 0.05),
        tried(20, 0.95, 0.02),
        tried(10, 0.9, 0.02),
    ]
    assert [one.bundle_bytes for one in by_preference(chains)] == [50, 90, 20, 10]


def test_a_trial_has_a_time_limit(
    offer: Callable[..., None], model: DeviceModel, dataset: Dataset, tmp_path: Path
) -> None:
    offer(Narrow, Slow)
    found = plan(
        *(model, dataset, device(max_bundle_bytes=10**6)),
        folder=tmp_path,
        **QUICK,
        trial_seconds=0.1,
    )
    slow = {one.label: one for one in found.tried if "slow" in one.label}
    assert slow
    assert all("slow" not in one.label or one.quality is None for one in found.tried)
    reason = "took longer than the limit of 0.1 s; raise --trial-seconds"
    assert any(reason in (one.reason or "") for one in slow.values())
    # What does not train comes first.
    alone = [one.label.partition(":")[0] for one in found.tried if len(one.chain) == 1]
    assert alone.index("narrow") < alone.index("slow")
    with pytest.raises(OptionError, match="trial_seconds: expected more than 0, got -1"):
        plan(model, dataset, device(), folder=tmp_path, trial_seconds=-1)


def test_a_chain_that_has_lost_does_not_train(
    offer: Callable[..., None], model: DeviceModel, dataset: Dataset
) -> None:
    offer(Drop, Slow)
    runner = Search(
        *(model, dataset, device(), (), 60, 0, Host.installed()), allow_pruning_items=True
    )
    chain = (("drop", {"share": 0.7}), ("slow", {"codec": "int8"}))
    better = Tried(0, (), 100, quality=1.0, targets=list(Host.installed().targets))
    lost = try_chain(1, chain, runner, rivals=[better])
    assert "before its training steps; uncompressed keeps 1.0000 in fewer" in (lost.reason or "")
    assert [step["compressor"] for step in lost.steps] == ["drop"]
    for rival in (
        dataclasses.replace(better, bundle_bytes=10**9),
        dataclasses.replace(better, quality=0.0),
        dataclasses.replace(better, targets=[]),
    ):
        assert try_chain(1, chain, runner, rivals=[rival]).quality is not None
