"""On arm64 every target computes what the oracle does: bundles from here, run under qemu.

``python -m edgerec.remote.sysroot`` makes what this needs; without it the tests are skipped.
"""

from __future__ import annotations

import os
import platform
from pathlib import Path

import pytest

from edgerec.contracts.host import Host
from edgerec.data.dataset import Dataset
from edgerec.errors import RemoteError
from edgerec.exporting.answers import Answers, compare_lists
from edgerec.exporting.export import export
from edgerec.exporting.proof import MAX_SCORE_ERROR, MIN_OVERLAP, sample_histories, uneven_weights
from edgerec.model.codecs import Int8
from edgerec.model.device_model import DeviceModel
from edgerec.remote.bench import bench_on, connect
from edgerec.remote.sysroot import default_folder, read_manifest
from edgerec.testing import CORE_CODECS, example_models
from edgerec.training.loop import train
from edgerec_pq.codec import PQ
from tests.rigs.answers import ask
from tests.rigs.codecs import CODECS
from tests.rigs.codecs import coded as in_codec

SYSROOT = default_folder()
pytestmark = [
    pytest.mark.slow,
    pytest.mark.device,
    pytest.mark.skipif(
        not read_manifest(SYSROOT),
        reason=f"no arm64 sysroot in {SYSROOT}: docs/devices.md has the command that makes it",
    ),
]

TARGETS = ["numpy", "tflite", "onnx", "torchscript"]
FAMILIES = ["historygcn", "lightgcn", "graphsage"]

#: The models of which tables are sums of codewords, too.
SUMS = ("sum", "attention")

#: Runtimes choose kernels by what a processor has: plain NEON (Pi Zero 2, Pi 4), int8 dot
#: products (Pi 5, phones since 2018), int8 matrix products and SVE (phones since 2021).
CPUS = ["cortex-a53", "cortex-a76", "max"]

#: For each model, codec, runtime and processor.
HISTORIES = int(os.environ.get("EDGEREC_ARM64_HISTORIES", "40"))

#: A bundle's file to the model in it.
Exported = dict[Path, DeviceModel]


@pytest.fixture(scope="module")
def families(dataset: Dataset) -> dict[str, DeviceModel]:
    """Trained models of each GNN family, and small ones that use every op, head and table."""
    trained = {f: train(dataset, model=f, epochs=2, dim=16).to_device_model() for f in FAMILIES}
    return trained | example_models()


@pytest.fixture(scope="module", params=TARGETS)
def exported(
    request: pytest.FixtureRequest,
    families: dict[str, DeviceModel],
    tmp_path_factory: pytest.TempPathFactory,
) -> Exported:
    """A bundle of one target for each family and codec."""
    folder = tmp_path_factory.mktemp(request.param)
    found = {}
    for family, model in families.items():
        sums = (PQ(4, 2, runs=9, word_bits=4),) if family in SUMS else ()
        for number, codec in enumerate((*CORE_CODECS, *sums)):
            # Vectors of one number an item (LightGCN's degree weights) keep their codec.
            coded = model.with_codec(codec, [n for n, t in model.tables.items() if t.shape[1] > 1])
            path = folder / f"{family}-{codec.name}-{number}.edgerec"
            export(coded, request.param, path, top_k=20)
            found[path] = coded
    # Every structure that a codec can declare; rows are long enough for all groups.
    for number, codec in enumerate(CODECS):
        structured = in_codec(example_models(700, 32)["sum"], codec)
        path = folder / f"structure-{number}.edgerec"
        export(structured, request.param, path, top_k=20)
        found[path] = structured
    return found


@pytest.mark.parametrize("cpu", CPUS)
def test_parity(cpu: str, exported: Exported) -> None:
    expected = {}
    for path, model in exported.items():
        rows = sample_histories(model, HISTORIES, seed=1)
        expected[path] = Answers(model, rows, 20, uneven_weights(rows))
    answers = ask(connect(f"qemu:aarch64?cpu={cpu}"), expected, timeout=1800)
    target = Host.installed().target(next(iter(exported)).parent.name.rstrip("0123456789"))
    asked = {(path.name, runtime) for path in exported for runtime in target.runtimes()}
    assert answers.keys() == asked, "the sysroot lacks a runtime that is installed here"
    for path in exported:
        for runtime in target.runtimes():
            parity = compare_lists(answers[path.name, runtime], expected[path])
            assert parity.overlap >= MIN_OVERLAP, (path.stem, runtime, parity)
            assert parity.score_error <= MAX_SCORE_ERROR, (path.stem, runtime, parity)


def test_bench_says_that_it_is_emulated(models: dict[str, DeviceModel], tmp_path: Path) -> None:
    model = models["sum"].with_codec(Int8(), ["items"])
    bundle = export(model, "onnx", tmp_path / "x.edgerec", top_k=20)
    figures = bench_on("qemu:aarch64?cpu=cortex-a72", bundle.path)
    assert figures.emulated is True
    assert figures.machine == "aarch64"
    assert figures.cpu == "emulated cortex-a72"
    assert figures.model.startswith("qemu-user ")
    assert figures.runtime_version == read_manifest(SYSROOT)["packages"]["onnxruntime"]
    assert platform.machine() == bench_on("local", bundle.path).machine


def test_a_processor_that_qemu_does_not_know(
    models: dict[str, DeviceModel], tmp_path: Path
) -> None:
    bundle = export(models["sum"], "numpy", tmp_path / "x.edgerec", top_k=20)
    with pytest.raises(RemoteError, match="unable to find CPU model 'z80'"):
        bench_on("qemu:aarch64?cpu=z80", bundle.path)
