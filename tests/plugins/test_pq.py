"""pq: bytes and codewords of the codec, the rotation, training, and refusals."""

from __future__ import annotations

import numpy as np
import pytest

import edgerec
from edgerec.contracts.compressor import Context
from edgerec.data.dataset import Dataset
from edgerec.data.quality import evaluate
from edgerec.errors import CodecError, CompressError, OptionError
from edgerec.model.codecs import F32
from edgerec.model.device_model import DeviceModel
from edgerec.model.history import pad_history
from edgerec.model.options import from_options, parse_spec
from edgerec.model.oracle import Oracle
from edgerec.model.table import Table
from edgerec.testing import check_codec, check_compressor, example_models
from edgerec.training.loop import train
from edgerec_pq import ProductQuantize
from edgerec_pq.codec import PQ, rounded
from edgerec_pq.kmeans import Shape, assign, columns, learn, lookup, rotation
from edgerec_pq.order import in_runs
from edgerec_pq.runs import Runs, fit, levels_of
from tests.conftest import make_dataset

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def model(dataset: Dataset) -> DeviceModel:
    return train(dataset, epochs=8, dim=32, batch=256).to_device_model()


def pq(spec: str) -> ProductQuantize:
    """Create the compressor as the command line does."""
    name, options = parse_spec(spec)
    return from_options(ProductQuantize, options, name)


@pytest.mark.parametrize(
    "codec",
    [PQ(), PQ(4), PQ(5, runs=3), PQ(2, 3), PQ(3, 3, 4, 60), PQ(16, bits=4), PQ(1, 5, 4, 1)],
    ids=str,
)
def test_codec_contract(codec: PQ) -> None:
    check_codec(codec)


@pytest.mark.parametrize("codec", [PQ(4), PQ(4, runs=9)], ids=str)
@pytest.mark.parametrize("rows", [[7, 8, 299], [0], []], ids=len)
def test_taking_rows_keeps_the_codewords(codec: PQ, rows: list[int]) -> None:
    table = Table.encode(RNG.normal(size=(300, 16)).astype(np.float32), codec)
    kept = np.array(rows, np.int64)
    taken = table.take(kept)
    assert np.array_equal(taken.arrays["words"], table.arrays["words"])
    assert np.array_equal(taken.arrays["codes"], table.arrays["codes"][kept])
    assert np.allclose(taken.decode(), table.decode(kept), rtol=1e-3)


def test_rows_taken_out_of_order_get_new_runs() -> None:
    table = Table.encode(RNG.normal(size=(300, 16)).astype(np.float32), PQ(4, runs=9))
    assert table.take(np.array([299, 7, 7])).shape == (3, 16)
    numbers = Table.encode(np.arange(1, 51, dtype=np.float32)[:, None], Runs(10))
    assert np.allclose(numbers.take(np.array([1, 9])).decode(), numbers.decode()[[1, 9]], rtol=1e-3)
    assert numbers.take(np.array([9, 1])).shape == (2, 1)


@pytest.mark.parametrize("rows", [slice(0, 50), slice(3, 4), slice(17, 42), slice(9, 9)], ids=str)
def test_decoding_a_slice_equals_decoding_its_rows(rows: slice) -> None:
    table = Table.encode(np.arange(1, 51, dtype=np.float32)[:, None], Runs(7))
    assert np.array_equal(table.decode(rows), table.decode(np.arange(50)[rows]))


def test_runs_contract() -> None:
    # The codec is made for one column of sorted, similar numbers.
    matrix = np.sort(RNG.random((50, 1)).astype(np.float32) + 1, axis=0)
    table = Table.encode(matrix, Runs(10))
    assert table.nbytes == 80
    assert np.abs(table.decode() - matrix).max() < 0.05
    rows = np.array([49, 0, 3, 3])
    assert np.array_equal(table.decode(rows), table.decode()[rows])
    assert np.array_equal(table.decode(slice(5, 9)), table.decode()[5:9])
    with pytest.raises(CodecError, match="expected one column and at least 1 run, got 2 and 10"):
        Table.encode(np.ones((50, 2), np.float32), Runs(10))


