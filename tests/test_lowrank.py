"""lowrank: Eckart-Young, the folding of bases into encoders, and refusals."""

from __future__ import annotations

import numpy as np
import pytest

import edgerec
from edgerec.basis import leading_basis
from edgerec.codecs import F32
from edgerec.compressor import Compressor, Context
from edgerec.data import Dataset
from edgerec.device_model import DeviceModel, Table
from edgerec.errors import CompressError, OptionError
from edgerec.ops import Op
from edgerec.options import build, parse_spec
from edgerec.quality import evaluate
from edgerec.reference import Reference, pad_history
from edgerec.testing import check_compressor, example_models
from edgerec.training import train
from edgerec_lowrank import LowRank
from edgerec_lowrank.basis import factorize, rank_for_energy
from edgerec_lowrank.rewrite import groups_of
from edgerec_quantize import Quantize

EXAMPLES = ["sum", "two-tables", "dense", "attention"]


@pytest.fixture(scope="module")
def model(dataset: Dataset) -> DeviceModel:
    return train(dataset, epochs=8, dim=32, batch=256).to_device_model()


def scores(model: DeviceModel) -> F32:
    oracle = Reference(model)
    history, weights = pad_history(np.array([3, 1, 4]), model.history_length, model.normalization)
    return oracle.logits(oracle.encode(history[None], weights[None]))[0]


def lowrank(spec: str) -> LowRank:
    """Make it as the command line does."""
    name, options = parse_spec(spec)
    return build(LowRank, options, name)


def of_rank(model: DeviceModel, rank: int) -> DeviceModel:
    """The model with tables that span ``rank`` dimensions, one space for those that share."""
    rng = np.random.default_rng(0)
    groups, tables = groups_of(model), {}
    spans = {g: np.linalg.qr(rng.normal(size=(64, 64)))[0] for g in sorted(set(groups.values()))}
    for name, table in model.tables.items():
        matrix = table.decode()
        if name in groups:
            width = matrix.shape[1]
            span = np.linalg.qr(spans[groups[name]][:width, :rank])[0]
            matrix = (matrix @ span @ span.T).astype(np.float32)
        tables[name] = table.replace(matrix)
    return model.replace(tables=tables)


def test_factorize_worked_example() -> None:
    matrix = np.array([[3, 0], [0, 2], [0, 0]], np.float32)
    vectors, values = leading_basis(matrix)
    assert np.allclose(values, [3, 2])
    assert np.allclose(vectors @ vectors.T, np.eye(2))
    a, b = factorize(matrix, 1)
    assert np.allclose(a @ b, [[3, 0], [0, 0], [0, 0]])
    assert np.isclose(np.linalg.norm(matrix - a @ b), 2)  # the first σ left out


def test_factorize_is_the_truncated_svd() -> None:
    matrix = np.random.default_rng(0).normal(size=(50, 12)).astype(np.float32)
    left, values, right = np.linalg.svd(matrix, full_matrices=False)
    a, b = factorize(matrix, 5)
    assert np.allclose(a @ b, left[:, :5] * values[:5] @ right[:5], atol=1e-5)


def test_rank_for_energy_worked_example() -> None:
    values = np.array([3, 2, 1, 1], np.float32)  # squares 9, 4, 1, 1 of 15
    assert rank_for_energy(values, 0.5) == 2  # 1 would do; int4 wants it even
    assert rank_for_energy(values, 0.86) == 2
    assert rank_for_energy(values, 0.9) == 4


@pytest.mark.parametrize("compressor", [LowRank(16), LowRank(energy=0.7)], ids=str)
def test_contract(compressor: Compressor, model: DeviceModel) -> None:
    assert check_compressor(compressor, model).table_bytes < model.table_bytes


