"""lowrank: Eckart-Young, folding bases into encoders, and refusals."""

from __future__ import annotations

import numpy as np
import pytest

import edgerec
from edgerec.compression.singular_vectors import leading_basis
from edgerec.contracts.compressor import Compressor, Context
from edgerec.data.dataset import Dataset
from edgerec.data.quality import evaluate
from edgerec.errors import CompressError, OptionError
from edgerec.model.codecs import F32
from edgerec.model.device_model import DeviceModel
from edgerec.model.history import pad_history
from edgerec.model.ops import Op
from edgerec.model.options import from_options, parse_spec
from edgerec.model.oracle import Oracle
from edgerec.model.table import Table
from edgerec.testing import check_compressor, example_models
from edgerec.training.loop import train
from edgerec_lowrank import LowRank
from edgerec_lowrank.rank import rank_for_energy
from edgerec_lowrank.rewrite import groups_of
from edgerec_quantize import Quantize

EXAMPLES = ["sum", "two-tables", "dense", "attention", "transformer"]


@pytest.fixture(scope="module")
def model(dataset: Dataset) -> DeviceModel:
    return train(dataset, epochs=8, dim=32, batch=256).to_device_model()


def scores(model: DeviceModel) -> F32:
    oracle = Oracle(model)
    history, weights = pad_history(np.array([3, 1, 4]), model.history_length, model.normalization)
    return oracle.logits(oracle.encode(history[None], weights[None]))[0]


def lowrank(spec: str) -> LowRank:
    """Create the compressor as the command line does."""
    name, options = parse_spec(spec)
    return from_options(LowRank, options, name)


def of_rank(model: DeviceModel, rank: int) -> DeviceModel:
    """Return the model with tables that span ``rank`` dimensions, the same ones within a group."""
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


def test_leading_basis_of_a_worked_example() -> None:
    matrix = np.array([[3, 0], [0, 2], [0, 0]], np.float32)
    vectors, values = leading_basis(matrix)
    assert np.allclose(values, [3, 2])
    assert np.allclose(vectors @ vectors.T, np.eye(2))
    first = vectors[:1]
    assert np.allclose(matrix @ first.T @ first, [[3, 0], [0, 0], [0, 0]])
    # The error is the first singular value that was left out.
    assert np.isclose(np.linalg.norm(matrix - matrix @ first.T @ first), 2)


def test_leading_basis_equals_the_truncated_svd() -> None:
    matrix = np.random.default_rng(0).normal(size=(50, 12)).astype(np.float32)
    left, values, right = np.linalg.svd(matrix, full_matrices=False)
    basis = leading_basis(matrix)[0][:5]
    assert np.allclose(matrix @ basis.T @ basis, left[:, :5] * values[:5] @ right[:5], atol=1e-5)


def test_rank_for_energy_of_a_worked_example() -> None:
    values = np.array([3, 2, 1, 1], np.float32)  # squares 9, 4, 1 and 1; their sum is 15
    assert rank_for_energy(values, 0.5) == 2  # 1 would suffice, but int4 requires an even rank
    assert rank_for_energy(values, 0.86) == 2
    assert rank_for_energy(values, 0.9) == 4


@pytest.mark.parametrize("compressor", [LowRank(16), LowRank(energy=0.7)], ids=str)
def test_compressor_contract(compressor: Compressor, model: DeviceModel) -> None:
    assert check_compressor(compressor, model).table_bytes < model.table_bytes


@pytest.mark.parametrize("name", EXAMPLES)
@pytest.mark.parametrize("options", [{"rank": 6}, {"energy": 0.5}], ids=str)
def test_tables_of_every_encoder_become_narrower(name: str, options: dict[str, float]) -> None:
    model = example_models()[name]
    after = check_compressor(LowRank(**options), model)  # type: ignore[arg-type]
    wide = [name for name, table in model.tables.items() if table.shape[1] > 1]
    assert all(after.tables[name].shape[1] < model.tables[name].shape[1] for name in wide)


@pytest.mark.parametrize("name", EXAMPLES)
def test_tables_that_already_have_the_rank_lose_nothing(name: str) -> None:
    model = of_rank(example_models()[name], 6)
    after = LowRank(6).compress(model, Context())
    expected = scores(model)
    if model.head.kind == "cosine":  # a projection preserves lengths only within the span
        expected = expected * np.corrcoef(expected, scores(after))[0, 1]
        assert np.corrcoef(expected, scores(after))[0, 1] > 0.999
        return
    assert np.allclose(scores(after), expected, atol=1e-5)


def test_tables_that_are_combined_share_a_basis() -> None:
    models = example_models()
    assert groups_of(models["two-tables"]) == {"past": "items", "items": "items"}
    assert groups_of(models["dense"]) == {"past": "past", "items": "items"}
    assert groups_of(models["sum"]) == {"items": "items"}


def test_a_linear_encoder_does_not_change(model: DeviceModel) -> None:
    after = edgerec.compress(model, LowRank(16))
    assert after.encoder == model.encoder
    assert not after.constants
    assert {n: t.shape[1] for n, t in after.tables.items()} == {"items": 16, "past_scale": 1}


def test_graphsage_absorbs_the_basis_in_its_layers(dataset: Dataset) -> None:
    sage = train(dataset, model="graphsage", epochs=4, dim=16, batch=256).to_device_model()
    after = check_compressor(LowRank(8), sage)
    assert {table.shape[1] for table in after.tables.values()} == {8}
    kept, _ = evaluate(after, dataset).kept(evaluate(sage, dataset))
    assert kept > 0.9


def test_quality_survives_in_chains_with_quantize(model: DeviceModel, dataset: Dataset) -> None:
    before = evaluate(model, dataset)
    one = edgerec.compress(model, LowRank(16), Quantize("int4"))
    other = edgerec.compress(model, Quantize("int4"), LowRank(16))
    for result in (one, other):
        assert result.tables["items"].codec.name == "int4"
        outline = Quantize("int4").outline(LowRank(16).compress(model, Context()))
        assert result.table_bytes == outline.table_bytes
        kept, _ = evaluate(result, dataset).kept(before)
        assert kept > 0.9


@pytest.mark.parametrize("spec", ["lowrank:rank=32", "lowrank:rank=99", "lowrank:energy=0.9999999"])
def test_a_step_that_does_not_shrink_is_an_error(model: DeviceModel, spec: str) -> None:
    with pytest.raises(
        CompressError, match=r"lowrank: would not shrink the model at .* 32 columns"
    ):
        edgerec.compress(model, lowrank(spec))


def test_encoders_that_read_a_user_vector_are_refused(model: DeviceModel) -> None:
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
        ("lowrank:rank=8,energy=0.9", "lowrank.energy: set rank or energy, not both"),
        ("lowrank:rank=8,distill=5", "lowrank.distill: has no effect without epochs; set both"),
        ("lowrank:width=8", "lowrank: unknown option width; options: rank, energy"),
    ],
)
def test_bad_options_are_refused(spec: str, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        lowrank(spec)
