"""Codes of many rows are looked up two bytes at a time, and lengths are computed by groups."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

import edgerec
from edgerec.model.blocks import Blocks
from edgerec.model.codecs import Codec
from edgerec.model.device_model import DeviceModel
from edgerec.model.mixed import Mixed
from edgerec.model.run_lines import RunLines
from edgerec.model.table import Table
from edgerec.testing import example_models
from edgerec_pq.codec import PQ
from edgerec_pq.order import in_runs as in_runs_of
from edgerec_pq.runs import Runs, aligned_ends, fit
from tests.rigs.codecs import coded
from tests.targets.test_parity import TARGETS, check, set_all
from tests.targets.test_structures import Halves

#: What a target does differently with many rows, and the length of its blocks.
MANY = {
    "onnx": {"edgerec_onnx.codes.MANY": 100, "edgerec_onnx.codes.PAIRED_BLOCK": 300},
    "tflite": {"edgerec_tflite.codes.MANY": 100, "edgerec_tflite.codes.BLOCK": 400},
}


@pytest.mark.parametrize("target", [name for name in TARGETS if name in MANY])
@pytest.mark.parametrize("rows", [701, 600])
@pytest.mark.parametrize(
    "codec",
    [PQ(3, 1), PQ(2, 2, runs=7), PQ(5, 1, 4), PQ(1, 1), PQ(2, 3, 4)],
    ids=str,
)
def test_two_bytes_at_a_time(
    target: str, rows: int, codec: Codec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An even or an odd number of bytes, and a last block that is short or not."""
    set_all(monkeypatch, MANY.get(target, {}))
    check(coded(example_models(rows, 16)["two-tables"], codec), target, tmp_path)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(("height", "read"), [(24, 6), (1, 120)])
def test_blocks_are_read_byte_by_byte(
    target: str, height: int, read: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even blocks of one row, which no compressor of edgerec makes."""
    set_all(monkeypatch, MANY.get(target, {}))
    model = coded(example_models(400, 16)["sum"], PQ(3, 1))
    check(model.with_blocks(Blocks(height, read)), target, tmp_path)


@pytest.mark.parametrize("target", [name for name in TARGETS if name in MANY])
def test_few_codewords_are_looked_up_one_by_one(
    target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_all(monkeypatch, MANY.get(target, {}))
    check(example_models(400, 16)["two-tables"].with_codec(Halves()), target, tmp_path)


@pytest.mark.parametrize("target", TARGETS)
def test_parts_with_lines_of_other_steps(
    target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each part of a table has runs, and pairs of bytes, of its own."""
    set_all(monkeypatch, MANY.get(target, {}))
    for rows in (512, 518):
        codec = Mixed(PQ(2, 2, runs=2), PQ(2, 2, runs=3), 0.5)
        check(coded(example_models(rows, 16)["sum"], codec), target, tmp_path)


def test_pairs_are_in_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = coded(example_models(300, 16)["sum"], PQ(3, 1))
    before = edgerec.export(model, "onnx", tmp_path / "a.edgerec")
    assert "items.pairs" not in before.payload
    assert before.nbytes_of("items.codes") == 3 * 300
    monkeypatch.setattr("edgerec_onnx.codes.MANY", 100)
    after = edgerec.export(model, "onnx", tmp_path / "b.edgerec")
    assert {"items.pairs", "items.codes"} <= {*after.payload}
    assert after.nbytes_of("items.pairs") == 2 * after.nbytes_of("items.codes") == 600


def in_runs(model: DeviceModel, ends: list[int]) -> DeviceModel:
    """The model with runs that end at certain rows, which have lengths of their own."""
    tables = {}
    for name, table in model.tables.items():
        rows = table.decode()
        n, d = rows.shape
        assert ends[-1] == n
        levels = fit(np.random.default_rng(n).uniform(0.5, 2, n).astype(np.float32), np.array(ends))
        if d == 1:
            arrays = Runs(len(ends)).write(np.array(ends), levels)
            tables[name] = Table(Runs(len(ends)), (n, 1), arrays)
            continue
        codec = PQ(2, 2, runs=0)
        codes, words = codec.learn(rows)
        codec = dataclasses.replace(codec, runs=len(ends))
        arrays = codec.write(codes, words, np.array(ends), levels)
        tables[name] = Table(codec, (n, d), arrays)
    return model.replace(tables=tables)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(
    "ends",
    [
        [300],
        [1, 2, 3, 5, 5, 5, 8, 31, 32, 33, 63, 64, 65, 100, 128, 287, 288, 289, 298, 299, 300],
        [32, 96, 128, 192, 300],
        [16, 64, 80, 96, 112, 240, 300],
        [0, 0, 8, 24, 288, 300],
        [299, 300],
    ],
    ids=lambda ends: f"{len(ends)} runs",
)
def test_lengths_of_runs_wherever_they_start(target: str, ends: list[int], tmp_path: Path) -> None:
    check(in_runs(example_models(300, 16)["sum"], ends), target, tmp_path)
    check(in_runs(example_models(300, 16)["two-tables"], ends), target, tmp_path)


def test_the_step_of_runs() -> None:
    def step(*ends: int) -> int:
        return RunLines(np.array(ends), np.ones((len(ends), 2))).step

    assert [step(5), step(64, 70), step(16, 48, 50), step(3, 64, 90), step(256, 512, 600)] == [
        *(64, 64, 16, 1, 64)
    ]
    # A run without rows starts nowhere.
    assert step(5, 5) == step(0, 5) == step(64, 64, 129, 129) == 64


def test_long_runs_start_at_multiples() -> None:
    ends = np.array([100, 1007, 1007, 1519, 2999])
    assert aligned_ends(ends).tolist() == [96, 1008, 1008, 1520, 2999]
    # Of short runs, too large a share would move; and the last run may be shorter than a step.
    assert aligned_ends(np.array([100, 1000])).tolist() == [96, 1000]
    assert aligned_ends(np.array([100, 200, 500])).tolist() == [100, 200, 500]
    assert aligned_ends(np.array([1020, 1021])).tolist() == [1021, 1021]


def test_the_runs_of_a_large_table_start_at_multiples() -> None:
    lengths = np.random.default_rng(0).uniform(0.1, 2, 3000).astype(np.float32)
    order, ends = in_runs_of([lengths], [False], 4, np.ones(3000, np.float32))
    assert sorted(order) == list(range(3000))
    assert (ends[:-1] % 16 == 0).all()
    assert ends[-1] == 3000
