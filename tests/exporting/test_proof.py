"""The proof on export: each way of computing something else is refused, and nothing is written."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from edgerec.contracts.bundle import Bundle
from edgerec.contracts.host import Host
from edgerec.contracts.signature import Signature
from edgerec.contracts.target import Payload, Target
from edgerec.errors import TargetError
from edgerec.exporting.answers import Answers, measure_parity
from edgerec.exporting.export import export
from edgerec.exporting.proof import sample_histories
from edgerec.model.codecs import Int4, Int8
from edgerec.model.device_model import DeviceModel
from edgerec.testing import example_models
from edgerec_numpy import NumpyTarget

Lists = tuple[Any, ...]
FAULTS: dict[str, Callable[[Any, Any, Any], Lists]] = {}


def fault(function: Callable[[Any, Any, Any], Lists]) -> Callable[[Any, Any, Any], Lists]:
    FAULTS[function.__name__] = function
    return function


@fault
def misses_the_best_row(run: Any, history: Any, weights: Any) -> Lists:
    """The rows that it does return, apart from the very last one, have their own scores."""
    ids, scores, user = run(history, weights)
    ids, scores = ids[ids >= 0], scores[ids >= 0]
    other = np.setdiff1d(np.arange(599, dtype=np.int32), [*ids, *history])[:1].astype(np.int32)
    return np.append(ids[1:], other), np.append(scores[1:], scores[-1:] - 1), user


@fault
def ignores_weights(run: Any, history: Any, weights: Any) -> Lists:
    return run(history, np.ones_like(weights))


@fault
def returns_other_scores(run: Any, history: Any, weights: Any) -> Lists:
    ids, scores, user = run(history, weights)
    return ids, scores * np.float32(1.001), user


@fault
def returns_another_user(run: Any, history: Any, weights: Any) -> Lists:
    ids, scores, user = run(history, weights)
    return ids, scores, user * np.float32(1.001)


@fault
def is_out_of_order(run: Any, history: Any, weights: Any) -> Lists:
    ids, scores, user = run(history, weights)
    ids, scores = ids[ids >= 0], scores[ids >= 0]
    return ids[::-1].copy(), scores[::-1].copy(), user


@fault
def recommends_a_past_item(run: Any, history: Any, weights: Any) -> Lists:
    ids, scores, user = run(history, weights)
    if (history >= 0).any():
        ids = np.where(ids == ids[5], history.max(), ids)
    return ids, scores, user


@fault
def leaves_a_gap(run: Any, history: Any, weights: Any) -> Lists:
    ids, scores, user = run(history, weights)
    gap = np.arange(len(ids)) == 30
    return np.where(gap, np.int32(-1), ids), np.where(gap, np.float32(0), scores), user


@fault
def forgets_the_oldest_item(run: Any, history: Any, weights: Any) -> Lists:
    present = np.flatnonzero(history >= 0)
    if len(set(history[present].tolist())) > 1:
        history = np.where(history == history[present[0]], np.int32(-1), history)
    return run(history, weights)


@fault
def counts_the_first_of_equal_items(run: Any, history: Any, weights: Any) -> Lists:
    return run(history[::-1].copy(), weights[::-1].copy())


@fault
def stops_at_the_first_gap(run: Any, history: Any, weights: Any) -> Lists:
    gaps = np.flatnonzero(history < 0)
    history = history.copy()
    history[: gaps[-1] if len(gaps) else 0] = -1
    return run(history, weights)


@fault
def reads_the_last_row_as_the_first(run: Any, history: Any, weights: Any) -> Lists:
    return run(np.where(history == 599, 0, history).astype(np.int32), weights)


class Scores:
    """An artefact that scores candidates wrongly."""

    def __init__(self, run: Any, change: Callable[[Any], Any]) -> None:
        self.run, self.change = run, change

    def __call__(self, *inputs: Any) -> Lists:
        """Recommend."""
        return self.run(*inputs)

    def score(self, *inputs: Any) -> Any:
        """Score candidates."""
        return self.change(self.run.score(*inputs))


SCORES: dict[str, Callable[[Any], Any]] = {
    "one is off": lambda scores: np.where(np.arange(256) == 0, scores + np.float32(0.01), scores),
    "padding has a score": lambda scores: np.where(scores == 0, np.float32(0.1), scores),
    "too few": lambda scores: scores[:-1],
    "doubles": lambda scores: scores.astype(np.float64),
    "not finite": lambda scores: np.where(np.arange(256) == 9, np.float32(np.nan), scores),
}


@dataclass(frozen=True)
class Faulty(NumpyTarget):
    """The numpy target with a fault; it is not installed, so it is proven in this process."""

    name: ClassVar[str] = "faulty"
    fault: str = ""

    def load(self, bundle: Bundle, runtime: str | None = None, threads: int = 1) -> Any:
        """Load it with its fault."""
        run = super().load(bundle, runtime, threads)
        if self.fault in SCORES:
            return Scores(run, SCORES[self.fault])
        return lambda history, weights: FAULTS[self.fault](run, history, weights)


@pytest.mark.parametrize("name", [*FAULTS, *SCORES])
def test_faults_are_refused(name: str, tmp_path: Path) -> None:
    model = example_models()["sum"].replace(normalization=0.5, recency=0.3)
    message = "differs from the model|out of order|an item of the history|-1 with a score|score: "
    with pytest.raises(TargetError, match=message):
        export(model, Faulty(fault=name), tmp_path / "x.edgerec", top_k=20)
    assert list(tmp_path.iterdir()) == []


@dataclass(frozen=True)
class Coarse(NumpyTarget):
    """A target that is only exact when it is asked to be."""

    name: ClassVar[str] = "coarse"
    is_exact: bool = False

    def exact(self) -> Target | None:
        """The same, without the fault."""
        return None if self.is_exact else dataclasses.replace(self, is_exact=True)

    def lower(self, model: DeviceModel, signature: Signature) -> Payload:
        """Write whether it has the fault."""
        mark = np.array([self.is_exact], np.uint8)
        return {**super().lower(model, signature), "exact": mark}

    def load(self, bundle: Bundle, runtime: str | None = None, threads: int = 1) -> Any:
        """Load it with its fault."""
        run = super().load(bundle, runtime, threads)
        if bundle.array("exact")[0]:
            return run
        return lambda history, weights: misses_the_best_row(run, history, weights)


def test_a_coarse_scan_is_replaced(models: dict[str, DeviceModel], tmp_path: Path) -> None:
    with pytest.warns(RuntimeWarning, match="target coarse: .* it is scanned in float"):
        bundle = export(models["sum"], Coarse(), tmp_path / "x.edgerec")
    assert bundle.array("exact").tolist() == [1]
    assert [path.name for path in tmp_path.iterdir()] == ["x.edgerec"]


@pytest.mark.parametrize("codec", [Int8(), Int8(symmetric=False), Int4()], ids=str)
@pytest.mark.parametrize("target", ["tflite", "torchscript"])
def test_exact_variants(target: str, codec: Any, tmp_path: Path) -> None:
    """They are correct without any margin over the rows that are returned."""
    exact = Host.installed().target(target).exact()
    assert exact is not None
    assert exact.exact() is None
    model = example_models(5000, 16)["sum"].with_codec(codec, ["items"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        bundle = export(model, exact, tmp_path / "x.edgerec", top_k=20)
    for runtime in exact.runtimes():
        answers = Answers(model, sample_histories(model, 100, 1), 20)
        parity = measure_parity(exact.load(bundle, runtime), answers)
        assert parity.overlap == 1
        assert parity.score_error < 1e-5


def test_a_table_on_which_rounding_misplaces_items(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One component of u dwarfs the others, and nothing but the best rows is scored again."""
    monkeypatch.setattr(Signature, "proposed", Signature.returned)
    rng = np.random.default_rng(0)
    matrix = rng.standard_normal((5000, 16), np.float32)
    matrix[:, 0] = 100 + 0.01 * matrix[:, 0]
    model = example_models(5000, 16)["two-tables"]
    tables = {name: model.tables[name].replace(matrix) for name in model.tables}
    model = model.replace(tables=tables).with_codec(Int8())
    for target in ("tflite", "torchscript"):
        with pytest.warns(RuntimeWarning, match=f"target {target}: rounding the user vector"):
            bundle = export(model, target, tmp_path / f"{target}.edgerec", top_k=20)
        run = Host.installed().target(target).load(bundle)
        assert measure_parity(run, Answers(model, sample_histories(model, 50), 20)).overlap > 0.999
