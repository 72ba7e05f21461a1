"""Tests specific to executorch: the contract, one copy of each table, and its runtime's demands.

executorch needs numpy 2, and tflite-runtime needs numpy 1. In the environment of the other targets,
tests that need the runtime are skipped, and .ci/run runs this file again in one with executorch.
"""

from __future__ import annotations

import gc
import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edgerec.compression.chain import compress
from edgerec.contracts.bundle import Bundle
from edgerec.contracts.bundle_writer import write_bundle
from edgerec.contracts.host import Host
from edgerec.contracts.signature import Signature
from edgerec.data.dataset import Dataset
from edgerec.data.matching import match_rows
from edgerec.errors import OptionError, RuntimeMissingError, TargetError
from edgerec.exporting.answers import Answers, measure_parity
from edgerec.exporting.capabilities import capabilities, markdown
from edgerec.exporting.export import export
from edgerec.exporting.proof import sample_histories
from edgerec.model.codecs import Codec, Fp16, Fp32, Int4, Int8
from edgerec.model.device_model import DeviceModel
from edgerec.model.table import Table
from edgerec.testing import check_target, example_models
from edgerec.testing.models import adverse_models
from edgerec_executorch import ExecuTorchTarget

needs_runtime = pytest.mark.skipif(
    importlib.util.find_spec("executorch") is None,
    reason="executorch is not installed here; it needs a separate environment",
)

CODECS = [Fp32(), Fp16(), Int8(), Int8(symmetric=False), Int4(), Int4(symmetric=True)]


def coded(codec: Codec, items: int = 3000, width: int = 32) -> DeviceModel:
    """Return a model with one tied table in a codec, and another table of one float per row."""
    return example_models(items, width)["sum"].with_codec(codec, ["items"])


def lowered(model: DeviceModel) -> bytes:
    signature = Signature(len(model.items), model.history_length, 20)
    content = ExecuTorchTarget().lower(model, signature)["model.pte"]
    assert isinstance(content, bytes)
    return content


def test_refusals(models: dict[str, DeviceModel]) -> None:
    assert ExecuTorchTarget().refuse(models["sum"]) == []
    assert ExecuTorchTarget().refuse(adverse_models()["situated"]) == []


