"""pq: the codec's bytes and codewords, the rotation that vanishes, training, refusals."""

from __future__ import annotations

import numpy as np
import pytest

import edgerec
from edgerec.codecs import F32
from edgerec.compressor import Context
from edgerec.data import Dataset
from edgerec.device_model import DeviceModel, Table
from edgerec.errors import CodecError, CompressError, OptionError
from edgerec.options import build, parse_spec
from edgerec.quality import evaluate
from edgerec.reference import Reference, pad_history
from edgerec.testing import check_codec, check_compressor, example_models
from edgerec.training import train
from edgerec_pq import ProductQuantize
from edgerec_pq.codec import PQ
from edgerec_pq.kmeans import columns, learn_codebook, lookup, nearest, rotation

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def model(dataset: Dataset) -> DeviceModel:
    return train(dataset, epochs=8, dim=32, batch=256).to_device_model()


def pq(spec: str) -> ProductQuantize:
    """Make it as the command line does."""
    name, options = parse_spec(spec)
    return build(ProductQuantize, options, name)


@pytest.mark.parametrize(
    "codec", [PQ(), PQ(4), PQ(5), PQ(4, norm=False), PQ(7, bits=4), PQ(16, norm=False)], ids=str
)
def test_codec_contract(codec: PQ) -> None:
    check_codec(codec)


