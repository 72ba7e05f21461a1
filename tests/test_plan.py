"""The planner: sizes computed, not tried; resumable; verified; honest when nothing fits."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable, Mapping
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from edgerec.compressor import Compressor, Context
from edgerec.data import Dataset
from edgerec.device import Budget, Device
from edgerec.device_model import DeviceModel
from edgerec.errors import BudgetError, OptionError, TargetError
from edgerec.host import host
from edgerec.planner import Plan, plan, search, search_spaces, verify
from edgerec.quality import evaluate
from edgerec.training import train
from tests.planning import Broken, Drop, Narrow

#: Most tests need no file of the study, which has to be flushed at every step.
QUICK: Mapping[str, Any] = {"users": 60, "storage": "sqlite:///:memory:"}


@pytest.fixture(scope="module")
def model(dataset: Dataset) -> DeviceModel:
    return train(dataset, epochs=8, dim=128, batch=256).to_device_model()


@pytest.fixture
def offer(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Install compressors instead of the ones that there are."""

    def install(*compressors: type[Compressor]) -> None:
        entries: dict[str, type[Compressor]] = {c.name: c for c in compressors}
        monkeypatch.setattr(host()._compressors, "entries", entries)

    monkeypatch.setattr(Narrow, "runs", [])
    monkeypatch.setattr(Drop, "runs", [])
    return install


def device(**limits: Any) -> Device:
    return Device("watch", Budget(**limits), ("numpy",))


def size_of(model: DeviceModel, codec: str) -> int:
    """The least bytes of a bundle, as the planner computes them."""
    small = Narrow(codec).outline(model)
    return small.table_bytes + search.besides_tables(small)


def figures(found: Plan) -> list[tuple[int, str, int | None, float | None]]:
    return [(t.number, t.label, t.bundle_bytes, t.quality) for t in found.tried]


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
    assert found.built[0].figures["bundle_bytes"] <= limit


def test_a_step_that_makes_a_chain_too_large_is_not_run(
    offer: Callable[..., None], model: DeviceModel, dataset: Dataset, tmp_path: Path
) -> None:
    offer(Narrow, Drop)
    runner = search.Search(model, dataset, device(max_bundle_bytes=1000), (), 60, 0)
    chain = (("drop", {"share": 0.2}), ("narrow", {"codec": "int8"}))
    tried = search.try_chain(0, chain, runner)
    assert tried.too_large
    assert len(Drop.runs) == 1
    assert Narrow.runs == []
    assert [s["compressor"] for s in tried.steps] == ["drop"]
    # What the first step gave is kept, so nothing at all runs the next time.
    search.try_chain(1, (chain[0], ("narrow", {"codec": "fp16"})), runner)
    assert len(Drop.runs) == 1


