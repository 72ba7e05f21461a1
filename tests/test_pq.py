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
from edgerec_pq.codec import PQ, rounded
from edgerec_pq.kmeans import Shape, assign, columns, learn, lookup, rotation
from edgerec_pq.order import in_runs
from edgerec_pq.runs import Runs, fit, levels_of
from edgerec_pq.scan import Sums

from .conftest import make_dataset

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def model(dataset: Dataset) -> DeviceModel:
    return train(dataset, epochs=8, dim=32, batch=256).to_device_model()


def pq(spec: str) -> ProductQuantize:
    """Make it as the command line does."""
    name, options = parse_spec(spec)
    return build(ProductQuantize, options, name)


@pytest.mark.parametrize(
    "codec",
    [PQ(), PQ(4), PQ(5, runs=3), PQ(2, 3), PQ(3, 3, 4, 60), PQ(16, bits=4), PQ(1, 5, 4, 1)],
    ids=str,
)
def test_codec_contract(codec: PQ) -> None:
    check_codec(codec)


CODECS = [
    *(PQ(), PQ(8, bits=4), PQ(6, runs=5), PQ(3, 2, bits=4), PQ(1, 3, runs=7)),
    *(PQ(4, 2, word_bits=4), PQ(1, 3, runs=7, word_bits=4)),
]


