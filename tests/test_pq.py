"""Product quantization: the codec's contract, the rotation, training through the codec."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import edgerec
from edgerec.codecs import Codec
from edgerec.compressor import Context
from edgerec.data import Dataset
from edgerec.device_model import DeviceModel, Table
from edgerec.errors import CodecError, CompressError, OptionError
from edgerec.host import host
from edgerec.testing import check_codec, check_compressor, check_target, example_models
from edgerec.training import train
from edgerec_pq import ProductQuantize
from edgerec_pq.codec import PQ
from edgerec_pq.kmeans import columns, lookup, nearest, rotation


@pytest.fixture(scope="module")
def model(dataset: Dataset) -> DeviceModel:
    return train(dataset, epochs=8, dim=32).to_device_model()


@pytest.mark.parametrize(
    "codec", [PQ(8), PQ(8, norm=False), PQ(8, bits=4), PQ(5, bits=4), PQ(7)], ids=str
)
def test_codec_contract(codec: Codec) -> None:
    check_codec(codec)


def test_bytes_of_a_large_table() -> None:
    # 16 codes and a length an item; codebooks and levels are there once.
    assert PQ(16).nbytes(1_000_000, 64) == 17 * 1_000_000 + 2 * 256 * 64 + 2 * 256


def test_a_row_is_written_as_its_nearest_codewords() -> None:
    rng = np.random.default_rng(0)
    matrix = rng.normal(size=(300, 8)).astype(np.float32)
    codebook = rng.normal(size=(16, 8)).astype(np.float32)
    codes = nearest(matrix, codebook, 4)
    place = columns(8, 4)
    for m in range(4):
        part, words = matrix[:, place == m], codebook[:, place == m]
        distance = np.square(part[:, None] - words[None]).sum(2)
        assert np.array_equal(codes[:, m], distance.argmin(1))
    assert lookup(codes, codebook).shape == matrix.shape


def test_the_rotation_is_orthogonal_and_helps() -> None:
    rng = np.random.default_rng(0)
    matrix = (rng.normal(size=(800, 4)) @ rng.normal(size=(4, 16))).astype(np.float32)
    turn = rotation(matrix, 4, 16)
    assert np.allclose(turn @ turn.T, np.eye(16), atol=1e-4)
    codec = PQ(4, norm=False, bits=4)
    plain = Table.encode(matrix, codec).decode()
    turned = Table.encode(matrix @ turn, codec).decode() @ turn.T
    assert np.square(turned - matrix).sum() < 0.8 * np.square(plain - matrix).sum()


@pytest.mark.parametrize(
    "compressor",
    [
        ProductQuantize(subspaces=4, bits=4, epochs=2),
        ProductQuantize(subspaces=4, bits=4, epochs=0),
        ProductQuantize(subspaces=4, bits=4, epochs=1, norm=False, rotate=False),
    ],
    ids=str,
)
def test_compressor_contract(
    compressor: ProductQuantize, model: DeviceModel, dataset: Dataset
) -> None:
    check_compressor(compressor, model, Context(dataset))


def test_dense_encoders_are_quantized_without_a_rotation(dataset: Dataset) -> None:
    model = train(dataset, model="graphsage", epochs=1, dim=16).to_device_model()
    small = edgerec.compress(model, "pq:subspaces=4,bits=4,epochs=1", dataset=dataset)
    assert {t.codec.name for t in small.tables.values()} == {"pq"}


def test_numpy_runs_it_and_others_say_why_not(tmp_path: Path) -> None:
    models = {"sum": example_models(600)["sum"]}
    codecs = (PQ(4, bits=4),)
    assert set(check_target(host().target("numpy"), tmp_path, models, codecs).values()) == {"ok"}
    for name in ("tflite", "onnx", "torchscript"):
        (state,) = check_target(host().target(name), tmp_path, models, codecs).values()
        assert "'pq'" in state


def test_bad_options(model: DeviceModel, dataset: Dataset) -> None:
    with pytest.raises(OptionError, match=r"pq\.subspaces: give bytes or subspaces, not both"):
        ProductQuantize(bytes=8, subspaces=4)
    with pytest.raises(OptionError, match=r"pq\.bytes: expected more than 0, got -1"):
        ProductQuantize(bytes=-1)
    with pytest.raises(CodecError, match="99 subspaces do not fit 16 columns; use 1 to 16"):
        PQ(99).layout(10, 16)
    with pytest.raises(CompressError, match=r"pq: does not fit: at least .* bytes an item"):
        edgerec.compress(model, "pq:bytes=2", dataset=dataset)
