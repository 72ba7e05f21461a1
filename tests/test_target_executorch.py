"""ExecuTorch: the contract, one copy of each table, and what its runtime asks for.

executorch needs numpy 2, tflite-runtime numpy 1: in the environment of the other targets
what needs the runtime is skipped, and .ci/run runs this file again in one that has it.
"""

from __future__ import annotations

import dataclasses
import gc
import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edgerec.bundle import Bundle, write_bundle
from edgerec.codecs import Codec, Fp16, Fp32, Int4, Int8
from edgerec.data import Dataset
from edgerec.device_model import DeviceModel
from edgerec.errors import OptionError, RuntimeMissingError, TargetError
from edgerec.host import host
from edgerec.matrix import capabilities, markdown
from edgerec.ops import Op
from edgerec.parity import measure_parity, sample_histories
from edgerec.quality import match_rows
from edgerec.recipe import compress
from edgerec.target import Signature, export
from edgerec.testing import check_target, example_models
from edgerec_executorch import ExecuTorchTarget

needs_runtime = pytest.mark.skipif(
    importlib.util.find_spec("executorch") is None,
    reason="executorch is not installed here; it has an environment of its own",
)

CODECS = [Fp32(), Fp16(), Int8(), Int8(symmetric=False), Int4(), Int4(symmetric=True)]


def coded(codec: Codec, items: int = 3000, width: int = 32) -> DeviceModel:
    """A model with one tied table in a codec, and a float a row beside it."""
    return example_models(items, width)["sum"].with_codec(codec, ["items"])


def lowered(model: DeviceModel) -> bytes:
    signature = Signature(len(model.items), model.history_length, 20)
    content = ExecuTorchTarget().lower(model, signature)["model.pte"]
    assert isinstance(content, bytes)
    return content


def test_refusals(models: dict[str, DeviceModel]) -> None:
    model = models["sum"]
    assert ExecuTorchTarget().refuse(model, None) == []
    renamed = dataclasses.replace(model.encoder[-1], output="star")
    personal = model.replace(
        encoder=(*model.encoder[:-1], renamed, Op("Add", ("star", "user_vector"), "user"))
    )
    assert ExecuTorchTarget().refuse(personal, None) == [
        "the encoder reads user_vector, which a call does not give"
    ]


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
    assert set(check_target(ExecuTorchTarget(), tmp_path).values()) == {"ok"}


@needs_runtime
@pytest.mark.parametrize("family", ["historygcn", "lightgcn", "graphsage"])
def test_parity_on_real_histories(family: str, dataset: Dataset, tmp_path: Path) -> None:
    pytest.importorskip("torch_geometric", reason="training is not installed here")
    from edgerec.training import train

    model = compress(train(dataset, model=family, epochs=2, dim=16).to_device_model(), "quantize")
    bundle = export(model, "executorch", tmp_path / "x.edgerec", top_k=20)
    rows, _ = match_rows(model, dataset)
    histories = [rows[h] for h in dataset.train.lists()]
    parity = measure_parity(ExecuTorchTarget().load(bundle), model, histories)
    assert parity.overlap >= 0.999, parity
    assert parity.score_error <= 1e-4, parity


@needs_runtime
@pytest.mark.parametrize("codec", CODECS, ids=str)
def test_wide_rows_in_several_parts(codec: Codec, tmp_path: Path) -> None:
    models = {"sum": example_models(5003, 256)["sum"]}
    assert set(check_target(ExecuTorchTarget(), tmp_path, models, (codec,)).values()) == {"ok"}


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
    assert len(content) <= 1.02 * model.table_bytes + 24_000


@needs_runtime
def test_padding_is_row_zero_of_no_weight(exported: tuple[DeviceModel, Bundle]) -> None:
    run = ExecuTorchTarget().load(exported[1])
    history, weights = np.full(30, -1, np.int32), np.zeros(30, np.float32)
    history[0], weights[0] = 7, 1
    ids, scores = run(history, weights)
    assert (ids.dtype, scores.dtype, ids.shape) == (np.int32, np.float32, (50,))
    assert np.all(np.diff(scores) <= 0)
    history[1:] = 0
    again, same = run(history, weights)
    assert np.array_equal(ids, again)
    assert np.array_equal(scores, same)
    none, zeros = run(np.full(30, -1, np.int32), np.zeros(30, np.float32))
    assert len(np.unique(none)) == 50
    assert np.array_equal(zeros, np.zeros(50))