@pytest.mark.parametrize("codec", CODECS, ids=str)
def test_scores_looked_up_two_bytes_at_a_time(codec: PQ, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgerec_pq.scan.MANY", 0)
    check_codec(codec)


@pytest.mark.parametrize("many", [0, 10**9], ids=["pairs", "bytes"])
@pytest.mark.parametrize("width", [1, 3, 8])
@pytest.mark.parametrize("kept", [0, 1, 20, 2500, 5000])
def test_sums_above_a_bound_are_all_of_them(
    width: int, kept: int, many: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgerec_pq.scan.MANY", many)
    rng = np.random.default_rng(width)
    codes = rng.integers(0, 256, (5000, width), np.uint8)
    spread = rng.uniform(0.1, 2, (width, 1)).astype(np.float32)
    sums = Sums(rng.standard_normal((width, 256)).astype(np.float32) * spread, len(codes))
    every = sums.all(codes)
    bound = np.inf if not kept else float(np.sort(every)[-kept])
    places, scores = sums.above(codes, bound)
    assert np.array_equal(places, np.flatnonzero(every > bound))
    assert np.array_equal(scores, every[places])


@pytest.mark.parametrize("codec", [PQ(4), PQ(4, runs=9)], ids=str)
@pytest.mark.parametrize("rows", [[7, 8, 299], [0], []], ids=len)
def test_taken_rows_keep_the_codewords(codec: PQ, rows: list[int]) -> None:
    table = Table.encode(RNG.normal(size=(300, 16)).astype(np.float32), codec)
    kept = np.array(rows, np.int64)
    taken = table.take(kept)
    assert np.array_equal(taken.arrays["words"], table.arrays["words"])
    assert np.array_equal(taken.arrays["codes"], table.arrays["codes"][kept])
    assert np.allclose(taken.decode(), table.decode(kept), rtol=1e-3)


def test_rows_out_of_order_are_put_into_new_runs() -> None:
    table = Table.encode(RNG.normal(size=(300, 16)).astype(np.float32), PQ(4, runs=9))
    assert table.take(np.array([299, 7, 7])).shape == (3, 16)
    numbers = Table.encode(np.arange(1, 51, dtype=np.float32)[:, None], Runs(10))
    assert np.allclose(numbers.take(np.array([1, 9])).decode(), numbers.decode()[[1, 9]], rtol=1e-3)
    assert numbers.take(np.array([9, 1])).shape == (2, 1)


@pytest.mark.parametrize("rows", [slice(0, 50), slice(3, 4), slice(17, 42), slice(9, 9)], ids=str)
def test_numbers_of_a_slice_are_those_of_its_runs(rows: slice) -> None:
    table = Table.encode(np.arange(1, 51, dtype=np.float32)[:, None], Runs(7))
    assert np.array_equal(table.decode(rows), table.decode(np.arange(50)[rows]))


def test_runs_contract() -> None:
    # One column of alike numbers: what the codec is for.
    matrix = np.sort(RNG.random((50, 1)).astype(np.float32) + 1, axis=0)
    table = Table.encode(matrix, Runs(10))
    assert table.nbytes == 80
    assert np.abs(table.decode() - matrix).max() < 0.05
    rows = np.array([49, 0, 3, 3])
    assert np.array_equal(table.decode(rows), table.decode()[rows])
    assert np.array_equal(table.decode(slice(5, 9)), table.decode()[5:9])
    with pytest.raises(CodecError, match="expected one column and 1 run or more, got 2 and 10"):
        Table.encode(np.ones((50, 2), np.float32), Runs(10))


def test_bytes_worked_example() -> None:
    # 8 codes a row; 256 codewords of 64 bytes with a scale of 2.
    assert PQ(8).nbytes(1000, 64) == 1000 * 8 + 256 * 66
    # 2 · 3 codes of 4 bits; 2 · 16 codewords; 10 runs of an end and two lengths.
    assert PQ(3, 2, bits=4, runs=10).nbytes(1000, 64) == 1000 * 3 + 2 * 16 * 66 + 10 * 8


def test_subspaces_need_not_divide_the_width() -> None:
    assert columns(5, 2).tolist() == [0, 0, 0, 1, 1]
    words = np.arange(10, dtype=np.float32).reshape(1, 2, 5)
    assert lookup(np.array([[1, 0]]), words).tolist() == [[5, 6, 7, 3, 4]]
    rows = np.array([[5, 6, 7, 3, 4]], np.float32)
    assert assign(rows, np.array([[0, 0]]), words).tolist() == [[1, 0]]


def test_stages_add_up() -> None:
    words = RNG.normal(size=(2, 4, 6)).astype(np.float32)
    codes = np.array([[1, 2, 3, 0]])
    expected = (
        words[0, [1, 1, 1, 2, 2, 2], np.arange(6)] + words[1, [3, 3, 3, 0, 0, 0], np.arange(6)]
    )
    assert np.allclose(lookup(codes, words)[0], expected)


def test_few_distinct_rows_are_kept() -> None:
    rows = RNG.integers(-3, 4, (20, 6)).astype(np.float32)
    table = Table.encode(np.tile(rows, (3, 1)), PQ(2))
    assert np.allclose(table.decode(), np.tile(rows, (3, 1)), atol=3 / 127)


def test_more_stages_are_nearer() -> None:
    matrix = RNG.normal(size=(500, 16)).astype(np.float32)

    def error(shape: Shape) -> float:
        codes, words = learn(matrix, shape)
        return float(np.square(matrix - lookup(codes, words)).sum())

    assert error(Shape(1, 4, 16)) > error(Shape(2, 4, 16)) > error(Shape(3, 4, 16))
    # Adding up beats laying side by side where there are rows enough to learn it.
    assert error(Shape(4, 1, 16)) < error(Shape(1, 4, 16))


def test_words_are_rounded_by_their_own_scale() -> None:
    words = (RNG.normal(size=(2, 8, 5)) * np.geomspace(1e-3, 10, 8)[:, None]).astype(np.float32)
    found = rounded(words)[2]
    largest = np.abs(words).max(axis=2, keepdims=True)
    assert (np.abs(found - words) <= largest / 127 * 0.51 + 1e-6 + largest * 1e-3).all()
    assert not rounded(np.zeros((1, 2, 3), np.float32))[2].any()


def test_rows_of_like_lengths_share_a_run() -> None:
    length, weight = RNG.permutation(np.geomspace(0.1, 10, 400)).astype(np.float32), np.ones(400)
    order, ends = in_runs([length], [False], 30, weight.astype(np.float32))
    assert sorted(order) == list(range(400))
    assert ends[-1] == 400
    spread = [np.ptp(np.log(part)) for part in np.split(length[order], ends[:-1]) if len(part)]
    assert max(spread) < 0.5


def test_lines_are_fitted_run_by_run() -> None:
    ends = np.array([4, 4, 5, 9])
    values = np.array([1, 2, 3, 4, 7, -1, -1, -1, 3], np.float32)
    levels = fit(values, ends)
    assert levels[:3].tolist() == [[1, 4], [0, 0], [7, 7]]
    # A run of one row has one number; no line leaves what its run has.
    assert levels[3].tolist() == [-1, pytest.approx(1.8)]
    assert fit(values, ends, np.array([1, 1, 1, 1, 1, 9, 9, 9, 0.0], np.float32))[3].tolist() == [
        -1,
        -1,
    ]
    found = levels_of(Runs(4).write(ends, levels), slice(None))
    assert np.allclose(found, [1, 2, 3, 4, 7, -1, -1 / 15, 13 / 15, 1.8], atol=2e-3)


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
    with pytest.raises(CodecError, match="too large for float16"):
        Table.encode(np.full((4, 16), 1e8, np.float32), PQ(4))
    with pytest.raises(CodecError, match="beyond ±65504"):
        Table.encode(np.full((4, 16), 1e6, np.float32), PQ(4, runs=2))


def test_rotation_is_orthogonal_and_lowers_the_error() -> None:
    # Correlated columns that plain subspaces cut apart.
    base = RNG.normal(size=(2000, 4)).astype(np.float32)
    matrix = base @ RNG.normal(size=(4, 16)).astype(np.float32)
    turn = rotation(matrix, 4, 16, np.ones(2000, np.float32))
    assert np.allclose(turn @ turn.T, np.eye(16), atol=1e-5)

    def error(rows: F32) -> float:
        codes, words = learn(rows, Shape(1, 4, 16))
        return float(np.square(rows - lookup(codes, words)).sum())

    assert error(matrix @ turn) < 0.7 * error(matrix)


@pytest.mark.parametrize("name", ["sum", "two-tables", "dense", "attention"])
@pytest.mark.parametrize("bits", [4, 8])
def test_contract(name: str, bits: int) -> None:
    compressor = build(ProductQuantize, {"subspaces": 4, "epochs": 0, "bits": bits}, "pq")
    model = example_models()[name]
    after = check_compressor(compressor, model)
    assert after.table_bytes < model.table_bytes


@pytest.mark.parametrize("name", ["sum", "two-tables"])
def test_order_and_rotation_change_no_score(name: str) -> None:
    model = example_models()[name]
    # Many codes a row: what is left is order and rotation.
    after = ProductQuantize(subspaces=8, stages=3, bits=4, epochs=0).compress(model, Context())
    assert after.items.ids != model.items.ids

    def scores(model: DeviceModel, rows: list[int]) -> F32:
        oracle = Reference(model)
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
def test_bytes_fit_the_budget(budget: float) -> None:
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


def test_training_helps_and_repeats_itself() -> None:
    data = make_dataset(400, 300).split_random(0.2)
    model = train(data, epochs=8, dim=32, batch=64).to_device_model()
    plain = ProductQuantize(subspaces=2, bits=4, epochs=0)
    trained = ProductQuantize(subspaces=2, bits=4, epochs=8, learning_rate=0.005)
    context, before = Context(data), evaluate(model, data)
    _, plain_overlap = evaluate(plain.compress(model, context), data).kept(before)
    _, trained_overlap = evaluate(check_compressor(trained, model, context), data).kept(before)
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
        edgerec.compress(model, ProductQuantize(bytes=2, epochs=0))
    assert ProductQuantize(bytes=2).outline(model) is None


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("pq:bytes=8,subspaces=4", "pq.subspaces: give bytes, or subspaces and stages, not both"),
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


def test_words_of_four_bits_are_half_as_large() -> None:
    # Those of the first stage stay what they are.
    assert PQ(2, 3, word_bits=4).nbytes(1000, 64) == 1000 * 6 + 256 * (64 + 2 * 32 + 3 * 2)
    wrong = "word_bits=4 takes an even number of columns and 2 stages or more, got"
    with pytest.raises(CodecError, match=f"{wrong} 15 and 2"):
        Table.encode(np.ones((4, 15), np.float32), PQ(3, 2, word_bits=4))
    with pytest.raises(CodecError, match=f"{wrong} 16 and 1"):
        Table.encode(np.ones((4, 16), np.float32), PQ(4, word_bits=4))
    matrix = RNG.normal(size=(3000, 16)).astype(np.float32)
    codecs = (PQ(2, 2, word_bits=4), PQ(2, 2))
    coarse, fine = (np.abs(Table.encode(matrix, c).decode() - matrix).mean() for c in codecs)
    assert fine < coarse < 1.2 * fine
