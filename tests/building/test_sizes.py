"""Sizes are foreseen, and outlines equal results, for every pair of first-party compressors."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from edgerec.building.search.sizes import shape_of
from edgerec.building.search.trials import Search, SkippedError
from edgerec.compression.chain import run_chain
from edgerec.contracts.compressor import Context
from edgerec.contracts.device import Budget, Device
from edgerec.contracts.host import Host
from edgerec.data.dataset import Dataset
from edgerec.errors import CompressError, EdgerecError, TargetError
from edgerec.exporting.export import export
from edgerec.model.device_model import DeviceModel
from edgerec.model.options import parse_spec
from edgerec.training.loop import train
from tests.conftest import make_dataset

STEPS = [
    "quantize:codec=int8",
    "quantize:codec=int4",
    "prune:structure=items,share=0.3",
    "prune:structure=dimensions,share=0.5",
    "prune:structure=weights,share=0.8",
    "lowrank:rank=16",
    "distill:width=32,epochs=1",
    "pq:bytes=24,epochs=1",
]


@pytest.fixture(scope="module")
def many() -> Dataset:
    """A data set with enough items for codebooks to pay off."""
    return make_dataset(100, 900).split_random(0.2).split_random(0.1, part="valid")


@pytest.fixture(scope="module")
def large(many: Dataset) -> DeviceModel:
    return train(many, epochs=1, dim=64).to_device_model()


@pytest.mark.parametrize("target", ["numpy", "onnx", "tflite"])
@pytest.mark.parametrize("first", STEPS)
def test_sizes_are_foreseen(
    first: str, target: str, large: DeviceModel, many: Dataset, tmp_path: Path
) -> None:
    host, context = Host.installed(), Context(dataclasses.replace(many, valid=None, test=None))
    compared = 0
    for second in ("", *STEPS):
        chain = [parse_spec(spec) for spec in (first, second) if spec]
        runner = Search(
            *(large, many, Device("any", Budget()), (target,), 60, 0, host),
            allow_pruning_items=True,
        )
        figures: dict[str, Any] = {"steps": []}
        steps = [host.compressor(name, **options) for name, options in chain]
        try:
            runner._foresee(large, steps, [], figures, over_budget=True)
            small, taken = run_chain(large, steps, context)
        except (SkippedError, TargetError, CompressError):
            continue
        foreseen = figures.get("bundle_bytes")
        if foreseen is None:
            continue
        recorded = [{k: v for k, v in asdict(step).items() if k != "seconds"} for step in taken]
        path = tmp_path / "x.edgerec"
        export(small, target, path, provenance={"steps": recorded})
        assert foreseen == pytest.approx(path.stat().st_size, rel=0.01), (first, second)
        compared += 1
    assert compared or (target != "numpy" and first.startswith(("pq", "prune:structure=weights")))


@pytest.mark.parametrize("first", STEPS)
def test_outlines_equal_results(first: str, large: DeviceModel, many: Dataset) -> None:
    host, context = Host.installed(), Context(dataclasses.replace(many, valid=None, test=None))
    compared = 0
    for second in ("", *STEPS):
        outline: DeviceModel | None = large
        result = large
        for name, options in [parse_spec(spec) for spec in (first, second) if spec]:
            step = host.compressor(name, **options)
            try:
                outline = None if outline is None else step.outline(outline)
            except EdgerecError as refused:
                # What cannot be outlined cannot be done, either.
                with pytest.raises(EdgerecError, match=re.escape(str(refused).split(";")[0])):
                    run_chain(result, [step], context)
                break
            try:
                result, _ = run_chain(result, [step], context)
            except CompressError as error:
                if re.search("had no effect|grow|grew", str(error)):
                    break
                raise
            if outline is None:
                break
            assert shape_of(outline) == shape_of(result), (first, second)
            compared += 1
    assert compared