@needs_runtime
def test_the_list_of_operators_is_one_that_the_runtime_has(tmp_path: Path) -> None:
    from executorch.extension.pybindings import _portable_lib as runtime

    bundle = export(coded(Int4(), 300), "executorch", tmp_path / "x.edgerec")
    names = ExecuTorchTarget().operators(bundle).split(",")
    assert {"aten::topk.values", "aten::index_select.out", "aten::mm.out"} <= set(names)
    assert set(names) <= set(runtime._get_operator_names())


@needs_runtime
def test_a_small_catalogue_returns_all_of_it(tmp_path: Path) -> None:
    bundle = export(coded(Int8(), 40), "executorch", tmp_path / "x.edgerec")
    assert bundle.signature.returned == 40


@needs_runtime
def test_threads_are_the_whole_process_s(tmp_path: Path) -> None:
    gc.collect()  # runners of other tests
    model = coded(Int8(), 500)
    bundle = export(model, "executorch", tmp_path / "x.edgerec")
    first = ExecuTorchTarget().load(bundle, threads=2)
    histories = sample_histories(model, 20)
    assert measure_parity(first, model, histories).overlap >= 0.999
    with pytest.raises(OptionError, match="open this bundle with threads=2"):
        ExecuTorchTarget().load(bundle, threads=1)
    second = ExecuTorchTarget().load(bundle, threads=2)
    assert measure_parity(second, model, histories).overlap >= 0.999
    del first, second
    ExecuTorchTarget().load(bundle, threads=1)


@needs_runtime
def test_scoring_loads_the_runtime_without_the_exporter(tmp_path: Path) -> None:
    path = tmp_path / "x.edgerec"
    export(coded(Int8(), 300), "executorch", path, top_k=20)
    code = (
        "import sys, edgerec; "
        f"print(len(edgerec.Scorer.open({str(path)!r}).recommend(['i00001', 'i00002'], 5)), "
        "*(n for n in ('executorch.exir', 'torchao', 'polars', 'rich') if n in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["5"], done.stderr


@needs_runtime
def test_a_program_that_the_runtime_does_not_take(
    models: dict[str, DeviceModel], tmp_path: Path
) -> None:
    path, payload = tmp_path / "x.edgerec", {"model.pte": bytes(4096)}
    write_bundle(path, models["sum"], "executorch", Signature(600, 30, 20), payload, {})
    with pytest.raises(TargetError, match="ExecuTorch does not take this program"):
        ExecuTorchTarget().load(Bundle.open(path))


@needs_runtime
def test_a_file_of_another_layout_is_an_error() -> None:
    from edgerec_executorch.pte import share

    content = lowered(coded(Int8(), 300))
    assert share(content) == content
    with pytest.raises(TargetError, match="unknown layout"):
        share(content[:8] + b"eh99" + content[12:])


@needs_runtime
def test_the_docs_show_what_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    # The contract has every op; each costs the exporter seconds.
    monkeypatch.setattr("edgerec.matrix.OPS", {"Softmax": 1})
    found = capabilities(targets=["executorch"])
    page = (Path(__file__).parents[1] / "docs" / "capabilities.md").read_text("utf-8")
    rows = [r for r in markdown(found).splitlines() if r.startswith("| executorch ")]
    shown = [r for r in page.splitlines() if r.startswith("| executorch ")]
    cells = [[c[:3] for c in row.split(" | ")] for row in (*rows, *shown)]
    assert len(rows) == len(shown) == 1
    assert cells[0] == cells[1]
    assert all(c.reason in page for c in found)


def test_the_target_is_listed() -> None:
    assert "executorch" in host().targets
