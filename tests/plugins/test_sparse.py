"""The sparse codec: exact where it can be, and checked when it is read."""

from __future__ import annotations

import numpy as np
import pytest

from edgerec.errors import CodecError
from edgerec.model.table import Table
from edgerec.testing import check_codec
from edgerec_prune.sparse import Sparse


def sparse_matrix(rows: int = 40, width: int = 24) -> np.ndarray:
    rng = np.random.default_rng(0)
    matrix = rng.integers(-8, 9, (rows, width)).astype(np.float32)
    matrix[rng.random(matrix.shape) < 0.8] = 0
    matrix[7] = 0
    return matrix


@pytest.mark.parametrize("codec", [Sparse(), Sparse(values="int8")], ids=str)
@pytest.mark.parametrize("width", [1, 7, 16, 256])
def test_contract(codec: Sparse, width: int) -> None:
    check_codec(codec, width)


def test_each_number_is_in_its_place() -> None:
    matrix = sparse_matrix()
    table = Table.encode(matrix, Sparse())
    assert np.array_equal(table.decode(), matrix)
    for rows in (np.array([7, 39, 0, 7]), slice(3, 30), np.arange(40)[::-1]):
        assert np.array_equal(table.decode(rows), matrix[rows])
    assert np.array_equal(table.take(np.array([5, 2])).decode(), matrix[[5, 2]])


@pytest.mark.parametrize(
    ("array", "place", "value", "message"),
    [
        ("columns", 3, 24, "a column is beyond the 24"),
        ("starts", 0, 1, "starts should rise from 0"),
        ("starts", 5, 10**6, "starts should rise from 0"),
        ("starts", -1, 3, "starts should rise from 0"),
    ],
)
def test_arrays_that_lie_outside(array: str, place: int, value: int, message: str) -> None:
    table = Table.encode(sparse_matrix(), Sparse())
    arrays = {name: found.copy() for name, found in table.arrays.items()}
    arrays[array][place] = value
    with pytest.raises(CodecError, match=message):
        Table(table.codec, table.shape, arrays)


def test_a_width_that_is_not_the_tables() -> None:
    table = Table.encode(sparse_matrix(), Sparse())
    with pytest.raises(CodecError, match="beyond the 23"):
        Table(table.codec, (40, 23), table.arrays)