def test_bytes_of_worked_examples() -> None:
    # 8 codes per row, and 256 codewords of 64 bytes with a scale of 2 bytes each.
    assert PQ(8).nbytes(1000, 64) == 1000 * 8 + 256 * 66
    # 2 · 3 codes of 4 bits per row, 2 · 16 codewords, and 10 runs with an end and two lengths.
    assert PQ(3, 2, bits=4, runs=10).nbytes(1000, 64) == 1000 * 3 + 2 * 16 * 66 + 10 * 8


def test_subspaces_need_not_divide_the_width() -> None:
    assert columns(5, 2).tolist() == [0, 0, 0, 1, 1]
    words = np.arange(10, dtype=np.float32).reshape(1, 2, 5)
    assert lookup(np.array([[1, 0]]), words).tolist() == [[5, 6, 7, 3, 4]]
    rows = np.array([[5, 6, 7, 3, 4]], np.float32)
    assert assign(rows, words, 2).tolist() == [[1, 0]]


def test_codewords_of_all_stages_are_summed() -> None:
    words = RNG.normal(size=(2, 4, 6)).astype(np.float32)
    codes = np.array([[1, 2, 3, 0]])
    total = words[0, [1, 1, 1, 2, 2, 2], np.arange(6)] + words[1, [3, 3, 3, 0, 0, 0], np.arange(6)]
    assert np.allclose(lookup(codes, words)[0], total)


def test_a_few_distinct_rows_are_reproduced() -> None:
    rows = RNG.integers(-3, 4, (20, 6)).astype(np.float32)
    table = Table.encode(np.tile(rows, (3, 1)), PQ(2))
    assert np.allclose(table.decode(), np.tile(rows, (3, 1)), atol=3 / 127)


def test_more_stages_lower_the_error() -> None:
    matrix = RNG.normal(size=(500, 16)).astype(np.float32)

    def error(shape: Shape) -> float:
        codes, words = learn(matrix, shape)
        return float(np.square(matrix - lookup(codes, words)).sum())

    assert error(Shape(1, 4, 16)) > error(Shape(2, 4, 16)) > error(Shape(3, 4, 16))
    # With enough rows to learn from, summed codewords beat codewords placed side by side.
    assert error(Shape(4, 1, 16)) < error(Shape(1, 4, 16))


def test_each_codeword_is_rounded_with_its_own_scale() -> None:
    words = (RNG.normal(size=(2, 8, 5)) * np.geomspace(1e-3, 10, 8)[:, None]).astype(np.float32)
    found = rounded(words)[2]
    largest = np.abs(words).max(axis=2, keepdims=True)
    assert (np.abs(found - words) <= largest / 127 * 0.51 + 1e-6 + largest * 1e-3).all()
    assert not rounded(np.zeros((1, 2, 3), np.float32))[2].any()


def test_rows_of_similar_length_share_a_run() -> None:
    length, weight = RNG.permutation(np.geomspace(0.1, 10, 400)).astype(np.float32), np.ones(400)
    order, ends = in_runs([length], [False], 30, weight.astype(np.float32))
    assert sorted(order) == list(range(400))
    assert ends[-1] == 400
    spread = [np.ptp(np.log(part)) for part in np.split(length[order], ends[:-1]) if len(part)]
    assert max(spread) < 0.5


