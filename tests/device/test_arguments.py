"""The arguments of a Scorer: wrong types and ranges are named, and nothing else is raised."""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgerec.contracts.bundle import Bundle
from edgerec.contracts.host import Host
from edgerec.device.recommendations import Recommendations
from edgerec.device.scorer import Scorer
from edgerec.errors import BundleError, OptionError, TargetError
from edgerec.exporting.export import export
from edgerec.model.codecs import Int8
from edgerec.model.device_model import DeviceModel
from edgerec.testing import example_models

TARGETS = [
    name
    for name in ("numpy", "onnx", "tflite", "torchscript", "executorch")
    if Host.installed().target(name).runtimes()
]

#: Calls per thread on one Scorer.
CALLS = int(os.environ.get("EDGEREC_THREAD_CALLS", "200"))


@pytest.fixture(scope="module")
def path(models: dict[str, DeviceModel], tmp_path_factory: pytest.TempPathFactory) -> Path:
    model = models["sum"].with_codec(Int8(), ["items"])
    return export(model, "numpy", tmp_path_factory.mktemp("x") / "x.edgerec", top_k=20).path


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"history": None}, "history: expected a list of ids, got NoneType"),
        ({"history": 50}, "history: expected a list of ids, got int"),
        ({"history": b"50"}, "history: expected a list of ids, got bytes"),
        ({"history": bytearray(b"50")}, "history: expected a list of ids, got bytearray"),
        ({"history": {"i00001": 1}}, "history: expected a list of ids, got dict"),
        ({"history": iter(["i00001"])}, "history: expected a list of ids, got list_iterator"),
        ({"history": np.zeros((2, 2))}, "history: expected a list of ids, got ndarray"),
        ({"history": [b"i00001"]}, r"history\[0\]: expected an id, .*, got b'i00001'"),
        ({"history": ["i00001", None]}, r"history\[1\]: expected an id, .*, got None"),
        ({"history": [["i00001"]]}, r"history\[0\]: expected an id"),
        ({"k": True}, "k: expected an integer, got True"),
        ({"k": "5"}, "k: expected an integer, got '5'"),
        ({"k": None}, "k: expected an integer, got None"),
        ({"weights": 3}, "weights: expected a list of numbers, got int"),
        ({"weights": "12"}, "weights: expected a list of numbers, got the text '12'"),
        ({"weights": {1: 2, 3: 4}}, "weights: expected a list of numbers, got dict"),
        ({"weights": np.ones((2, 1))}, "weights: expected a list of numbers, got ndarray"),
        ({"weights": [1, [2]]}, r"weights\[1\]: expected a number from"),
    ],
)
def test_wrong_arguments(path: Path, arguments: dict[str, Any], message: str) -> None:
    scorer = Scorer.open(path)
    with pytest.raises(OptionError, match=message):
        scorer.recommend(**{"history": ["i00001", "i00002"], **arguments})


@pytest.mark.parametrize("threads", [0, -1, "2", 1.0, True, 10**6])
def test_wrong_threads(path: Path, threads: Any) -> None:
    with pytest.raises(OptionError, match="threads: expected an integer from 1 to 1,024"):
        Scorer.open(path, threads=threads)


def test_what_counts_as_a_list(path: Path) -> None:
    scorer = Scorer.open(path)
    expected = scorer.recommend(["i00001", "i00002"], weights=[1, 2])
    for history in (("i00001", "i00002"), np.array(["i00001", "i00002"])):
        for weights in ((1, 2), np.array([1, 2]), np.array([1, 2], np.float16)):
            assert scorer.recommend(history, weights=weights) == expected  # type: ignore[arg-type]  # arrays work, too


def test_a_repeated_item_counts_once_and_last(tmp_path: Path) -> None:
    model = example_models()["sum"].replace(recency=2.0)
    scorer = Scorer(export(model, "numpy", tmp_path / "x.edgerec"))
    expected = scorer.recommend(["i00002", "i00001"])
    assert scorer.recommend(["i00001", "i00002", "i00001"]) == expected
    assert scorer.recommend(["i00001", "i00002"]) != expected


def open_files() -> int:
    folder = Path("/proc/self/fd")
    return len(list(folder.iterdir())) if folder.exists() else 0


def test_a_closed_scorer(path: Path) -> None:
    before = open_files()
    with Scorer.open(path) as scorer:
        assert scorer.recommend(["i00001"])
    with pytest.raises(OptionError, match=r"x\.edgerec: the scorer is closed"):
        scorer.recommend(["i00001"])
    gc.collect()
    assert open_files() <= before


