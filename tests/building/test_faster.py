"""Where files are too slow, a search tries a step that makes a device read fewer rows."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest

from edgerec.building.search import choice
from edgerec.building.search.faster import _with_a_step, too_slow
from edgerec.building.search.plan import Plan, plan
from edgerec.contracts.compressor import Progress, no_progress
from edgerec.contracts.device import Budget
from edgerec.contracts.host import Host
from edgerec.data.dataset import Dataset
from edgerec.errors import BudgetError, TargetError
from edgerec.model.device_model import DeviceModel
from edgerec_cluster import Cluster
from tests.rigs.compressors import Narrow
from tests.rigs.plans import QUICK, device

SLOW, SIZE = "budget.max_p95_ms: measured 9, the limit is 1", "budget.max_bundle_bytes: measured 2"


@dataclass(frozen=True)
class Few(Cluster):
    """Clusters for a small catalogue."""

    name: ClassVar[str] = "few"
    quicker: ClassVar[tuple[Mapping[str, Any], ...]] = (
        {"height": 500},  # which makes too few clusters
        {"height": 8, "read": 0.5},
        {"height": 8, "read": 0.3},
    )


@pytest.fixture
def search(
    offer: Callable[..., None], model: DeviceModel, dataset: Dataset, tmp_path: Path
) -> Callable[..., Plan]:
    """A search within a budget of time; histories are so short that lists fit in a few clusters."""
    offer(Narrow, Few)
    short = model.replace(history_length=10)

    def run(trials: int = 4, progress: Progress = no_progress, **limits: float) -> Plan:
        given = {"folder": tmp_path, "trials": trials, "top_k": 5, "progress": progress}
        return plan(short, dataset, device(max_p95_ms=1, **limits), **given, **QUICK)

    return run


def answer(monkeypatch: pytest.MonkeyPatch, *answers: list[str]) -> None:
    """Let the next files break limits; the last ones do so for good."""
    left = [*answers]

    def violations(budget: Budget, *_: object) -> list[str]:
        # The budget is compared once per file by the search, and not by the build.
        if not budget.max_p95_ms:
            return []
        return left.pop(0) if len(left) > 1 else left[0]

    monkeypatch.setattr(Budget, "violations", violations)


def attempts(folder: Path) -> list[str]:
    report = json.loads((folder / "report.json").read_text())
    return [one["chain"] for one in report["attempts"]]


def test_a_slow_file_is_built_with_fewer_rows_read(
    search: Callable[..., Plan], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Four chains are too slow, and one that reads half of the rows is, too.
    answer(monkeypatch, *[[SLOW]] * 5, [])
    steps: list[tuple[int, int, str]] = []
    found = search(progress=lambda *step: steps.append(step))
    tried = attempts(tmp_path)
    assert [chain.startswith("few") for chain in tried] == [False] * 4 + [True] * 2
    assert found.chosen.label == tried[-1]
    assert all(any(chain.endswith(f" → {slow}") for slow in tried[:2]) for chain in tried[4:])
    # It was compared on validation interactions like any other, and is in the report.
    assert found.chosen in found.tried
    assert found.chosen.quality is not None
    assert 0.5 < found.chosen.quality <= 1.2
    trials = json.loads(found.report.read_text())["trials"]
    assert len({one["number"] for one in trials}) == len(trials) == len(found.tried)
    # What does not work is reported with its reason.
    failed = [one for one in trials if one["label"].startswith("few:height=500")]
    assert len(failed) == 2
    assert all("make only 1 clusters" in one["reason"] for one in failed)
    assert found.built[0].figures.to_json()["quality"] is not None
    assert all(done <= total for done, total, _ in steps)


def test_chains_that_are_fast_enough_come_first(
    search: Callable[..., Plan], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer(monkeypatch, [SLOW], [])
    found = search()
    assert found.chosen.label.startswith("narrow")
    assert not any("few" in one.label for one in found.tried)


def test_a_chain_that_cannot_be_built_does_not_end_the_search(
    search: Callable[..., Plan], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer(monkeypatch, *[[SLOW]] * 4, [])
    own, built = choice.build, []

    def build(*given: Any, **named: Any) -> Any:
        built.append(given)
        if len(built) == 5:
            raise TargetError("the disk is full")
        return own(*given, **named)

    monkeypatch.setattr(choice, "build", build)
    found = search()
    assert found.chosen.label.startswith("few")
    errors = [one["error"] for one in json.loads(found.report.read_text())["attempts"]]
    assert errors == [None] * 4 + ["the disk is full", None]


def test_other_limits_are_not_met_by_reading_less(
    search: Callable[..., Plan], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer(monkeypatch, [SLOW, SIZE])
    with pytest.raises(BudgetError, match="4 chains were built and none keeps the budget"):
        search()
    assert not any("few" in chain for chain in attempts(tmp_path))
    assert not too_slow({})
    assert not too_slow({"numpy": [SLOW], "onnx": [SIZE]})
    assert too_slow({"numpy": [SLOW], "onnx": [SLOW]})


def test_what_loses_too_much_is_not_built(
    search: Callable[..., Plan], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer(monkeypatch, [SLOW])
    monkeypatch.setattr(Few, "quicker", ({"height": 8, "read": 0.2},))
    with pytest.raises(BudgetError):
        search(trials=3, min_quality=0.99)
    report = json.loads((tmp_path / "report.json").read_text())
    tried = [one for one in report["trials"] if one["label"].startswith("few")]
    assert tried
    assert all(one["quality"] < 0.99 for one in tried)
    assert not any("few" in chain for chain in attempts(tmp_path))


def test_a_chain_that_has_the_step_gets_no_second_one(offer: Callable[..., None]) -> None:
    offer(Narrow, Few)
    chain = (("few", {"height": 8}), ("narrow", {"codec": "int8"}))
    host = Host.installed()
    assert _with_a_step(chain, host) == []
    assert [name for name, _ in _with_a_step(chain[1:], host)[0]] == ["few", "narrow"]
    assert [[name for name, _ in one] for one in _with_a_step((), host)] == [["few"]] * 3
