"""Codecs: exact bytes, bounded error, and what they refuse."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from edgerec.errors import CodecError, ModelError
from edgerec.model.codecs import Codec, Fp16, Fp32, Int4, Int8
from edgerec.model.integers import pack4, unpack4
from edgerec.model.table import Table
from edgerec.testing import CORE_CODECS, check_codec


@pytest.mark.parametrize("codec", CORE_CODECS, ids=str)
def test_contract(codec: Codec) -> None:
    check_codec(codec)


@pytest.mark.parametrize(
    ("codec", "nbytes"),
    [(Fp32(), 256), (Fp16(), 128), (Int8(), 68), (Int8(False), 72), (Int4(True), 34), (Int4(), 36)],
    ids=str,
)
def test_bytes_an_item_at_width_64(codec: Codec, nbytes: int) -> None:
    assert codec.nbytes(1000, 64) == 1000 * nbytes


@given(
    arrays(np.float32, (6, 8), elements=st.floats(-100, 100, width=32, allow_subnormal=False)),
    st.booleans(),
)
@settings(max_examples=100, deadline=None)
def test_int8_error_is_at_most_half_a_step(matrix: np.ndarray, symmetric: bool) -> None:
    table = Table.encode(matrix, Int8(symmetric))
    step = table.arrays["scale"][:, None]
    slack = 1e-5 * np.abs(matrix).max(axis=1, keepdims=True) + 1e-30
    assert np.all(np.abs(table.decode() - matrix) <= 0.5001 * step + slack)


@given(arrays(np.int8, (5, 6), elements=st.integers(-8, 7)))
def test_pack4_round_trips(codes: np.ndarray) -> None:
    assert np.array_equal(unpack4(pack4(codes)), codes)


def test_pack4_puts_even_columns_in_the_low_half() -> None:
    assert pack4(np.array([[1, 2]], np.int8)).tolist() == [[0x21]]


@pytest.mark.parametrize("symmetric", [True, False])
def test_the_mse_range_is_never_worse(symmetric: bool) -> None:
    matrix = np.random.default_rng(0).standard_t(3, size=(200, 32)).astype(np.float32)
    whole = Table.encode(matrix, Int4(symmetric)).decode()
    part = Table.encode(matrix, Int4(symmetric, "mse")).decode()
    errors = [np.square(x - matrix).sum(axis=1) for x in (whole, part)]
    assert np.all(errors[1] <= errors[0])
    assert errors[1].sum() < 0.97 * errors[0].sum()


def test_int4_refuses_an_odd_width() -> None:
    with pytest.raises(CodecError, match="int4: an even width is needed, got 3"):
        Table.encode(np.ones((2, 3), np.float32), Int4())


def test_fp16_refuses_what_would_become_infinity() -> None:
    with pytest.raises(CodecError, match="beyond ±65504"):
        Table.encode(np.full((2, 2), 1e6, np.float32), Fp16())


def test_a_table_refuses_nan() -> None:
    with pytest.raises(ModelError, match="NaN or infinity"):
        Table.encode(np.full((2, 2), np.nan, np.float32), Fp32())


def test_replace_keeps_the_codec() -> None:
    table = Table.encode(np.eye(4, dtype=np.float32), Int8())
    assert table.replace(2 * np.eye(4, dtype=np.float32)).codec == Int8()


@pytest.mark.parametrize("codec", CORE_CODECS, ids=str)
def test_rows_are_taken_as_they_are_written(codec: Codec) -> None:
    table = Table.encode(np.random.default_rng(4).normal(size=(30, 16)).astype(np.float32), codec)
    rows = np.array([29, 3, 3, 0])
    taken = table.take(rows)
    assert taken.shape == (4, 16)
    assert all(np.array_equal(taken.arrays[k], a[rows]) for k, a in table.arrays.items())