def test_a_missing_runtime_says_where_to_install_it(
    models: dict[str, DeviceModel], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    signature = Signature(600, 30, 20)
    write_bundle(tmp_path / "x.edgerec", models["sum"], "executorch", signature, {}, {})
    bundle = Bundle.open(tmp_path / "x.edgerec")
    for runtime in (None, "executorch", "another"):
        with pytest.raises(RuntimeMissingError, match=r"edgerec\[executorch\]', in an environ"):
            ExecuTorchTarget().load(bundle, runtime)
    with pytest.raises(RuntimeMissingError, match=r"pip install 'edgerec\[executorch\]'"):
        export(models["sum"], "executorch", tmp_path / "y.edgerec")


@needs_runtime
def test_contract(tmp_path: Path) -> None:
    models = example_models() | adverse_models()
    # An export takes many seconds, and what these declare does not depend on the codec.
    few = {name: models.pop(name) for name in ("buys", "herbs", "situated", "blocks")}
    found = check_target(ExecuTorchTarget(), tmp_path, models)
    found |= check_target(ExecuTorchTarget(), tmp_path, few, (Fp32(), Int8()))
    assert set(found.values()) == {"ok"}


@needs_runtime
@pytest.mark.parametrize("family", ["historygcn", "lightgcn", "graphsage"])
def test_parity_on_real_histories(family: str, dataset: Dataset, tmp_path: Path) -> None:
    pytest.importorskip("torch_geometric", reason="training is not installed here")
    from edgerec.training.loop import train

    model = compress(train(dataset, model=family, epochs=2, dim=16).to_device_model(), "quantize")
    bundle = export(model, "executorch", tmp_path / "x.edgerec", top_k=20)
    rows, _ = match_rows(model, dataset)
    histories = [rows[h] for h in dataset.train.lists()]
    parity = measure_parity(ExecuTorchTarget().load(bundle), Answers(model, histories, 20))
    assert parity.overlap >= 0.999, parity
    assert parity.score_error <= 1e-4, parity


@needs_runtime
@pytest.mark.parametrize("codec", CODECS, ids=str)
def test_wide_rows_in_several_parts(codec: Codec, tmp_path: Path) -> None:
    models = {"sum": example_models(5003, 256)["sum"]}
    assert set(check_target(ExecuTorchTarget(), tmp_path, models, (codec,)).values()) == {"ok"}


@needs_runtime
@pytest.mark.parametrize("codec", [Int8(), Int8(symmetric=False), Int4()], ids=str)
def test_rows_of_zeros_and_almost_nothing(codec: Codec, tmp_path: Path) -> None:
    model = example_models(3000, 32)["sum"]
    rows = model.tables["items"].decode().copy()
    rows[7], rows[11] = 0, rows[11] * 1e-39
    model = model.replace(tables={**model.tables, "items": Table.encode(rows, Fp32())})
    export(model.with_codec(codec, ["items"]), "executorch", tmp_path / "x.edgerec", top_k=20)


@pytest.fixture(scope="module", params=CODECS, ids=str)
def exported(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[DeviceModel, Bundle]:
    """A model in each codec, and its bundle."""
    model = coded(request.param)
    path = tmp_path_factory.mktemp("executorch") / "x.edgerec"
    return model, export(model, "executorch", path, top_k=20)


@needs_runtime
def test_a_table_is_stored_once(exported: tuple[DeviceModel, Bundle]) -> None:
    model, bundle = exported
    content = bundle.read("model.pte")
    for array in model.tables["items"].arrays.values():
        stored = array ^ np.uint8(0x88) if array.dtype == np.uint8 else array
        assert content.count(stored.tobytes()) == 1
    assert len(content) <= 1.02 * model.table_bytes + 50_000


@needs_runtime
def test_padding_is_not_read(exported: tuple[DeviceModel, Bundle]) -> None:
    run = ExecuTorchTarget().load(exported[1])
    history, weights = np.full(30, -1, np.int32), np.zeros(30, np.float32)
    history[-1], weights[-1] = 7, 1
    ids, scores, user = run(history, weights)
    assert (ids.dtype, scores.dtype, ids.shape) == (np.int32, np.float32, (50,))
    assert np.all(np.diff(scores[ids >= 0]) <= 0)
    weights[:-1] = 1000
    for one, again in zip((ids, scores, user), run(history, weights), strict=True):
        assert np.array_equal(one, again)
    none, zeros, user = run(np.full(30, -1, np.int32), np.zeros(30, np.float32))
    assert len(np.unique(none)) == 50
    assert not zeros.any()
    assert not user.any()


@needs_runtime
def test_the_runtime_has_all_listed_operators(tmp_path: Path) -> None:
    from executorch.extension.pybindings import _portable_lib as runtime

    bundle = export(coded(Int4(), 300), "executorch", tmp_path / "x.edgerec")
    names = ExecuTorchTarget().operators(bundle).split(",")
    assert {"aten::topk.values", "aten::index_select.out", "aten::mm.out"} <= set(names)
    assert set(names) <= set(runtime._get_operator_names())


@needs_runtime
def test_a_small_catalogue_is_returned_completely(tmp_path: Path) -> None:
    bundle = export(coded(Int8(), 40), "executorch", tmp_path / "x.edgerec")
    assert bundle.signature.returned == 40


@needs_runtime
def test_the_thread_pool_is_shared_by_the_process(tmp_path: Path) -> None:
    gc.collect()  # releases artefacts of other tests
    model = coded(Int8(), 500)
    bundle = export(model, "executorch", tmp_path / "x.edgerec")
    first = ExecuTorchTarget().load(bundle, threads=2)
    histories = sample_histories(model, 20)
    assert measure_parity(first, Answers(model, histories, 20)).overlap >= 0.999
    with pytest.raises(OptionError, match="open this bundle with threads=2"):
        ExecuTorchTarget().load(bundle, threads=1)
    second = ExecuTorchTarget().load(bundle, threads=2)
    assert measure_parity(second, Answers(model, histories, 20)).overlap >= 0.999
    del first, second
    ExecuTorchTarget().load(bundle, threads=1)


@needs_runtime
def test_scoring_loads_the_runtime_without_the_exporter(tmp_path: Path) -> None:
    path = tmp_path / "x.edgerec"
    export(coded(Int8(), 300), "executorch", path, top_k=20)
    code = (
        "import sys, edgerec; "
        f"scorer = edgerec.Scorer.open({str(path)!r}, trust=True); "
        "print(len(scorer.recommend(['i00001', 'i00002'], 5)), "
        "*(n for n in ('executorch.exir', 'torchao', 'polars', 'rich') if n in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["5"], done.stderr


@needs_runtime
def test_a_program_that_the_runtime_does_not_accept(
    models: dict[str, DeviceModel], tmp_path: Path
) -> None:
    path, payload = tmp_path / "x.edgerec", {"model.pte": bytes(4096)}
    write_bundle(path, models["sum"], "executorch", Signature(600, 30, 20), payload, {})
    with pytest.raises(TargetError, match="ExecuTorch does not accept this program"):
        ExecuTorchTarget().load(Bundle.open(path))


@needs_runtime
def test_a_file_with_another_layout_is_an_error() -> None:
    from edgerec_executorch.pte import share

    content = lowered(coded(Int8(), 300))
    assert share(content) == content
    with pytest.raises(TargetError, match="unknown layout"):
        share(content[:8] + b"eh99" + content[12:])


@needs_runtime
def test_the_docs_match_the_measurements(monkeypatch: pytest.MonkeyPatch) -> None:
    # The contract test covers every op, and each op takes the exporter seconds.
    monkeypatch.setattr("edgerec.exporting.capabilities.OPS", {"Softmax": 1})
    found = capabilities(targets=["executorch"])
    page = (Path(__file__).parents[2] / "docs" / "capabilities.md").read_text("utf-8")
    rows = [r for r in markdown(found).splitlines() if r.startswith("| executorch ")]
    shown = [r for r in page.splitlines() if r.startswith("| executorch ")]
    cells = [[c[:3] for c in row.split(" | ")] for row in (*rows, *shown)]
    assert len(rows) == len(shown) == 1
    assert cells[0] == cells[1]
    assert all(c.reason in page for c in found)


def test_the_target_is_listed() -> None:
    assert "executorch" in Host.installed().targets
