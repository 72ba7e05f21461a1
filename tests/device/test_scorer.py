"""The scorer, on bundles of the numpy target: what it returns, refuses and reports."""

from __future__ import annotations

import math
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import edgerec
from edgerec.contracts.bundle import Bundle
from edgerec.contracts.runner import Artefact
from edgerec.device.bench import measure
from edgerec.device.scorer import Scorer
from edgerec.errors import BundleError, DataError, OptionError, RuntimeMissingError, TargetError
from edgerec.exporting.proof import sample_histories
from edgerec.files.container import Container
from edgerec.files.container_writer import write_container
from edgerec.model.codecs import Int8
from edgerec.model.device_model import DeviceModel
from edgerec.model.history import pad_history
from edgerec.model.oracle import Oracle


@pytest.fixture(scope="module")
def model(models: dict[str, DeviceModel]) -> DeviceModel:
    return models["sum"].with_codec(Int8(), ["items"])


@pytest.fixture(scope="module")
def path(model: DeviceModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bundles") / "x.edgerec"
    edgerec.export(model, "numpy", path, top_k=20)
    return path


def test_it_recommends_the_oracles_best_unseen_items(model: DeviceModel, path: Path) -> None:
    scorer, oracle = Scorer.open(path), Oracle(model)
    for rows in sample_histories(model, 30, seed=4):
        found = scorer.recommend([model.items.ids[int(r)] for r in rows], 20)
        history, weights = pad_history(rows, model.history_length, model.normalization)
        logits = oracle.logits(oracle.encode(history[None], weights[None]))[0]
        logits[rows] = -np.inf
        best = np.argsort(-logits)[:20]
        assert [r.id for r in found] == [model.items.ids[int(r)] for r in best]
        assert np.allclose([r.score for r in found], logits[best], rtol=1e-5)
        assert not found.unknown
        assert not found.fallback


def test_unknown_items_are_skipped_and_counted(path: Path) -> None:
    scorer = Scorer.open(path)
    found = scorer.recommend(["i00001", "nope", "i00002"], 5)
    assert found.unknown == ["nope"]
    assert list(found) == list(scorer.recommend(["i00001", "i00002"], 5))
    with pytest.raises(DataError, match="history: unknown items nope; 1 in total"):
        scorer.recommend(["i00001", "nope"], 5, strict=True)


@pytest.mark.parametrize("history", [[], ["nope"]])
def test_without_a_history_the_popular_items_come_and_it_says_so(
    path: Path, history: list[str]
) -> None:
    found = Scorer.open(path).recommend(history, 3)
    assert found.fallback
    assert [r.id for r in found] == ["i00000", "i00001", "i00002"]
    assert all(math.isnan(r.score) for r in found)


def test_repeats_count_once_and_long_histories_say_what_they_lost(path: Path) -> None:
    scorer = Scorer.open(path)
    assert list(scorer.recommend(["i00001", "i00002", "i00001"])) == list(
        scorer.recommend(["i00002", "i00001"])
    )
    long = [f"i{n:05d}" for n in range(40)]
    found = scorer.recommend(long, 20)
    assert found.truncated == 10
    assert not {r.id for r in found} & set(long)


def test_what_is_cut_from_a_history_does_not_shorten_the_list(
    model: DeviceModel, path: Path
) -> None:
    scorer, oracle = Scorer.open(path), Oracle(model)
    rows = np.array([row for row in range(len(model.items)) if row % 30], np.int32)
    history, weights = oracle.pad(rows)
    logits = oracle.logits(oracle.encode(history[None], weights[None]))[0]
    logits[rows] = -np.inf
    found = scorer.recommend([model.items.ids[int(row)] for row in rows], 20)
    best = np.argsort(-logits)[:20]
    assert [r.id for r in found] == [model.items.ids[int(row)] for row in best]
    assert np.allclose([r.score for r in found], logits[best], rtol=1e-4)


def test_weights_matter_and_are_checked(path: Path) -> None:
    scorer = Scorer.open(path)
    history = ["i00001", "i00002"]
    assert scorer.recommend(history, weights=[9, 1]) != scorer.recommend(history, weights=[1, 9])
    with pytest.raises(OptionError, match="weights: expected 2, one per past item, got 1"):
        scorer.recommend(history, weights=[1])
    for odd in (float("nan"), 1e39, 1e-46, 0, -1e39, "2", True):
        with pytest.raises(OptionError, match=r"weights\[1\]: expected a number from 1e-06 to 1e"):
            scorer.recommend(history, weights=[1, odd])  # type: ignore[list-item]  # mistakes
    # The weight of an id that the catalogue does not have is not read.
    assert scorer.recommend(["nope", "i00001"], weights=[-1, 1]).unknown == ["nope"]


@pytest.mark.parametrize("k", [0, 21])
def test_k_is_checked(path: Path, k: int) -> None:
    with pytest.raises(OptionError, match=f"k: this bundle recommends 1 to 20 items, got {k}"):
        Scorer.open(path).recommend(["i00001"], k)


def test_a_bundle_of_an_unknown_runtime(path: Path) -> None:
    with pytest.raises(RuntimeMissingError, match="numpy: no runtime 'tvm'"):
        Scorer.open(path, runtime="tvm")


def rewrite(path: Path, other: Path, **meta: object) -> Path:
    container = Container(path)
    sections = {name: container.array(name) for name in container.names}
    write_container(other, "bundle", {**container.meta, **meta}, sections)
    return other


@pytest.mark.parametrize(
    ("meta", "message"),
    [
        ({"format": 3}, "bundle format 3, this edgerec reads format 2"),
        ({"history_length": -1}, "history_length: expected an integer from 1 to 16,384, got -1"),
        ({"top_k": "many"}, "the file is damaged"),
        ({"normalization": []}, "the file is damaged"),
    ],
)
def test_a_hostile_manifest_is_refused(
    path: Path, tmp_path: Path, meta: dict[str, object], message: str
) -> None:
    with pytest.raises(BundleError, match=message):
        Bundle.open(rewrite(path, tmp_path / "y.edgerec", **meta))


def test_a_damaged_payload_is_refused(path: Path, tmp_path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[-200] ^= 1
    (tmp_path / "z.edgerec").write_bytes(bytes(raw))
    with pytest.raises(BundleError, match="does not match its SHA-256"):
        Scorer.open(tmp_path / "z.edgerec")


def test_bench_measures_in_a_fresh_process(path: Path) -> None:
    figures = measure(path, [["i00001"], ["i00002", "i00003"]], k=5)
    assert figures.bundle_bytes == path.stat().st_size
    assert len(figures.lists) == 2
    assert len(figures.lists[0]) == 5
    assert 0 < figures.p50_ms <= figures.p95_ms
    assert 10e6 < figures.baseline_rss_bytes <= figures.peak_rss_bytes < 200e6
    assert min(figures.floor_ms, figures.from_memory_ms) > 0
    with pytest.raises(TargetError, match=r"measuring it failed: .*no such file"):
        measure(path.with_name("none"))


def test_a_text_is_no_history(path: Path) -> None:
    scorer = Scorer.open(path)
    with pytest.raises(OptionError, match="history: expected a list of ids, got the text 'i00001'"):
        scorer.recommend("i00001")
    with pytest.raises(OptionError, match=r"k: expected an integer, got 2\.5"):
        scorer.recommend(["i00001"], k=2.5)  # type: ignore[arg-type]  # the mistake


def test_what_runs_no_model_is_not_timed(path: Path) -> None:
    figures = measure(path, [["nope"], ["i00001"], ["nor this"]], k=5)
    assert (figures.histories, figures.fallbacks, len(figures.lists)) == (3, 2, 3)
    with pytest.raises(TargetError, match=r"measuring it failed: .*knows no item of the histories"):
        measure(path, [["nope"]])


def test_threads(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """BLAS reads its number from the environment when it is loaded."""
    given: list[dict[str, str]] = []
    run = subprocess.run

    def spy(*command: Any, env: dict[str, str], **options: Any) -> Any:
        given.append(env)
        return run(*command, env=env, **options)

    monkeypatch.setattr(subprocess, "run", spy)
    measure(path, threads=2)
    assert given[0]["OMP_NUM_THREADS"] == given[0]["OPENBLAS_NUM_THREADS"] == "2"
    for wrong in (lambda: measure(path, threads=0), lambda: Scorer.open(path, threads=-1)):
        with pytest.raises(OptionError, match="threads: expected an integer from 1 to 1,024"):
            wrong()


def test_export_proves_the_artefact_before_writing(model: DeviceModel, tmp_path: Path) -> None:
    from edgerec_numpy import NumpyTarget

    class Wrong(NumpyTarget):
        """Returns the first rows of the catalogue, whatever the history."""

        def load(self, bundle: Bundle, runtime: str | None = None, threads: int = 1) -> Artefact:
            first = np.arange(300, 350, dtype=np.int32)
            return lambda history, weights: (
                first[~np.isin(first, history)],
                np.ones((~np.isin(first, history)).sum(), np.float32),
                np.zeros(16, np.float32),
            )

    with pytest.raises(TargetError, match="the artefact differs from the model: top-20 overlap"):
        edgerec.export(model, Wrong(), tmp_path / "x.edgerec")
    assert list(tmp_path.iterdir()) == []
