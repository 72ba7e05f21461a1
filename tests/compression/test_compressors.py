"""First-party compressors: the contract, the textbook examples, and refusals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pytest

import edgerec
from edgerec.compression.chain import run_chain
from edgerec.contracts.compressor import Compressor, Context
from edgerec.contracts.host import Host
from edgerec.data.dataset import Dataset
from edgerec.data.quality import evaluate
from edgerec.errors import CompressError, OptionError
from edgerec.model.codecs import Fp16, Fp32, Int4, Int8
from edgerec.model.device_model import DeviceModel
from edgerec.model.table import Table
from edgerec.testing import check_codec, check_compressor, example_models
from edgerec.training.loop import train
from edgerec_prune import Prune
from edgerec_prune.importance import keep_largest
from edgerec_prune.sparse import Sparse
from edgerec_quantize import Quantize
from edgerec_quantize.affine import affine_scale, dequantize, quantize


@pytest.fixture(scope="module")
def model(dataset: Dataset) -> DeviceModel:
    return train(dataset, epochs=8, dim=32).to_device_model()


COMPRESSORS: list[Compressor] = [
    Quantize(),
    Quantize(codec="int8", symmetric=False),
    Quantize(codec="int4"),
    Quantize(codec="int4", symmetric=True),
    Quantize(codec="fp16"),
    Quantize(codec="int4", range="mse"),
    Quantize(codec="int4", symmetric=True, range="mse"),
    Prune(share=0.8),
    Prune(share=0.8, importance="gradient"),
    Prune(share=0.8, importance="abs_gradient"),
    Prune(share=0.8, importance="taylor"),
    Prune(share=0.8, importance="fisher"),
    Prune(share=0.3, structure="items"),
    Prune(share=0.25, structure="dimensions"),
    Prune(share=0.25, structure="dimensions", importance="taylor"),
    Prune(share=0.3, structure="items", importance="fisher"),
]


@pytest.mark.parametrize("compressor", COMPRESSORS, ids=str)
def test_contract(compressor: Compressor, model: DeviceModel, dataset: Dataset) -> None:
    after = check_compressor(compressor, model, Context(dataset))
    assert after.table_bytes < model.table_bytes


def test_affine_worked_example() -> None:
    assert affine_scale(-1, 1, 0, 255) == 127.5
    codes = quantize(np.array([-1, 0, 1], np.float32), -1, 1)
    assert codes.tolist() == [0, 128, 255]
    back = dequantize(codes, -1, 1)
    assert np.allclose(back, [-1, 0, 1], atol=0.5 / 127.5 + 1e-6)


def test_the_affine_codec_is_the_textbook_map(model: DeviceModel) -> None:
    matrix = model.tables["items"].decode()
    table = Table.encode(matrix, Int8(symmetric=False))
    for row in range(5):
        low, high = float(matrix[row].min()), float(matrix[row].max())
        expected = quantize(matrix[row], low, high, -127, 127)
        assert np.abs(table.arrays["codes"][row] - expected).max() <= 1
        back = dequantize(expected, low, high, -127, 127)
        assert np.allclose(table.decode(np.array([row]))[0], back, atol=(high - low) / 254)


def test_keep_largest_drops_exactly_the_share() -> None:
    keep = keep_largest(np.array([[3, 1], [2, 2]], np.float32), 0.5)
    assert keep.tolist() == [[True, False], [False, True]]


def test_quantizing_keeps_quality(model: DeviceModel, dataset: Dataset) -> None:
    before = evaluate(model, dataset)
    kept, overlap = evaluate(edgerec.compress(model, "quantize"), dataset).kept(before)
    assert kept > 0.98
    assert overlap > 0.97


@pytest.mark.parametrize("values", ["fp16", "int8"])
def test_sparse_codec_contract(values: Any) -> None:
    check_codec(Sparse(values))


def test_chains_in_any_order_agree_on_the_codec(model: DeviceModel, dataset: Dataset) -> None:
    one = edgerec.compress(model, "prune:share=0.8", "quantize", dataset=dataset)
    other = edgerec.compress(model, "quantize", "prune:share=0.8", dataset=dataset)
    for result in (one, other):
        codec = result.tables["items"].codec
        assert isinstance(codec, Sparse)
        assert codec.values == "int8"
    assert [s["compressor"] for s in one.metadata["steps"]] == ["prune", "quantize"]


def test_the_report_has_bytes_before_and_after(model: DeviceModel) -> None:
    small, steps = run_chain(model, [Quantize("fp16"), Quantize("int4")])
    assert steps[0].bytes_before == model.table_bytes
    assert steps[0].bytes_after == steps[1].bytes_before
    assert steps[1].bytes_after == small.table_bytes


def test_a_step_without_effect_is_an_error(model: DeviceModel) -> None:
    with pytest.raises(CompressError, match=r"step 2 \(quantize\): had no effect on the model"):
        edgerec.compress(model, "quantize", "quantize")


def test_a_step_that_grows_the_tables_is_an_error(models: dict[str, DeviceModel]) -> None:
    small = models["sum"].with_codec(Int4(), ["items"])
    with pytest.raises(CompressError, match=r"step 1 \(widen\): grew the tables from [\d,]+ to"):
        run_chain(small, [_Widen()])


@dataclass(frozen=True)
class _Widen(Compressor):
    name: ClassVar[str] = "widen"

    def compress(self, model: DeviceModel, context: Context) -> DeviceModel:
        return model.with_codec(Fp32(), ["items"])


def test_pruning_that_would_grow_is_an_error(model: DeviceModel) -> None:
    with pytest.raises(
        CompressError, match=r"table 'items' would grow: .* bytes sparse with 10% removed"
    ):
        edgerec.compress(model, "quantize", "prune:share=0.1")


def test_dimensions_of_dense_encoders_are_tied(dataset: Dataset) -> None:
    model = train(dataset, model="graphsage", epochs=1, dim=8).to_device_model()
    with pytest.raises(CompressError, match="the encoder has dense layers"):
        edgerec.compress(model, "prune:structure=dimensions")


def test_dropping_dimensions_narrows_every_table(model: DeviceModel) -> None:
    small = edgerec.compress(model, "prune:structure=dimensions,share=0.25")
    assert {t.shape[1] for t in small.tables.values()} == {1, 24}


def test_gradients_need_data(model: DeviceModel) -> None:
    with pytest.raises(CompressError, match="prune: needs training interactions; pass the dataset"):
        edgerec.compress(model, "prune:importance=fisher")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("prune:share=2", "prune.share: expected a number between 0 and 1, got 2"),
        ("prune:share=much", "prune.share: expected a number, got 'much'"),
        ("quantize:codec=int2", "quantize.codec: unknown codec 'int2'; known: fp16, fp32, int4, "),
        ("quantize:codec=pq/parts=4", "quantize.codec pq: unknown option parts; options: subspa"),
        ("quantize:codec=pq/bits", "quantize.codec: expected name/option=value/..., each once"),
        ("quantize:codec=fp16,popular=2", "quantize.popular: expected between 0 and 1, got 2"),
        ("quantize:bits=8", "quantize: unknown option bits; options: codec, symmetric, range"),
        ("quantize:codec", "expected name:option=value,..., got 'codec'"),
        ("shrink", "unknown compressor 'shrink'; known: cluster, distill, lowrank, pq, prune"),
    ],
)
def test_bad_options(model: DeviceModel, spec: str, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        edgerec.compress(model, spec)


def test_an_option_without_effect_is_an_error(model: DeviceModel) -> None:
    with pytest.raises(OptionError, match="fp16 has no range"):
        edgerec.compress(model, "quantize:codec=fp16,symmetric=true")


def test_installed_compressors_can_be_asked() -> None:
    for compressor in Host.installed().compressors.values():
        offered = getattr(compressor, "search_space", lambda: None)()
        assert offered is None or isinstance(offered, Mapping)


@dataclass(frozen=True)
class InPlace(Compressor):
    """Halves the table as it should, and a constant of the model that it was given."""

    name: ClassVar[str] = "in-place"

    def compress(self, model: DeviceModel, context: Context) -> DeviceModel:
        """Write to what is not its own."""
        model.constants["w1"][:] *= 0.5
        return model.with_codec(Fp16(), ["items"])


def test_a_constant_cannot_be_changed_in_place() -> None:
    with pytest.raises(ValueError, match="read-only"):
        check_compressor(InPlace(), example_models()["dense"])
