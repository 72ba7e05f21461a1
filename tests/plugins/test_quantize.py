"""quantize: training on rounded tables, rotation, score-aware rounding and grouped int4."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import edgerec
from edgerec.contracts.compressor import Context
from edgerec.contracts.host import Host
from edgerec.data.dataset import Dataset
from edgerec.data.quality import evaluate
from edgerec.errors import CodecError, CompressError, OptionError
from edgerec.learn import EncodedTorchModel, TorchModel, fine_tune
from edgerec.model.codecs import F32, Codec, Fp16, Int4, Int8
from edgerec.model.device_model import DeviceModel
from edgerec.model.history import pad_history
from edgerec.model.oracle import Oracle
from edgerec.model.table import Table
from edgerec.testing import check_codec, check_compressor, example_models
from edgerec.testing.models import adverse_models
from edgerec.training.loop import train
from edgerec_pq.codec import PQ
from edgerec_prune import Prune
from edgerec_quantize import Quantize
from edgerec_quantize.grouped import Int4Group
from edgerec_quantize.rounding import RIDGE, round_for_scores, user_metric
from edgerec_quantize.turning import rotation, turned


@pytest.fixture(scope="module")
def model(dataset: Dataset) -> DeviceModel:
    return train(dataset, epochs=8, dim=32).to_device_model()


@pytest.mark.parametrize("options", [{"codec": "int4"}, {"codec": "int4", "group": 8}, {}], ids=str)
def test_written_tables_equal_the_trained_ones(
    options: dict[str, Any], model: DeviceModel, dataset: Dataset
) -> None:
    rounded = Quantize(**options).compress(model, Context())
    torch_model = EncodedTorchModel(rounded, start=model)
    fine_tune(torch_model, Context(dataset), who="test", epochs=2, learning_rate=0.01)
    seen = [torch_model.table(name).detach() for name in rounded.tables]
    written = torch_model.to_device_model()
    for rows, (name, table) in zip(seen, written.tables.items(), strict=True):
        assert np.array_equal(rows.numpy(), table.decode())
        assert table.codec == rounded.tables[name].codec
    assert not np.array_equal(seen[0].numpy(), rounded.tables["items"].decode())
    assert written.table_bytes == rounded.table_bytes


def test_each_step_rounds_the_current_numbers(model: DeviceModel) -> None:
    torch_model = EncodedTorchModel(model.with_codec(Int4(), ["items"]), start=model)
    parameter = torch_model.tables["items"]
    before = torch_model.table("items")
    before.sum().backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
    assert parameter.grad is not None
    assert torch.equal(parameter.grad, torch.ones_like(parameter))
    torch.optim.SGD([parameter], 1.0).step()
    expected = Table.encode(parameter.detach().numpy(), Int4()).decode()
    assert np.array_equal(torch_model.table("items").detach().numpy(), expected)
    assert not torch.equal(before, torch_model.table("items"))


@pytest.mark.parametrize(
    "options",
    [
        {"epochs": 2},
        {"codec": "int4", "epochs": 2},
        {"codec": "int4", "range": "scores"},
        {"range": "scores"},
        {"rotate": True},
    ],
    ids=str,
)
def test_compressor_contract(options: dict[str, Any], model: DeviceModel, dataset: Dataset) -> None:
    check_compressor(Quantize(**options), model, Context(dataset))


def test_training_lowers_the_loss_of_rounded_rows(model: DeviceModel, dataset: Dataset) -> None:
    def loss(small: DeviceModel) -> float:
        # The step is too small to change a code, so this is the loss of the tables as given.
        options: dict[str, Any] = {"epochs": 1, "learning_rate": 1e-9, "distill": 100.0}
        return fine_tune(
            TorchModel(small),
            Context(dataset),
            who="test",
            teacher=model,
            temperature=0.1,
            **options,
        )

    plain, tuned = (
        edgerec.compress(model, Quantize("int4", epochs=n, distill=100.0), dataset=dataset)
        for n in (0, 40)
    )
    assert loss(model) < loss(tuned) < loss(plain)


def test_training_a_sparse_table_leaves_it_sparse(model: DeviceModel, dataset: Dataset) -> None:
    sparse = Prune(share=0.8).compress(model, Context())
    plain = Quantize().compress(sparse, Context())
    tuned = Quantize(epochs=2).compress(sparse, Context(dataset))
    assert tuned.table_bytes == plain.table_bytes
    assert not np.array_equal(tuned.tables["items"].decode(), plain.tables["items"].decode())
    assert not tuned.tables["items"].decode()[sparse.tables["items"].decode() == 0].any()


def scores(model: DeviceModel) -> F32:
    oracle = Oracle(model)
    history, weights = pad_history(np.array([3, 1, 4]), model.history_length, model.normalization)
    return oracle.logits(oracle.encode(history[None], weights[None]))[0]


def error(rounded: Table, matrix: F32, metric: F32) -> float:
    off = rounded.decode() - matrix
    return float(((off @ metric) * off).sum())


@pytest.mark.parametrize("name", ["sum", "two-tables"])
def test_rotation_changes_no_score_and_suits_the_codec(name: str) -> None:
    model = example_models()[name]
    other = turned(model, Int4())
    assert np.allclose(scores(other), scores(model), atol=1e-5)
    turn = rotation(model.tables["items"].decode(), Int4())
    assert np.allclose(turn @ turn.T, np.eye(16), atol=1e-5)
    unit = np.eye(16, dtype=np.float32)
    errors = [
        error(Table.encode(rows, Int4()), rows, unit)
        for rows in (t.tables["items"].decode() for t in (model, other))
    ]
    assert errors[1] < 0.95 * errors[0]


def test_when_rotation_applies(model: DeviceModel, dataset: Dataset) -> None:
    for options in ({"codec": "int4", "rotate": False}, {}):
        rows = Quantize(**options).compress(model, Context()).tables["items"].decode()
        assert np.abs(rows - model.tables["items"].decode()).max() < 0.2
    with pytest.raises(CompressError, match=r"quantize.rotate: only models that add up dense"):
        edgerec.compress(example_models()["dense"], Quantize("int4", rotate=True))
    with pytest.raises(CompressError, match="had no effect"):
        edgerec.compress(model, Quantize("int4"), Quantize("int4"))


@pytest.mark.parametrize("codec", [Int4(), Int4(symmetric=True), Int8(), Int8(symmetric=False)])
def test_rounding_for_scores_lowers_the_error_in_the_metric(codec: Codec) -> None:
    rng = np.random.default_rng(0)
    matrix = rng.normal(size=(200, 16)).astype(np.float32)
    matrix[3] = 0
    # Users have only a few tastes, so most of the error can go into directions that they ignore.
    tastes = rng.normal(size=(4, 16))
    users = (rng.normal(size=(300, 4)) @ tastes + 0.1 * rng.normal(size=(300, 16))).astype("f4")
    metric = (users.T @ users / len(users)).astype(np.float32)
    plain = Table.encode(matrix, codec)
    spared = round_for_scores(plain, matrix, metric)
    assert spared.codec == codec
    assert spared.nbytes == plain.nbytes
    assert error(spared, matrix, metric) < 0.6 * error(plain, matrix, metric)
    assert not spared.decode()[3].any()
    # Without correlations, codes are the nearest ones, and only the ranges improve.
    unit = np.eye(16, dtype=np.float32)
    assert error(round_for_scores(plain, matrix, unit), matrix, unit) <= error(plain, matrix, unit)


def test_user_metric_is_normalized_and_positive_definite(
    model: DeviceModel, dataset: Dataset
) -> None:
    metric = user_metric(model, Context(dataset))
    assert np.isclose(np.trace(metric), model.width * (1 + RIDGE), rtol=1e-5)
    assert np.linalg.eigvalsh(metric).min() > 0


def test_rounding_for_scores_preserves_more_of_the_lists(
    model: DeviceModel, dataset: Dataset
) -> None:
    before = evaluate(model, dataset)
    kept = [
        evaluate(
            edgerec.compress(model, Quantize("int4", **options), dataset=dataset), dataset
        ).kept(before)[1]
        for options in ({"rotate": False}, {"range": "scores"})
    ]
    assert kept[1] > kept[0]


def test_rounding_for_scores_requires_whole_rows(dataset: Dataset) -> None:
    sparse = edgerec.compress(example_models()["sum"], "prune:share=0.9")
    with pytest.raises(CompressError, match=r"quantize\.range: scores is for whole rows"):
        edgerec.compress(sparse, "quantize:codec=int8,range=scores", dataset=dataset)


@pytest.mark.parametrize("codec", [Int4Group(4), Int4Group(8, False), Int4Group(8, range="mse")])
def test_group_codec_contract(codec: Int4Group) -> None:
    check_codec(codec)


def test_group_codec_bytes_of_a_worked_example() -> None:
    # 32 bytes of codes, and two bytes per group for its scale.
    assert Int4Group(32).nbytes(1000, 64) == 1000 * (32 + 2 * 2)
    assert Int4Group(16, symmetric=False).nbytes(1000, 64) == 1000 * (32 + 2 * 4 * 2)


def test_each_group_is_quantized_like_a_row() -> None:
    matrix = np.random.default_rng(0).normal(size=(30, 16)).astype(np.float32)
    grouped = Table.encode(matrix, Int4Group(8, False)).decode()
    halves = [Table.encode(matrix[:, part], Int4()).decode() for part in (slice(8), slice(8, 16))]
    assert np.array_equal(grouped, np.concatenate(halves, axis=1))
    with pytest.raises(CodecError, match="an even group that divides the width 16, got 6"):
        Table.encode(matrix, Int4Group(6))


def test_any_installed_codec_with_its_options() -> None:
    model = example_models()["sum"]
    small = edgerec.compress(model, "quantize:codec=pq/subspaces=4/bits=4/runs=3")
    codec = small.tables["items"].codec
    assert (codec.name, codec.options()["runs"], codec.options()["bits"]) == ("pq", 3, 4)
    # The step is recorded in a form that can be read again.
    step = small.metadata["steps"][-1]
    assert step["options"]["codec"] == "pq/subspaces=4/bits=4/runs=3"
    again = edgerec.compress(model, f"quantize:codec={step['options']['codec']}")
    assert again.tables["items"].codec == codec
    nested = "mixed/first=fp16/rest=(int4_group/group=8/symmetric=false)/share=0.25"
    mixed = edgerec.compress(model, f"quantize:codec={nested}").tables["items"].codec
    assert mixed.parts == (Fp16(), Int4Group(8, False))
    assert mixed.options()["heights"] == (150, 450)
    assert Host.installed().codec("mixed", **mixed.options()) == mixed


def test_popular_items_are_int8(dataset: Dataset) -> None:
    model = train(dataset, epochs=2, dim=16).to_device_model()
    quantize = Quantize("int4", popular=0.2)
    small = check_compressor(quantize, model, Context(dataset))
    counts = dict(zip(dataset.items.ids, dataset.train.counts(len(dataset.items)), strict=True))
    ordered = [counts[item] for item in small.items.ids]
    assert ordered == sorted(ordered, reverse=True)
    n = len(small.items)
    for table in (t for t in small.tables.values() if t.shape[1] > 1):
        assert (table.codec.first, table.codec.rest) == (Int8(), Int4())
        assert table.codec.heights == (round(0.2 * n), n - round(0.2 * n))
        high = round(0.2 * n)
        assert table.nbytes == high * 20 + (n - high) * (16 // 2 + 4)
    with pytest.raises(CompressError, match="quantize: needs training interactions"):
        quantize.compress(model, Context())
    with pytest.raises(CompressError, match=r"quantize.popular: it orders the rows of one"):
        quantize.compress(adverse_models()["herbs"], Context(dataset))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"codec": "fp16", "epochs": 1}, r"quantize.epochs: fp16 loses nothing"),
        ({"codec": "int8", "group": 8}, "quantize.group: expected an even number, for int4; got 8"),
        ({"codec": "int4", "group": 3}, "quantize.group: expected an even number, for int4; got 3"),
        ({"range": "scores", "epochs": 1}, "quantize.range: scores is for whole rows"),
        ({"codec": "int4", "range": "scores", "group": 8}, "quantize.range: scores is for whole"),
        ({"codec": "fp16", "rotate": True}, "quantize.rotate: fp16 gains nothing from it"),
        ({"codec": Int4Group(), "symmetric": True}, r"quantize.symmetric: is for int8 and int4"),
        ({"codec": Int4Group(), "range": "mse"}, "given as codec=int4_group/option=value"),
        ({"codec": PQ(), "epochs": 1}, "quantize.epochs: pq learns what it stores"),
        ({"codec": "int4", "popular": 0.1, "range": "scores"}, "quantize.range: scores is for"),
        ({"codec": "nothing"}, "quantize.codec: expected a codec or one of fp32, fp16, int8"),
        ({"epochs": -1}, "quantize.epochs: expected 0 or more, got -1"),
        ({"distill": -1.0}, "quantize.distill: expected 0 or more, got -1"),
        ({"learning_rate": 0.0}, "quantize.learning_rate: expected more than 0, got 0"),
    ],
)
def test_bad_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        Quantize(**options)


def test_training_requires_a_dataset(model: DeviceModel) -> None:
    with pytest.raises(CompressError, match="quantize: needs training interactions"):
        edgerec.compress(model, Quantize(epochs=1))
