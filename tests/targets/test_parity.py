"""Every structure runs on every target: what it scores and reads equals the oracle."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pytest

from edgerec.contracts.host import Host
from edgerec.exporting.answers import Answers, measure_parity
from edgerec.exporting.export import export
from edgerec.model.codecs import F32, Arrays, Codec, Fp16, Fp32, Int4, Int8
from edgerec.model.device_model import DeviceModel
from edgerec.model.integers import pack4
from edgerec.model.mixed import Mixed
from edgerec.model.structure import Affine
from edgerec.model.table import Table
from edgerec.testing import example_models
from edgerec_pq.codec import PQ
from edgerec_prune.sparse import Sparse
from edgerec_quantize.grouped import Int4Group
from tests.rigs.codecs import CODECS, coded

#: Those whose runtime is installed; executorch needs an environment of its own.
TARGETS = [name for name, kind in Host.installed().targets.items() if kind().runtimes()]

each_target = pytest.mark.parametrize("target", TARGETS)


def check(model: DeviceModel, target: str, folder: Path) -> None:
    """Export, and compare every runtime with the oracle on histories of all kinds."""
    found = Host.installed().target(target)
    bundle = export(model, target, folder / "x.edgerec", top_k=20)
    rng, n = np.random.default_rng(0), len(model.history_items)
    histories = [rng.integers(0, n, size) for size in (1, 2, 17, model.history_length)]
    histories += [np.array([0, n - 1], np.int64), np.array([n // 2], np.int64)]
    for runtime in found.runtimes():
        parity = measure_parity(found.load(bundle, runtime), Answers(model, histories, 20))
        assert parity.overlap >= 0.999, (runtime, parity)
        assert parity.score_error <= 1e-4, (runtime, parity)


def set_all(monkeypatch: pytest.MonkeyPatch, sizes: Mapping[str, int]) -> None:
    """Set constants of modules, by their places."""
    for place, size in sizes.items():
        monkeypatch.setattr(place, size)


@each_target
@pytest.mark.parametrize("codec", CODECS, ids=str)
def test_codecs(target: str, codec: Codec, tmp_path: Path) -> None:
    check(coded(example_models(700, 32)["sum"], codec), target, tmp_path)


@each_target
@pytest.mark.parametrize("name", ["two-tables", "dense", "attention"])
@pytest.mark.parametrize(
    "codec", [Int4Group(8, False), Sparse("int8"), Mixed(Int8(), Sparse(), 0.3)], ids=str
)
def test_heads_and_several_tables(target: str, name: str, codec: Codec, tmp_path: Path) -> None:
    """Cosine and sigmoid heads, and tables that only histories read."""
    check(coded(example_models(300, 16)[name], codec), target, tmp_path)


#: The number of rows, or of numbers, that each target takes at a time.
BLOCKS = {
    "onnx": {"edgerec_onnx.integers.BLOCK": 300, "edgerec_onnx.sparse_rows.BLOCK": 300},
    "tflite": {"edgerec_tflite.rows.NUMBERS": 4800, "edgerec_tflite.sparse_rows.NUMBERS": 300},
    "torchscript": {
        "edgerec.exporting.torch_rows._WIDENED": 4800,
        "edgerec.exporting.torch_rows._NUMBERS": 300,
    },
    "numpy": {"edgerec_numpy.scan._FIRST": 300, "edgerec_numpy.scan._BLOCK": 300},
}


@pytest.mark.parametrize("target", [name for name in TARGETS if name in BLOCKS])
@pytest.mark.parametrize("rows", [700, 600])
@pytest.mark.parametrize(
    "codec",
    [Int4Group(8), Sparse(), Mixed(Sparse("int8"), Int4Group(8, False), 0.45)],
    ids=lambda codec: codec.name,
)
def test_blocks(
    target: str, rows: int, codec: Codec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last block is short, or it is not, and the parts of a partition meet inside a block."""
    set_all(monkeypatch, BLOCKS[target])
    check(coded(example_models(rows, 16)["two-tables"], codec), target, tmp_path)


@each_target
def test_a_part_without_numbers(target: str, tmp_path: Path) -> None:
    """All rows of a sparse part are zero, and so are the first and the last of the other one."""
    model, tables = example_models(400, 16)["sum"], {}
    for name, table in model.tables.items():
        rows = table.decode().copy()
        if rows.shape[1] > 1:
            rows[:100] = rows[100:110] = rows[390:] = 0
        codec = Mixed(Sparse(), Sparse("int8"), 0.25) if rows.shape[1] > 1 else Fp32()
        tables[name] = Table.encode(rows, codec)
    check(model.replace(tables=tables), target, tmp_path)