@pytest.mark.parametrize("codec", [PQ(), PQ(8, bits=4), PQ(6, norm=False)], ids=str)
def test_scores_looked_up_two_bytes_at_a_time(codec: PQ, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgerec_pq.scan.MANY", 0)
    check_codec(codec)


def test_taken_rows_keep_the_codebooks() -> None:
    table = Table.encode(RNG.normal(size=(300, 16)).astype(np.float32), PQ(4))
    rows = np.array([299, 7, 7])
    taken = table.take(rows)
    assert np.array_equal(taken.arrays["codebook"], table.arrays["codebook"])
    assert np.array_equal(taken.decode(), table.decode(rows))


def test_bytes_worked_example() -> None:
    # 8 codes and a length each; 256 codewords of 64 halves, 256 levels.
    assert PQ(8).nbytes(1000, 64) == 1000 * 9 + 256 * 64 * 2 + 256 * 2
    assert PQ(5, norm=False, bits=4).nbytes(1000, 64) == 1000 * 3 + 16 * 64 * 2


def test_subspaces_need_not_divide_the_width() -> None:
    assert columns(5, 2).tolist() == [0, 0, 0, 1, 1]
    codebook = np.arange(10, dtype=np.float32).reshape(2, 5)
    assert lookup(np.array([[1, 0]]), codebook).tolist() == [[5, 6, 7, 3, 4]]
    assert nearest(np.array([[5, 6, 7, 3, 4]], np.float32), codebook, 2).tolist() == [[1, 0]]


def test_few_distinct_rows_are_kept_exactly() -> None:
    rows = RNG.integers(-3, 4, (20, 6)).astype(np.float32)
    table = Table.encode(np.tile(rows, (3, 1)), PQ(2, norm=False))
    assert np.array_equal(table.decode(), np.tile(rows, (3, 1)))


def test_lengths_are_kept_within_a_level() -> None:
    matrix = RNG.normal(size=(500, 16)) * np.geomspace(0.1, 100, 500)[:, None]
    decoded = Table.encode(matrix.astype(np.float32), PQ(4)).decode()
    ratio = np.linalg.norm(decoded, axis=1) / np.linalg.norm(matrix, axis=1)
    assert np.abs(ratio - 1).max() < 0.03


def test_encoding_repeats_itself() -> None:
    matrix = RNG.normal(size=(300, 16)).astype(np.float32)
    one, other = Table.encode(matrix, PQ(4)), Table.encode(matrix.copy(), PQ(4))
    assert all(np.array_equal(one.arrays[k], other.arrays[k]) for k in one.arrays)
    assert one.replace(matrix[:50]).shape == (50, 16)


@pytest.mark.parametrize("subspaces", [0, 17])
def test_subspaces_that_do_not_fit(subspaces: int) -> None:
    with pytest.raises(CodecError, match=f"{subspaces} subspaces do not fit 16 columns"):
        Table.encode(np.ones((4, 16), np.float32), PQ(subspaces))


def test_numbers_beyond_float16() -> None:
    with pytest.raises(CodecError, match="beyond ±65504"):
        Table.encode(np.full((4, 16), 1e6, np.float32), PQ(4))


def test_rotation_is_orthogonal_and_lowers_the_error() -> None:
    # Correlated columns that plain subspaces cut apart.
    base = RNG.normal(size=(2000, 4)).astype(np.float32)
    matrix = base @ RNG.normal(size=(4, 16)).astype(np.float32)
    turn = rotation(matrix, 4, 16)
    assert np.allclose(turn @ turn.T, np.eye(16), atol=1e-5)

    def error(rows: F32) -> float:
        codebook = learn_codebook(rows, 4, 16)
        return float(np.square(rows - lookup(nearest(rows, codebook, 4), codebook)).sum())

    assert error(matrix @ turn) < 0.7 * error(matrix)


@pytest.mark.parametrize("name", ["sum", "two-tables", "dense", "attention"])
@pytest.mark.parametrize("bits", [4, 8])
def test_contract(name: str, bits: int) -> None:
    compressor = build(ProductQuantize, {"subspaces": 4, "epochs": 0, "bits": bits}, "pq")
    model = example_models()[name]
    after = check_compressor(compressor, model)
    assert after.table_bytes < model.table_bytes


@pytest.mark.parametrize("name", ["sum", "two-tables"])
def test_the_rotation_changes_no_score(name: str) -> None:
    model = example_models()[name]
    # As many subspaces as columns and few rows: what is left is the rotation.
    model = model.take(np.arange(200))
    after = ProductQuantize(subspaces=16, norm=False, epochs=0)
    turned = after._turned(model, after._codecs(model))
    assert not np.allclose(turned.tables["items"].decode(), model.tables["items"].decode())

    def scores(model: DeviceModel) -> F32:
        oracle = Reference(model)
        history, weights = pad_history(np.array([3, 1, 4]), 30, model.normalization)
        found: F32 = oracle.logits(oracle.encode(history[None], weights[None]))[0]
        return found

    assert np.allclose(scores(turned), scores(model), atol=1e-5)


def test_bytes_fill_the_budget(dataset: Dataset) -> None:
    model = example_models(items=5000)["sum"]
    after = ProductQuantize(bytes=9, epochs=0).compress(model, Context())
    assert after.table_bytes <= 9 * 5000
    assert after.tables["items"].codec == PQ(5)  # 5 + 1, 1 for the degree, 2 for codebooks


def test_training_helps_and_repeats_itself(model: DeviceModel, dataset: Dataset) -> None:
    plain = ProductQuantize(subspaces=2, bits=4, epochs=0)
    trained = ProductQuantize(subspaces=2, bits=4, epochs=100, distill=10)
    context, before = Context(dataset), evaluate(model, dataset)
    _, plain_overlap = evaluate(plain.compress(model, context), dataset).kept(before)
    after = check_compressor(trained, model, context)
    _, trained_overlap = evaluate(after, dataset).kept(before)
    assert trained_overlap > plain_overlap


def test_other_encoders_are_trained_too(dataset: Dataset) -> None:
    sage = train(dataset, model="graphsage", epochs=4, dim=16, batch=256).to_device_model()
    after = check_compressor(ProductQuantize(subspaces=4, bits=4, epochs=2), sage, Context(dataset))
    kept, _ = evaluate(after, dataset).kept(evaluate(sage, dataset))
    assert kept > 0.8


def test_training_needs_interactions(model: DeviceModel) -> None:
    with pytest.raises(CompressError, match="pq: needs training interactions"):
        edgerec.compress(model, ProductQuantize(subspaces=4, bits=4))


def test_what_does_not_fit_is_an_error(model: DeviceModel) -> None:
    with pytest.raises(CompressError, match=r"pq: does not fit: at least .* bytes an item"):
        edgerec.compress(model, ProductQuantize(bytes=3, epochs=0))
    assert ProductQuantize(bytes=3).outline(model) is None


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("pq:bytes=8,subspaces=4", "pq.subspaces: give bytes or subspaces, not both"),
        ("pq:bytes=0", "pq.bytes: expected more than 0, got 0"),
        ("pq:subspaces=0", "pq.subspaces: expected at least 1, got 0"),
        ("pq:epochs=-1", "pq.epochs: expected 0 or more, got -1"),
        ("pq:learning_rate=0", "pq.learning_rate: expected more than 0, got 0"),
        ("pq:width=8", "pq: unknown option width"),
    ],
)
def test_bad_options(spec: str, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        pq(spec)