def test_some_payloads_run_only_if_they_are_trusted(
    models: dict[str, DeviceModel], tmp_path: Path
) -> None:
    path = export(models["sum"], "torchscript", tmp_path / "x.edgerec").path
    with pytest.raises(OptionError, match=r"x\.edgerec: a torchscript payload can do whatever"):
        Scorer.open(path)
    assert Scorer.open(path, trust=True).recommend(["i00001"])


@pytest.mark.parametrize("target", TARGETS)
def test_threads_share_a_scorer(target: str, tmp_path: Path) -> None:
    model = example_models(2000, 16)["sum"].with_codec(Int8(), ["items"])
    scorer = Scorer.open(export(model, target, tmp_path / "x.edgerec").path, trust=True)
    rng = np.random.default_rng(0)
    histories = [
        [model.items.ids[int(row)] for row in rng.choice(2000, n, replace=False)]
        for n in rng.integers(1, 30, 40)
    ]
    expected = [scorer.recommend(history) for history in histories]
    wrong: list[Any] = []

    def work() -> None:
        try:
            for number in range(CALLS):
                place = number % len(histories)
                if scorer.recommend(histories[place]) != expected[place]:
                    wrong.append(place)
        except BaseException as error:  # noqa: BLE001  # a thread's error would go unnoticed
            wrong.append(error)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def all_but(rows: int, k: int, target: str, folder: Path) -> tuple[Recommendations, list[str]]:
    """What is recommended to someone who has seen all items but the first ``rows`` ones."""
    model = example_models(300, 8)["sum"]
    bundle = export(model, target, folder / "x.edgerec", top_k=20)
    ids = list(model.items.ids)
    return Scorer(bundle, trust=True).recommend(ids[rows:], k), ids[:rows]


@pytest.mark.parametrize("target", TARGETS)
def test_everything_unseen_is_recommended(target: str, tmp_path: Path) -> None:
    found, unseen = all_but(2, 10, target, tmp_path)
    assert {r.id for r in found} == {*unseen}
    assert found.truncated == 298 - 30


@pytest.mark.parametrize("target", TARGETS)
def test_a_file_that_was_replaced(
    target: str, models: dict[str, DeviceModel], tmp_path: Path
) -> None:
    old, new = models["sum"], models["dense"]
    first = Scorer(export(old, target, tmp_path / "a.edgerec"), trust=True)
    expected = first.recommend(["i00003"])
    bundle = Bundle.open(tmp_path / "a.edgerec")
    export(new, target, tmp_path / "a.edgerec")
    assert Scorer(bundle, trust=True).recommend(["i00003"]) == expected
    scorer = Scorer.open(tmp_path / "a.edgerec", trust=True)
    after = scorer.recommend(["i00003"])
    (tmp_path / "a.edgerec").unlink()
    assert scorer.recommend(["i00003"]) == after != expected


def test_a_file_that_is_replaced_while_it_is_opened(path: Path, tmp_path: Path) -> None:
    copy = tmp_path / "x.edgerec"
    copy.write_bytes(path.read_bytes())
    bundle = Bundle.open(copy)

    def open_it() -> None:
        with bundle.container.as_file() as place:
            place.unlink()

    with pytest.raises(BundleError, match="was replaced while it was opened; open it again"):
        open_it()


Change = Callable[[Any, Any], Any]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda ids, scores: (ids, scores * np.nan), "other than rows with finite scores"),
        (lambda ids, scores: (ids + 10**6, scores), "a row outside the catalogue"),
        (lambda ids, scores: (np.where(ids == ids[1], ids[0], ids), scores), "or a row twice"),
        (lambda ids, scores: (ids[:3], scores), "other than rows with finite scores"),
        (lambda ids, scores: ids, "other than rows with finite scores|ValueError"),
        (lambda ids, scores: 1 / 0, "target numpy: ZeroDivisionError"),
    ],
)
def test_a_runtime_that_returns_something_else(
    path: Path, monkeypatch: pytest.MonkeyPatch, change: Change, message: str
) -> None:
    target = Host.installed().targets["numpy"]
    load = target.load

    def loads(self: Any, bundle: Bundle, runtime: str | None = None, threads: int = 1) -> Any:
        run = load(self, bundle, runtime, threads)

        def other(*inputs: Any) -> Any:
            ids, scores, user = run(*inputs)
            changed = change(ids, scores)
            return (*changed, user) if isinstance(changed, tuple) else changed

        return other

    monkeypatch.setattr(target, "load", loads)
    with pytest.raises(TargetError, match=message):
        Scorer.open(path).recommend(["i00001"])


def test_a_runtime_that_fails_to_load(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def leave(*_: object) -> None:
        raise SystemExit(0)

    monkeypatch.setattr(Host.installed().targets["numpy"], "load", leave)
    with pytest.raises(TargetError, match=r"x\.edgerec: target numpy: SystemExit: 0"):
        Scorer.open(path)