@pytest.mark.parametrize("name", EXAMPLES)
@pytest.mark.parametrize("options", [{"rank": 6}, {"energy": 0.5}], ids=str)
def test_every_encoder_becomes_narrower(name: str, options: dict[str, float]) -> None:
    model = example_models()[name]
    after = check_compressor(LowRank(**options), model)  # type: ignore[arg-type]
    wide = [name for name, table in model.tables.items() if table.shape[1] > 1]
    assert all(after.tables[name].shape[1] < model.tables[name].shape[1] for name in wide)


@pytest.mark.parametrize("name", EXAMPLES)
def test_tables_of_that_rank_lose_nothing(name: str) -> None:
    model = of_rank(example_models()[name], 6)
    after = LowRank(6).compress(model, Context())
    expected = scores(model)
    if model.head.kind == "cosine":  # a rotation keeps lengths only inside the span
        expected = expected * np.corrcoef(expected, scores(after))[0, 1]
        assert np.corrcoef(expected, scores(after))[0, 1] > 0.999
        return
    assert np.allclose(scores(after), expected, atol=1e-5)


def test_tables_that_meet_share_a_basis() -> None:
    models = example_models()
    assert groups_of(models["two-tables"]) == {"past": "items", "items": "items"}
    assert groups_of(models["dense"]) == {"past": "past", "items": "items"}
    assert groups_of(models["sum"]) == {"items": "items"}


def test_a_linear_encoder_stays_as_it_is(model: DeviceModel) -> None:
    after = edgerec.compress(model, LowRank(16))
    assert after.encoder == model.encoder
    assert not after.constants
    assert {n: t.shape[1] for n, t in after.tables.items()} == {"items": 16, "past_scale": 1}


def test_graphsage_takes_the_basis_into_its_layers(dataset: Dataset) -> None:
    sage = train(dataset, model="graphsage", epochs=4, dim=16, batch=256).to_device_model()
    after = check_compressor(LowRank(8), sage)
    assert {table.shape[1] for table in after.tables.values()} == {8}
    kept, _ = evaluate(after, dataset).kept(evaluate(sage, dataset))
    assert kept > 0.9


def test_quality_and_chains(model: DeviceModel, dataset: Dataset) -> None:
    before = evaluate(model, dataset)
    one = edgerec.compress(model, LowRank(16), Quantize("int4"))
    other = edgerec.compress(model, Quantize("int4"), LowRank(16))
    for result in (one, other):
        assert result.tables["items"].codec.name == "int4"
        assert result.table_bytes == Quantize("int4").bytes_after(
            LowRank(16).compress(model, Context())
        )
        kept, _ = evaluate(result, dataset).kept(before)
        assert kept > 0.9


@pytest.mark.parametrize("spec", ["lowrank:rank=32", "lowrank:rank=99", "lowrank:energy=0.9999999"])
def test_a_step_that_does_not_shrink_is_an_error(model: DeviceModel, spec: str) -> None:
    with pytest.raises(
        CompressError, match=r"lowrank: would not shrink the model at .* 32 columns"
    ):
        edgerec.compress(model, lowrank(spec))


def test_user_vectors_are_refused(model: DeviceModel) -> None:
    items = Table.encode(model.tables["items"].decode(), model.tables["items"].codec)
    own = model.replace(
        tables={"items": items},
        constants={"one": np.ones((1, 1), np.float32)},
        encoder=(Op("Mul", ("user_vector", "one"), "user"),),
    )
    with pytest.raises(CompressError, match="lowrank: the encoder reads a user_vector"):
        edgerec.compress(own, LowRank(8))


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("lowrank:rank=1", "lowrank.rank: expected at least 2, got 1"),
        ("lowrank:rank=half", "lowrank.rank: expected an integer, got 'half'"),
        ("lowrank:energy=1.5", "lowrank.energy: expected a number between 0 and 1, got 1.5"),
        ("lowrank:rank=8,energy=0.9", "lowrank.energy: give rank or energy, not both"),
        ("lowrank:rank=8,distill=5", "lowrank.distill: has no effect without epochs; give both"),
        ("lowrank:width=8", "lowrank: unknown option width; options: rank, energy"),
    ],
)
def test_bad_options(spec: str, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        lowrank(spec)