def test_a_study_goes_on_where_it_stopped(
    offer: Callable[..., None],
    model: DeviceModel,
    dataset: Dataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    offer(Narrow, Drop)
    monkeypatch.setattr(verify, "build", lambda *_, **__: [])
    monkeypatch.setattr(Budget, "violations", lambda *_: [])
    options: dict[str, Any] = {"users": 60, "seed": 3}
    whole = plan(model, dataset, device(), folder=tmp_path / "whole", trials=7, **options)
    first = plan(model, dataset, device(), folder=tmp_path / "parts", trials=3, **options)
    assert len(first.tried) == 3
    both = plan(model, dataset, device(), folder=tmp_path / "parts", trials=7, **options)
    assert figures(both)[:3] == figures(first)
    assert figures(both) == figures(whole)
    assert both.chosen == dataclasses.replace(whole.chosen, steps=both.chosen.steps)
    Narrow.runs.clear()
    again = plan(model, dataset, device(), folder=tmp_path / "parts", trials=7, **options)
    assert figures(again) == figures(both)
    assert Narrow.runs == []


def test_a_trial_that_was_interrupted_is_made_up_for(
    offer: Callable[..., None],
    model: DeviceModel,
    dataset: Dataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    offer(Narrow)
    whole = plan(model, dataset, device(), folder=tmp_path / "whole", trials=3, users=60)

    def stop(self: Narrow, model: DeviceModel, context: Context) -> DeviceModel:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Narrow, "compress", stop)
        with pytest.raises(KeyboardInterrupt):
            plan(model, dataset, device(), folder=tmp_path / "parts", trials=3, users=60)
    again = plan(model, dataset, device(), folder=tmp_path / "parts", trials=3, users=60)
    assert {t.label for t in again.tried} == {t.label for t in whole.tried}
    assert again.chosen.label == whole.chosen.label


def test_a_study_of_something_else_is_refused(
    offer: Callable[..., None], model: DeviceModel, dataset: Dataset, tmp_path: Path
) -> None:
    offer(Narrow)
    plan(model, dataset, device(), folder=tmp_path, trials=1, users=60)
    other = device(max_bundle_bytes=10**6)
    with pytest.raises(
        OptionError, match="study 'watch' was made with another value of device, users"
    ):
        plan(model, dataset, other, folder=tmp_path, trials=1, users=50)


def test_validation_never_touches_test_items(
    offer: Callable[..., None],
    model: DeviceModel,
    dataset: Dataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    offer(Narrow, Drop)
    seen: list[Dataset] = []
    real = evaluate

    def spy(model: DeviceModel, data: Dataset, **options: Any) -> Any:
        seen.append(data)
        return real(model, data, **options)

    monkeypatch.setattr(search, "evaluate", spy)
    plan(model, dataset, device(), folder=tmp_path, trials=5, **QUICK)
    contexts = [context for _, context in Narrow.runs] + Drop.runs
    assert seen
    assert dataset.test is not None
    test, train_ = pairs(dataset, "test"), pairs(dataset, "train")
    for data in seen:
        assert not pairs(data, "test") & test
        assert not pairs(data, "train") & test
        assert pairs(data, "train") | pairs(data, "test") == train_
    searched = [
        c.dataset
        for c in contexts
        if c.dataset is not None and c.dataset.train is not dataset.train
    ]
    assert searched
    for part in searched:
        assert part.test is None
        assert not pairs(part, "train") & pairs(seen[0], "test")


def pairs(dataset: Dataset, which: str) -> set[tuple[int, int]]:
    part = getattr(dataset, which)
    return set(zip(part.users.tolist(), part.items.tolist(), strict=True))


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
    assert found.built[0].figures["bundle_bytes"] <= limit


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


def test_chains_that_fail_are_recorded_and_the_search_goes_on(
    offer: Callable[..., None], model: DeviceModel, dataset: Dataset, tmp_path: Path
) -> None:
    offer(Broken)
    found = plan(model, dataset, device(), folder=tmp_path, trials=3, **QUICK)
    reasons = {t.label: t.reason for t in found.tried}
    assert reasons["broken:silent=False"] == "step 1 (broken): ZeroDivisionError: a bug"
    assert "had no effect" in (reasons["broken:silent=True"] or "")
    assert found.chosen.label == "uncompressed"


def test_outputs(
    offer: Callable[..., None], model: DeviceModel, dataset: Dataset, tmp_path: Path
) -> None:
    offer(Narrow, Drop)
    limits = {"max_bundle_bytes": size_of(model, "int8") + 3000, "min_quality": 0.5}
    calls: list[tuple[int, int, str]] = []
    found = plan(
        model,
        dataset,
        device(**limits),
        folder=tmp_path,
        trials=8,
        users=60,
        progress=lambda *call: calls.append(call),
    )
    assert calls[0] == (0, 8, "searching")
    assert calls[-1] == (1, 1, "done")
    report = json.loads(found.report.read_text())
    assert report["device"]["budget"]["min_quality"] == 0.5
    assert report["error"] is None
    assert {"compressor", "options", "bytes_before", "bytes_after", "seconds"} < set(
        report["chosen"]["steps"][0]
    )
    assert 0.5 <= report["chosen"]["steps"][-1]["quality"] == report["chosen"]["quality"]
    assert report["bundles"][0]["path"] == "numpy.edgerec"
    assert report["bundles"][0]["p95_ms"] > 0
    assert len(report["trials"]) == len(found.tried)
    assert (tmp_path / "pareto.png").read_bytes().startswith(b"\x89PNG")
    page = (tmp_path / "pareto.html").read_text()
    HTMLParser().feed(page)
    assert not re.search(r"(src|href)\s*=|url\(|@import", page)
    picture = ElementTree.fromstring(page[page.index("<svg") : page.index("</svg>") + 6])  # noqa: S314
    titles = [t.text or "" for t in picture.iter("title")]
    assert sum(t.startswith(f"chosen: {found.chosen.label}: ") for t in titles) == 1
    assert any(t.startswith("budget: at most") for t in titles)
    assert any(t.startswith("budget: at least") for t in titles)
    assert (tmp_path / "study.db").exists()
    assert not list(tmp_path.glob(".*"))


def test_search_spaces_are_checked(
    offer: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    offer(Narrow)
    assert search_spaces() == {"narrow": {"codec": ("fp16", "int8", "int4")}}
    monkeypatch.setattr(Narrow, "search_space", lambda: None)
    with pytest.raises(OptionError, match="no installed compressor offers a search space"):
        search_spaces()


def test_a_model_that_no_target_takes(
    offer: Callable[..., None],
    model: DeviceModel,
    dataset: Dataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    offer(Narrow)
    numpy_target = host().targets["numpy"]
    monkeypatch.setattr(numpy_target, "refuse", lambda *_: ["not today"])
    with pytest.raises(TargetError, match="no target takes this model: numpy: not today"):
        plan(model, dataset, device(), folder=tmp_path, trials=2, **QUICK)
    assert Narrow.runs == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"trials": 0}, "plan.trials: expected at least 1, got 0"),
        ({"max_steps": 0}, "plan.max_steps: expected at least 1, got 0"),
        ({"targets": ["abacus"]}, "unknown target 'abacus'"),
        ({"storage": "nowhere://x"}, "plan.storage: cannot open a study there"),
    ],
)
def test_bad_arguments(
    offer: Callable[..., None],
    model: DeviceModel,
    dataset: Dataset,
    tmp_path: Path,
    options: dict[str, Any],
    message: str,
) -> None:
    offer(Narrow)
    with pytest.raises(OptionError, match=message):
        plan(model, dataset, device(), folder=tmp_path, **options)