def test_one_line_is_fitted_per_run() -> None:
    ends = np.array([4, 4, 5, 9])
    values = np.array([1, 2, 3, 4, 7, -1, -1, -1, 3], np.float32)
    levels = fit(values, ends)
    assert levels[:3].tolist() == [[1, 4], [0, 0], [7, 7]]
    # A run of one row has one number, and a line stays within the range of its run.
    assert levels[3].tolist() == [-1, pytest.approx(1.8)]
    weight = np.array([1, 1, 1, 1, 1, 9, 9, 9, 0.0], np.float32)
    assert fit(values, ends, weight)[3].tolist() == [-1, -1]
    found = levels_of(Runs(4).write(ends, levels), slice(None))
    assert np.allclose(found, [1, 2, 3, 4, 7, -1, -1 / 15, 13 / 15, 1.8], atol=2e-3)


def test_encoding_is_deterministic() -> None:
    matrix = RNG.normal(size=(300, 16)).astype(np.float32)
    one, other = Table.encode(matrix, PQ(4)), Table.encode(matrix.copy(), PQ(4))
    assert all(np.array_equal(one.arrays[k], other.arrays[k]) for k in one.arrays)
    assert one.replace(matrix[:50]).shape == (50, 16)


@pytest.mark.parametrize("subspaces", [0, 17])
def test_subspaces_that_do_not_fit_are_refused(subspaces: int) -> None:
    with pytest.raises(CodecError, match=f"{subspaces} subspaces do not fit 16 columns"):
        Table.encode(np.ones((4, 16), np.float32), PQ(subspaces))


def test_numbers_beyond_float16_are_refused() -> None:
    with pytest.raises(CodecError, match="too large for float16"):
        Table.encode(np.full((4, 16), 1e8, np.float32), PQ(4))
    with pytest.raises(CodecError, match="beyond ±65504"):
        Table.encode(np.full((4, 16), 1e6, np.float32), PQ(4, runs=2))


def test_rotation_is_orthogonal_and_lowers_the_error() -> None:
    # The columns are correlated, and plain subspaces would separate them.
    base = RNG.normal(size=(2000, 4)).astype(np.float32)
    matrix = base @ RNG.normal(size=(4, 16)).astype(np.float32)
    turn = rotation(matrix, 4, 16, np.ones(2000, np.float32))
    assert np.allclose(turn @ turn.T, np.eye(16), atol=1e-5)

    def error(rows: F32) -> float:
        codes, words = learn(rows, Shape(1, 4, 16))
        return float(np.square(rows - lookup(codes, words)).sum())

    assert error(matrix @ turn) < 0.7 * error(matrix)


@pytest.mark.parametrize("name", ["sum", "two-tables", "dense", "attention", "transformer"])
@pytest.mark.parametrize("bits", [4, 8])
def test_compressor_contract(name: str, bits: int) -> None:
    compressor = from_options(ProductQuantize, {"subspaces": 4, "epochs": 0, "bits": bits}, "pq")
    model = example_models()[name]
    after = check_compressor(compressor, model)
    assert after.table_bytes < model.table_bytes


@pytest.mark.parametrize("name", ["sum", "two-tables"])
def test_order_and_rotation_preserve_scores(name: str) -> None:
    model = example_models()[name]
    # With many codes per row, only the effects of order and rotation remain.
    after = ProductQuantize(subspaces=8, stages=3, bits=4, epochs=0).compress(model, Context())
    assert after.items.ids != model.items.ids

    def scores(model: DeviceModel, rows: list[int]) -> F32:
        oracle = Oracle(model)
        history, weights = pad_history(np.array(rows), 30, model.normalization)
        found: F32 = oracle.logits(oracle.encode(history[None], weights[None]))[0]
        return found

    place = [after.items.rows[item] for item in model.items.ids]
    found = scores(after, [place[3], place[1], place[4]])[place]
    expected = scores(model, [3, 1, 4])
    assert np.corrcoef(found, expected)[0, 1] > 0.98


def test_popular_items_stay_popular(model: DeviceModel) -> None:
    after = ProductQuantize(subspaces=2, bits=4, epochs=0).compress(model, Context())
    ids = [model.items.ids[i] for i in model.popular]
    assert [after.items.ids[i] for i in after.popular] == ids


