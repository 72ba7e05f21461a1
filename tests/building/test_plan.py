"""The planner: resumable, validated on training items, and reported."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import optuna
import pytest

from edgerec.building.search import choice, trials
from edgerec.building.search.plan import Plan, plan
from edgerec.building.search.sampler import search_spaces
from edgerec.contracts.compressor import Context
from edgerec.contracts.device import Budget
from edgerec.contracts.host import Host
from edgerec.data.dataset import Dataset
from edgerec.data.quality import evaluate
from edgerec.errors import DataError, OptionError, TargetError
from edgerec.model.device_model import DeviceModel
from tests.rigs.compressors import Broken, Drop, Narrow
from tests.rigs.plans import QUICK, device, size_of


def figures(found: Plan) -> list[tuple[int, str, int | None, float | None]]:
    return [(t.number, t.label, t.bundle_bytes, t.quality) for t in found.tried]


@pytest.fixture
def nothing_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a search end without building what it chose."""
    monkeypatch.setattr(choice, "build", lambda *_, **__: [])
    monkeypatch.setattr(Budget, "violations", lambda *_: [])


#: Options of searches that are compared with each other.
SAME: dict[str, Any] = {"users": 60, "seed": 3, "allow_pruning_items": True}


@pytest.mark.usefixtures("nothing_is_built")
def test_a_study_goes_on_where_it_stopped(
    offer: Callable[..., None],
    model: DeviceModel,
    dataset: Dataset,
    tmp_path: Path,
) -> None:
    offer(Narrow, Drop)
    whole = plan(model, dataset, device(), folder=tmp_path / "whole", trials=7, **SAME)
    first = plan(model, dataset, device(), folder=tmp_path / "parts", trials=3, **SAME)
    assert len(first.tried) == 3
    # The uncompressed model and each compressor alone go first.
    assert [[name for name, _ in t.chain] for t in first.tried] == [[], ["drop"], ["narrow"]]
    both = plan(model, dataset, device(), folder=tmp_path / "parts", trials=7, **SAME)
    assert figures(both)[:3] == figures(first)
    assert figures(both) == figures(whole)
    assert both.chosen == dataclasses.replace(whole.chosen, steps=both.chosen.steps)
    Narrow.runs.clear()
    again = plan(model, dataset, device(), folder=tmp_path / "parts", trials=7, **SAME)
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
    with pytest.raises(OptionError, match="study 'watch' was created with another device, users"):
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

    monkeypatch.setattr(trials, "evaluate", spy)
    plan(model, dataset, device(), folder=tmp_path, trials=5, **QUICK)
    contexts = [context for _, context in Narrow.runs] + Drop.runs
    assert seen
    assert dataset.test is not None
    test, train_ = pairs(dataset, "test"), pairs(dataset, "train")
    for data in seen:
        assert not pairs(data, "train") & test
        assert data.valid is None
        assert pairs(data, "train") == train_
        assert pairs(data, "test") == pairs(dataset, "valid")
    searched = [c.dataset for c in contexts if c.dataset is not None]
    assert searched
    for part in searched:
        assert part.test is None
        assert pairs(part, "train") == train_
        assert part.valid is None


def test_a_model_that_may_have_seen_the_validation_items_is_refused(
    offer: Callable[..., None], model: DeviceModel, dataset: Dataset, tmp_path: Path
) -> None:
    offer(Narrow)
    whole = dataclasses.replace(dataset, train=dataset.histories, valid=None)
    with pytest.raises(DataError, match="has no validation interactions to choose by; hold some"):
        plan(model, whole, device(), folder=tmp_path, **QUICK)
    other = whole.split_random(0.1, seed=5, part="valid")
    with pytest.raises(DataError, match="the model was trained on other interactions"):
        plan(model, other, device(), folder=tmp_path, **QUICK)
    imported = model.replace(metadata={})
    assert plan(imported, other, device(), folder=tmp_path, trials=1, **QUICK).built


@pytest.mark.usefixtures("nothing_is_built")
def test_trials_of_a_process_that_was_killed_are_drawn_again(
    offer: Callable[..., None],
    model: DeviceModel,
    dataset: Dataset,
    tmp_path: Path,
) -> None:
    offer(Narrow, Drop)
    whole = plan(model, dataset, device(), folder=tmp_path / "whole", trials=7, **SAME)
    for done in (1, 2, 4):
        folder = tmp_path / str(done)
        plan(model, dataset, device(), folder=folder, trials=done, **SAME)
        # What is in the storage if a process is killed while it runs one trial, with one to come.
        storage = optuna.storages.RDBStorage(f"sqlite:///{folder / 'study.db'}")
        study = optuna.load_study(study_name="watch", storage=storage)
        study.enqueue_trial({"step 1": "drop", "step 2": "stop"})
        study.ask().suggest_categorical("step 1", ["drop", "narrow", "stop"])
        study.enqueue_trial({"step 1": "narrow", "step 2": "stop"})
        storage.remove_session()
        storage.engine.dispose()
        resumed = plan(model, dataset, device(), folder=folder, trials=7, **SAME)
        assert [row[1:] for row in figures(resumed)] == [row[1:] for row in figures(whole)]


def pairs(dataset: Dataset, which: str) -> set[tuple[int, int]]:
    part = getattr(dataset, which)
    return set(zip(part.users.tolist(), part.items.tolist(), strict=True))


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
        allow_pruning_items=True,
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
    assert not re.search(r"(src|href)\s*=\s*\"(?!#)|url\((?!#)|@import", page)
    picture = ElementTree.fromstring(page[page.index("<svg") : page.index("</svg>") + 6])  # noqa: S314
    titles = [t.text or "" for t in picture.iter("{http://www.w3.org/2000/svg}title")]
    assert sum(t.startswith(f"chosen: {found.chosen.label}: ") for t in titles) == 1
    assert any(t.startswith("budget: at most") for t in titles)
    assert any(t.startswith("budget: at least") for t in titles)
    assert (tmp_path / "study.db").exists()
    assert not list(tmp_path.glob(".*"))


def test_search_spaces_are_checked(
    offer: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    offer(Narrow)
    assert search_spaces(Host.installed()) == {"narrow": {"codec": ("fp16", "int8", "int4")}}
    monkeypatch.setattr(Narrow, "search_space", lambda: None)
    with pytest.raises(OptionError, match="no installed compressor offers a search space"):
        search_spaces(Host.installed())


def test_a_model_that_no_target_takes(
    offer: Callable[..., None],
    model: DeviceModel,
    dataset: Dataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    offer(Narrow)
    numpy_target = Host.installed().targets["numpy"]
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
