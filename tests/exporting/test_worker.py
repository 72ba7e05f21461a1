"""The worker runs artefacts in another process, whose crash becomes a refusal with a reason."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgerec.contracts.bundle import Bundle
from edgerec.contracts.host import Host
from edgerec.contracts.runner import Artefact
from edgerec.errors import RuntimeMissingError, TargetError
from edgerec.exporting.answers import Answers, compare_lists
from edgerec.exporting.export import export
from edgerec.exporting.proof import adverse_histories, runs_elsewhere, uneven_weights
from edgerec.exporting.worker import LoadError, Worker, shared_worker
from edgerec.model.codecs import Int8
from edgerec.model.device_model import DeviceModel
from edgerec_numpy import NumpyTarget
from tests.rigs.plugins import install

FRAGILE = """
import os
from edgerec_numpy import NumpyTarget

@dataclass(frozen=True)
class Fragile(NumpyTarget):
    name: ClassVar[str] = "fragile"
    how: str = "abort"

    def runtimes(self):
        return ["one", "two"]

    def load(self, bundle, runtime=None, threads=1):
        if runtime == "one":
            if self.how == "abort":
                os.abort()
            if self.how == "exit":
                os._exit(3)
            if self.how == "sleep":
                import time
                time.sleep(60)
            if self.how == "raise":
                raise ImportError("no such library")
            print("a library that prints")
        return super().load(bundle, None, threads)

@hookimpl
def edgerec_targets():
    return [Fragile]
"""


#: Candidates to score for one history.
CANDIDATES = [np.zeros(256, np.int32)]


def asked(answers: Answers) -> tuple[Any, Any]:
    return answers.inputs, answers.candidates


@pytest.fixture
def fragile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[NumpyTarget]]:
    """An installed target whose first runtime does not survive loading."""
    install(tmp_path, monkeypatch, "fragile", FRAGILE)
    Host.installed.cache_clear()
    shared_worker.cache_clear()  # a running worker does not know the plugin
    yield Host.installed().targets["fragile"]  # type: ignore[misc]  # the plugin's own class
    shared_worker().close()
    shared_worker.cache_clear()
    Host.installed.cache_clear()


@pytest.fixture
def worker() -> Iterator[Worker]:
    made = Worker(timeout=20)
    yield made
    made.close()


@pytest.fixture
def bundle(models: dict[str, DeviceModel], tmp_path: Path) -> Bundle:
    return export(models["sum"], "numpy", tmp_path / "x.edgerec", top_k=20)


def test_lists_from_the_worker_match_the_oracle(
    worker: Worker, bundle: Bundle, models: dict[str, DeviceModel]
) -> None:
    histories = adverse_histories(models["sum"], 12)
    answers = Answers(models["sum"], histories, 20, uneven_weights(histories))
    lists = worker.run(bundle.path, "numpy", {}, "numpy", *asked(answers))
    assert compare_lists(lists, answers).overlap == 1
    process = worker._process
    worker.run(bundle.path, "numpy", {}, "numpy", answers.inputs[:1], answers.candidates[:1])
    assert worker._process is process, "the process is kept between requests"


def test_errors_of_a_runtime_are_reported(worker: Worker, bundle: Bundle) -> None:
    inputs = [(np.zeros(30, np.int32), np.ones(30, np.float32))]
    with pytest.raises(LoadError, match="this target runs on numpy only"):
        worker.run(bundle.path, "numpy", {}, "abacus", inputs, CANDIDATES)
    with pytest.raises(LoadError, match="no such file"):
        worker.run(bundle.path.with_name("none"), "numpy", {}, "numpy", inputs, CANDIDATES)
    broken = [(np.full(30, 10**6, np.int32), np.ones(30, np.float32))]
    with pytest.raises(TargetError, match="IndexError"):
        worker.run(bundle.path, "numpy", {}, "numpy", broken, CANDIDATES)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("abort", r"fragile on one: the runtime crashed \(SIGABRT\)"),
        ("exit", "fragile on one: the runtime ended the process with exit code 3"),
        ("raise", "fragile on one: ImportError: no such library"),
    ],
)
def test_a_crash_is_a_refusal_and_does_not_stop_other_runtimes(
    how: str,
    message: str,
    fragile: type[NumpyTarget],
    models: dict[str, DeviceModel],
    tmp_path: Path,
) -> None:
    path, target = tmp_path / "f.edgerec", fragile(how=how)  # type: ignore[call-arg]  # its own option
    with pytest.raises(TargetError, match=message):
        export(models["sum"], target, path, top_k=20, runtimes=["one"])
    assert not path.exists()
    with pytest.warns(RuntimeWarning, match=message):
        export(models["sum"], target, path, top_k=20)
    assert path.exists()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        export(models["sum"], target, path, top_k=20, runtimes=["two"])


def test_a_library_that_prints_does_not_disturb_the_worker(
    fragile: type[NumpyTarget], models: dict[str, DeviceModel], tmp_path: Path
) -> None:
    target = fragile(how="print")  # type: ignore[call-arg]  # its own option
    export(models["sum"], target, tmp_path / "f.edgerec", top_k=20)


def test_a_request_that_hangs_times_out(fragile: type[NumpyTarget], bundle: Bundle) -> None:
    worker = Worker(timeout=2)
    inputs = [(np.zeros(30, np.int32), np.ones(30, np.float32))]
    with pytest.raises(LoadError, match="did not finish within 2 s"):
        worker.run(bundle.path, "fragile", {"how": "sleep"}, "one", inputs, CANDIDATES)
    assert worker._process is None
    worker.close()


def test_named_runtimes_must_be_installed(models: dict[str, DeviceModel], tmp_path: Path) -> None:
    with pytest.raises(RuntimeMissingError, match="numpy: no runtime 'abacus' here, only numpy"):
        export(models["sum"], "numpy", tmp_path / "x.edgerec", runtimes=["abacus"])


@dataclass(frozen=True)
class Notebook(NumpyTarget):
    """A target that another process cannot import."""

    def load(self, bundle: Bundle, runtime: str | None = None, threads: int = 1) -> Artefact:
        """Return a wrong artefact, in which all weights are equal."""
        artefact = super().load(bundle, runtime, threads)
        return lambda history, weights: artefact(history, np.ones_like(weights))


def test_a_target_that_is_not_installed_is_proven_in_this_process(
    models: dict[str, DeviceModel], tmp_path: Path
) -> None:
    assert runs_elsewhere(NumpyTarget(), models["sum"])
    assert not runs_elsewhere(Notebook(), models["sum"])
    assert runs_elsewhere(NumpyTarget(), models["sum"].with_codec(Int8(), ["items"]))
    with pytest.raises(TargetError, match="the artefact differs from the model"):
        export(models["sum"], Notebook(), tmp_path / "x.edgerec", top_k=20)