@pytest.mark.parametrize("budget", [5, 9, 16])
def test_tables_use_most_of_the_budget_and_no_more(budget: float) -> None:
    model = example_models(items=5000)["sum"]
    compressor = ProductQuantize(bytes=budget, epochs=0)
    after = check_compressor(compressor, model)
    assert 0.75 * budget * 5000 < after.table_bytes <= budget * 5000


def test_small_catalogues_get_small_codebooks() -> None:
    model = example_models(items=600)["sum"]
    after = ProductQuantize(bytes=8, epochs=0).compress(model, Context())
    codec = after.tables["items"].codec
    assert isinstance(codec, PQ)
    assert codec.bits == 4


def test_training_improves_the_overlap_and_is_deterministic() -> None:
    data = make_dataset(400, 300).split_random(0.2)
    model = train(data, epochs=8, dim=32, batch=64).to_device_model()
    plain = ProductQuantize(subspaces=2, bits=4, epochs=0)
    trained = ProductQuantize(subspaces=2, bits=4, epochs=8, learning_rate=0.005)
    context, before = Context(data), evaluate(model, data)
    _, plain_overlap = evaluate(plain.compress(model, context), data).kept(before)
    _, trained_overlap = evaluate(check_compressor(trained, model, context), data).kept(before)
    assert trained_overlap > plain_overlap


def test_training_works_for_graphsage(dataset: Dataset) -> None:
    sage = train(dataset, model="graphsage", epochs=4, dim=16, batch=256).to_device_model()
    after = check_compressor(ProductQuantize(subspaces=4, bits=4, epochs=2), sage, Context(dataset))
    kept, _ = evaluate(after, dataset).kept(evaluate(sage, dataset))
    assert kept > 0.8


def test_training_requires_interactions(model: DeviceModel) -> None:
    with pytest.raises(CompressError, match="pq: needs training interactions"):
        edgerec.compress(model, ProductQuantize(subspaces=4, bits=4))


def test_too_few_bytes_are_refused(model: DeviceModel) -> None:
    with pytest.raises(CompressError, match=r"pq: needs at least .* bytes per item"):
        edgerec.compress(model, ProductQuantize(bytes=2, epochs=0))
    with pytest.raises(CompressError, match=r"pq: needs at least .* bytes per item"):
        ProductQuantize(bytes=2).outline(model)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("pq:bytes=8,subspaces=4", "pq.subspaces: set bytes, or subspaces and stages, not both"),
        ("pq:bytes=0", "pq.bytes: expected more than 0, got 0"),
        ("pq:subspaces=0", "pq.subspaces: expected at least 1, got 0"),
        ("pq:epochs=-1", "pq.epochs: expected 0 or more, got -1"),
        ("pq:learning_rate=0", "pq.learning_rate: expected more than 0, got 0"),
        ("pq:width=8", "pq: unknown option width"),
    ],
)
def test_bad_options_are_refused(spec: str, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        pq(spec)


def test_four_bit_codewords_of_later_stages_take_half_the_bytes() -> None:
    # Codewords of the first stage are still 8 bits wide.
    assert PQ(2, 3, word_bits=4).nbytes(1000, 64) == 1000 * 6 + 256 * (64 + 2 * 32 + 3 * 2)
    wrong = "word_bits=4 needs an even number of columns and 2 or more stages, got"
    with pytest.raises(CodecError, match=f"{wrong} 15 and 2"):
        Table.encode(np.ones((4, 15), np.float32), PQ(3, 2, word_bits=4))
    with pytest.raises(CodecError, match=f"{wrong} 16 and 1"):
        Table.encode(np.ones((4, 16), np.float32), PQ(4, word_bits=4))
    matrix = RNG.normal(size=(3000, 16)).astype(np.float32)
    codecs = (PQ(2, 2, word_bits=4), PQ(2, 2))
    coarse, fine = (np.abs(Table.encode(matrix, c).decode() - matrix).mean() for c in codecs)
    assert fine < coarse < 1.2 * fine
