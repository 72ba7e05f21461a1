"""Compressors that train go on after an interruption, to the same bytes."""

from __future__ import annotations

from pathlib import Path

import pytest

import edgerec
from edgerec.building.build import build
from edgerec.building.recipe import Recipe
from edgerec.compression.chain import run_chain as run_chain
from edgerec.compression.chain import same_content
from edgerec.contracts.compressor import Context
from edgerec.contracts.device import Budget, Device
from edgerec.contracts.host import Host
from edgerec.data.dataset import Dataset
from edgerec.errors import BudgetError, BundleError
from edgerec.model.device_model import DeviceModel
from edgerec.model.options import parse_spec
from edgerec.training.loop import train

STEPS = [
    "pq:bytes=20,epochs=4",
    "quantize:codec=int4,epochs=4",
    "prune:structure=dimensions,share=0.5,epochs=4",
    "prune:share=0.9,epochs=4",
    "lowrank:rank=8,epochs=4",
    "distill:width=8,epochs=4",
]


@pytest.fixture(scope="module", params=["historygcn", "graphsage"])
def model(dataset: Dataset, request: pytest.FixtureRequest) -> DeviceModel:
    return train(dataset, model=request.param, dim=16, epochs=2, batch=32).to_device_model()


@pytest.fixture(params=STEPS)
def step(model: DeviceModel, request: pytest.FixtureRequest) -> str:
    """A step that trains; other encoders than linear ones lose units, not dimensions."""
    if "dimensions" in request.param and not model.is_linear:
        return "prune:structure=units,share=0.5,epochs=4"
    return str(request.param)


def interrupt(done: int, total: int, what: str) -> None:
    """Stop after the second epoch of a training."""
    if "loss" in what and done == 2:
        raise KeyboardInterrupt


def test_an_interrupted_step(
    step: str, model: DeviceModel, dataset: Dataset, tmp_path: Path
) -> None:
    folder = tmp_path / "unfinished"
    with pytest.raises(KeyboardInterrupt):
        edgerec.compress(model, step, dataset=dataset, progress=interrupt, checkpoint=folder)
    (state,) = folder.iterdir()
    # What another training left there is another file's matter.
    other = edgerec.compress(model, step, dataset=dataset, seed=1, checkpoint=folder)
    assert list(folder.iterdir()) == [state]
    seen: list[int] = []
    resumed = edgerec.compress(
        model,
        step,
        dataset=dataset,
        checkpoint=folder,
        progress=lambda done, _, what: seen.append(done) if "loss" in what else None,
    )
    assert seen == [3, 4]
    assert not folder.exists()
    whole = edgerec.compress(model, step, dataset=dataset)
    assert same_content(resumed, whole)
    assert not same_content(other, whole)


def test_a_step_that_has_ended_is_not_trained_again(
    step: str, model: DeviceModel, dataset: Dataset, tmp_path: Path
) -> None:
    name, options = parse_spec(step)
    chain = [Host.installed().compressor(name, **options)]
    folder = tmp_path / "unfinished"
    once, _ = run_chain(model, chain, Context(dataset, checkpoint=folder))
    (state,) = folder.iterdir()
    seen: list[str] = []
    context = Context(dataset, 0, lambda *now: seen.append(now[2]), folder)
    again, _ = run_chain(model, chain, context)
    assert not any("loss" in what for what in seen)
    assert same_content(once, again)
    assert context.ended == [state]
    context.clear()
    assert not folder.exists()


def test_a_build_that_the_budget_refused_is_not_trained_again(
    model: DeviceModel, dataset: Dataset, tmp_path: Path
) -> None:
    chain = (("pq", {"bytes": "20", "epochs": "4"}),)
    small, large = (Device("d", Budget(max_bundle_bytes=most)) for most in (1000, 10**6))
    with pytest.raises(BudgetError):
        build(model, dataset, Recipe(chain, ("numpy",), small), tmp_path)
    seen: list[str] = []
    recipe = Recipe(chain, ("numpy",), large)
    build(model, dataset, recipe, tmp_path, progress=lambda *now: seen.append(now[2]))
    assert not any("loss" in what for what in seen)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["numpy.edgerec"]


def test_a_damaged_state_is_an_error(model: DeviceModel, dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        edgerec.compress(
            model, STEPS[0], dataset=dataset, progress=interrupt, checkpoint=tmp_path / "unfinished"
        )
    (state,) = (tmp_path / "unfinished").iterdir()
    state.write_bytes(state.read_bytes()[:-9])
    with pytest.raises(BundleError):
        edgerec.compress(model, STEPS[0], dataset=dataset, checkpoint=tmp_path / "unfinished")
    assert state.exists()


def test_a_build_goes_on(model: DeviceModel, dataset: Dataset, tmp_path: Path) -> None:
    recipe = Recipe((("pq", {"bytes": "20", "epochs": "4"}),), ("numpy",))

    def stop(done: int, total: int, what: str) -> None:
        if "(2 of 4)" in what:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(model, dataset, recipe, tmp_path, progress=stop)
    seen: list[str] = []
    build(model, dataset, recipe, tmp_path, progress=lambda *now: seen.append(now[2]))
    assert [text.split("(")[1] for text in seen if "loss" in text] == ["3 of 4)", "4 of 4)"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["numpy.edgerec"]


def test_a_build_gives_the_same_bytes(model: DeviceModel, dataset: Dataset, tmp_path: Path) -> None:
    recipe = Recipe((("quantize", {"codec": "int8"}),), ("numpy", "tflite", "onnx"))
    once, again = (build(model, dataset, recipe, tmp_path / name) for name in ("a", "b"))
    for one, other in zip(once, again, strict=True):
        assert one.path.read_bytes() == other.path.read_bytes()
