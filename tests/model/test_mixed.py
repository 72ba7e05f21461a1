"""Mixed precision: rows of two codecs in one table, and the options of codecs within codecs."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from edgerec.compression.chain import compress
from edgerec.contracts.compressor import Context
from edgerec.contracts.host import Host
from edgerec.data.dataset import Dataset
from edgerec.errors import CodecError, OptionError
from edgerec.model.codecs import F32, Codec, Fp16, Fp32, Int4, Int8
from edgerec.model.mixed import Mixed
from edgerec.model.options import format_spec
from edgerec.model.structure import Partition, Sparse
from edgerec.model.table import Table
from edgerec.testing import check_codec
from edgerec.training.loop import train
from edgerec_pq.codec import PQ
from edgerec_prune.sparse import Sparse as SparseCodec
from edgerec_quantize import Quantize


@pytest.fixture
def matrix() -> F32:
    return np.random.default_rng(0).normal(size=(50, 16)).astype(np.float32)


@pytest.mark.parametrize(
    "codec",
    [
        Mixed(),
        Mixed(Fp32(), Fp16(), 0.5),
        Mixed(Int8(), PQ(4, bits=4), 0.2),
        Mixed(Fp16(), SparseCodec("int8"), 0.1),
        Mixed(Int8(), Mixed(Int4(), SparseCodec(), 0.5), 0.3),
    ],
    ids=str,
)
def test_contract(codec: Codec) -> None:
    check_codec(codec)


def test_rows_are_those_of_their_codec(matrix: F32) -> None:
    table = Table.encode(matrix, Mixed(Int8(), Int4(), 0.3))
    first, rest = (
        Table.encode(part, codec)
        for part, codec in zip((matrix[:15], matrix[15:]), (Int8(), Int4()), strict=True)
    )
    assert table.codec.heights == (15, 35)
    assert np.array_equal(table.decode(), np.concatenate([first.decode(), rest.decode()]))
    assert table.nbytes == first.nbytes + rest.nbytes == Mixed(Int8(), Int4(), 0.3).nbytes(50, 16)
    structure = table.codec.structure(table.arrays)
    assert isinstance(structure, Partition)
    assert (structure.heights, structure.starts) == ((15, 35), [0, 15])


def test_rows_are_taken_as_they_are(matrix: F32) -> None:
    table = Table.encode(matrix, Mixed(Int8(), Int4(), 0.3))
    whole = table.decode()
    for rows in ([0, 3, 14, 15, 40], [14, 2, 49, 15], [14, 15]):
        taken = table.take(np.array(rows))
        assert np.array_equal(taken.decode(), whole[rows])
        high = sum(row < 15 for row in rows)
        assert taken.codec.heights == (high, len(rows) - high)
    for rows, codec in (([3, 1], Int8()), ([20, 16, 49], Int4())):
        taken = table.take(np.array(rows))
        assert np.array_equal(taken.decode(), whole[rows])
        assert taken.codec == codec
    # In an order that mixes both, the first rows are encoded anew.
    mixed = table.take(np.array([20, 3, 30, 4, 5, 6, 7, 8, 9, 10]))
    assert mixed.codec.heights == (3, 7)
    assert np.allclose(mixed.decode(), whole[[20, 3, 30, *range(4, 11)]], atol=0.3)


def test_damage_is_found_in_either_part(matrix: F32) -> None:
    table = Table.encode(matrix, Mixed(Int8(), SparseCodec(), 0.3))
    starts = table.arrays["rest_starts"].copy()
    starts[3] = starts[-1] + 5
    with pytest.raises(CodecError, match="codec sparse: starts should rise"):
        Table(table.codec, table.shape, {**table.arrays, "rest_starts": starts})
    with pytest.raises(CodecError, match="codec mixed: share: expected between 0 and 1, got 1"):
        Mixed(share=1.0)
    with pytest.raises(CodecError, match="codec mixed: heights: expected two"):
        Mixed(heights=(1, 2, 3))
    with pytest.raises(CodecError, match="codec mixed: expected at least 2 rows, got 1"):
        Table.encode(matrix[:1], Mixed())


def test_options_within_options_are_read_back() -> None:
    host = Host.installed()
    inner = Mixed(Int4(True), Mixed(Fp16(), PQ(3, 2, 4), 0.25, (2, 3)), 0.5)
    text = (
        "mixed:first=int4/symmetric=true,rest=mixed/first=fp16/"
        "rest=(pq/subspaces=3/stages=2/bits=4)/share=0.25/heights=2+3,share=0.5"
    )
    assert format_spec(inner) == text
    assert host.codec("mixed", **inner.options()) == inner
    assert host.compressor("quantize", codec=inner.options()["rest"]).codec == inner.rest
    for bad, message in (
        ("mixed/rest=(int9)", r"quantize.codec mixed.rest: unknown codec 'int9'; known: fp16"),
        ("mixed/share", r"expected name/option=value/..., each once; got 'mixed/share'"),
        ("mixed/share=0.1/share=0.2", "each once"),
        ("", "quantize.codec: unknown codec ''"),
    ):
        with pytest.raises(OptionError, match=message):
            host.compressor("quantize", codec=bad)


def test_popular_items_can_be_trained(dataset: Dataset) -> None:
    model = train(dataset, epochs=2, dim=16).to_device_model()
    small = Quantize("int4", popular=0.2, epochs=1).compress(model, Context(dataset))
    assert {t.codec.name for t in small.tables.values() if t.shape[1] > 1} == {"mixed"}
    fewer = compress(small, "prune:structure=items,share=0.3", dataset=dataset)
    (table,) = [t for t in fewer.tables.values() if t.shape[1] > 1][:1]
    assert table.codec.name == "mixed"


def test_blocks_of_sparse_rows() -> None:
    """They cover all rows and all numbers once, in order, also where rows have no numbers."""
    counts = np.array([0, 0, 5, 1, 0, 9, 0, 2, 0, 0])
    starts = np.concatenate([[0], np.cumsum(counts)])
    nothing = np.zeros(17, np.uint8)
    for numbers in (1, 2, 3, 6, 17, 100):
        blocks = Sparse(starts, nothing, nothing, 4).blocks(numbers)
        assert [blocks[0][0], blocks[-1][1], blocks[-1][3]] == [0, 10, 17]
        for one, other in itertools.pairwise(blocks):
            assert one[1::2] == other[::2]
        assert all(starts[a] == c and starts[b] == d for a, b, c, d in blocks)
    empty = Sparse(np.zeros(4, np.uint32), nothing[:0], nothing[:0], 4)
    assert empty.blocks(8) == [(0, 3, 0, 0)]
    assert empty.most == 1