@dataclass(frozen=True)
class Grouped(Codec):
    """Someone else's integers of 8, 4 or 1 bits, by groups of columns, with offsets or not."""

    name: ClassVar[str] = "grouped"
    bits: Literal[1, 4, 8] = 8
    groups: int = 1
    offset: bool = False
    halves: bool = False
    width: int = 0

    def fit(self, matrix: F32) -> Codec:
        """Record the width."""
        return dataclasses.replace(self, width=matrix.shape[1])

    def encode(self, matrix: F32) -> dict[str, Any]:
        """Round every group to its own steps."""
        dtype, steps = np.float16 if self.halves else np.float32, {8: 100, 4: 7, 1: 1}[self.bits]
        parts = matrix.reshape(len(matrix), self.groups, -1)
        middle = parts.mean(2) if self.offset else np.zeros(parts.shape[:2])
        rest = parts - middle.astype(dtype).astype(np.float32)[:, :, None]
        scale = (np.abs(rest).max(2) / steps).astype(dtype)
        if self.bits == 1:
            bits = (rest > 0).reshape(matrix.shape)
            codes = np.packbits(bits, axis=1, bitorder="little")
        else:
            codes = np.rint(rest / scale.astype(np.float32)[:, :, None]).clip(-steps, steps)
            codes = codes.reshape(matrix.shape).astype(np.int8)
            codes = pack4(codes) if self.bits == 4 else codes
        return {"q": codes, "s": scale} | ({"z": middle.astype(dtype)} if self.offset else {})

    def decode(self, arrays: Arrays, rows: Any) -> F32:
        """Put groups together."""
        return self.structure(arrays).rows(rows)

    def structure(self, arrays: Arrays) -> Affine:
        """Codes, scales and offsets."""
        return Affine(arrays["q"], self.bits, arrays["s"], arrays.get("z"), self.width)

    def layout(self, n: int, d: int) -> dict[str, tuple[str, tuple[int, ...]]]:
        """By their own names."""
        kind = ("<f2" if self.halves else "<f4", (n, self.groups))
        codes = ("|i1" if self.bits == 8 else "|u1", (n, -(-d * self.bits // 8)))
        return {"q": codes, "s": kind} | ({"z": kind} if self.offset else {})


@each_target
@pytest.mark.parametrize(
    ("codec", "width"),
    [
        (Grouped(1, 1), 20),
        (Grouped(1, 5, True, True), 20),
        (Grouped(4, 3, True), 48),
        (Grouped(4, 2, False, True), 36),
        (Grouped(8, 1, True, True), 16),
        (Grouped(8, 4), 16),
    ],
    ids=str,
)
def test_integers_of_someone_else(target: str, codec: Codec, width: int, tmp_path: Path) -> None:
    check(coded(example_models(300, width)["two-tables"], codec), target, tmp_path)


@dataclass(frozen=True)
class Plain(Fp16):
    """Someone else's floats."""

    name: ClassVar[str] = "plain"


@each_target
def test_floats_of_someone_else(target: str, tmp_path: Path) -> None:
    check(example_models(300, 16)["two-tables"].with_codec(Plain()), target, tmp_path)


@each_target
@pytest.mark.parametrize("codec", [Int4Group(16), Sparse("int8"), Mixed(Fp16(), Int4Group(8))])
def test_a_file_is_no_larger_than_its_table(target: str, codec: Codec, tmp_path: Path) -> None:
    model = coded(example_models(20_000, 32)["sum"], codec)
    bundle = export(model, target, tmp_path / "x.edgerec", top_k=20)
    payload = sum(
        bundle.container.nbytes(name)
        for name in bundle.container.names
        if name.startswith("payload/")
    )
    assert payload <= 1.02 * model.table_bytes + 64 * 1024


def test_native_scans() -> None:
    """A group of whole blocks of 16 is native on onnx only, and integers of any width are not."""
    model = example_models(100, 48)["sum"]
    for codec, native in (
        (Fp16(), {"numpy", "onnx", "tflite", "torchscript", "executorch"}),
        (PQ(4, bits=4), {"numpy", "onnx", "tflite", "torchscript", "executorch"}),
        (Int4Group(16), {"onnx"}),
        (Int4Group(8), set()),
        (Grouped(1, 1), set()),
        (Mixed(), set()),
    ):
        table = coded(model, codec).tables["items"]
        hosts = Host.installed().targets
        assert {name for name, kind in hosts.items() if kind().is_native(table)} == native, codec
    narrow = coded(example_models(100, 24)["sum"], Int4()).tables["items"]
    assert not Host.installed().target("onnx").is_native(narrow)
