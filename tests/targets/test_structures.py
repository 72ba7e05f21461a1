"""Codecs that declare a structure run on every target, whoever wrote them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pytest

from edgerec.contracts.host import Host
from edgerec.errors import TargetError
from edgerec.exporting.answers import Answers, measure_parity
from edgerec.exporting.export import export
from edgerec.model.codecs import F32, Arrays, Codec, Int4
from edgerec.model.device_model import DeviceModel
from edgerec.model.integers import pack4
from edgerec.model.mixed import Mixed
from edgerec.model.structure import Affine, Lookup, Partition
from edgerec.model.table import Table
from edgerec.testing import example_models
from edgerec_pq.codec import PQ
from edgerec_pq.runs import Runs

TARGETS = ["onnx", "tflite", "torchscript"]

#: One code and many, of 8 and of 4 bits, an odd number of halves, words of 4 bits, and lengths.
CODECS = [
    PQ(8),
    PQ(1, 4, runs=6),
    PQ(3, 1, 4),
    PQ(4, 2, 4, runs=1, word_bits=4),
    PQ(5, 3, 8, runs=9, word_bits=4),
]


def coded(model: DeviceModel, codec: Codec) -> DeviceModel:
    """A model with wide tables in one codec, and runs for those of one column."""
    wide = [name for name, table in model.tables.items() if table.shape[1] > 1]
    narrow = [name for name in model.tables if name not in wide]
    return model.with_codec(codec, wide).with_codec(Runs(7), narrow)


def check(model: DeviceModel, target: str, path: Path) -> None:
    """Export, and compare every runtime with the oracle on histories of all kinds."""
    found = Host.installed().target(target)
    bundle = export(model, target, path / "x.edgerec", top_k=20)
    rng, n = np.random.default_rng(0), len(model.history_items)
    histories = [rng.integers(0, n, size) for size in (1, 2, 17, model.history_length)]
    histories.append(np.array([0, n - 1], np.int64))
    for runtime in found.runtimes():
        answers = Answers(model, histories, 20)
        parity = measure_parity(found.load(bundle, runtime), answers)
        assert parity.overlap >= 0.999, (runtime, parity)
        assert parity.score_error <= 1e-4, (runtime, parity)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("codec", CODECS, ids=str)
def test_codewords(target: str, codec: PQ, tmp_path: Path) -> None:
    check(coded(example_models(700, 16)["sum"], codec), target, tmp_path)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", ["two-tables", "dense", "attention"])
def test_heads_and_several_tables(target: str, name: str, tmp_path: Path) -> None:
    """Cosine and sigmoid heads, and tables that only histories read."""
    check(coded(example_models(300, 16)[name], PQ(4, 2, runs=5)), target, tmp_path)


@pytest.mark.parametrize(
    ("target", "rows"),
    [("onnx", 4097), ("onnx", 4096), ("tflite", 16385), ("torchscript", 65537)],
)
def test_blocks(target: str, rows: int, tmp_path: Path) -> None:
    """The last block is short, or there is none besides the first."""
    check(coded(example_models(rows, 16)["two-tables"], PQ(2, runs=20)), target, tmp_path)


@dataclass(frozen=True)
class Halves(Codec):
    """Someone else's codec: two codewords per row, stored as floats."""

    name: ClassVar[str] = "halves"

    def encode(self, matrix: F32) -> dict[str, Any]:
        """Take every row of the first 16 as a codeword."""
        d = matrix.shape[1]
        words = matrix[:16]
        parts = [slice(0, d // 2), slice(d // 2, d)]
        codes = [((matrix[:, None, part] - words[:, part]) ** 2).sum(2).argmin(1) for part in parts]
        return {"words": words, "codes": np.stack(codes, 1).astype(np.uint8)}

    def decode(self, arrays: Arrays, rows: Any) -> F32:
        """Put both halves together."""
        return self.structure(arrays).rows(rows)

    def structure(self, arrays: Arrays) -> Lookup:
        """Two subspaces and one stage."""
        words = np.asarray(arrays["words"], np.float32)
        subspace = (np.arange(words.shape[1]) >= words.shape[1] // 2).astype(np.int64)
        return Lookup(arrays["codes"], 8, words[None], subspace)

    def layout(self, n: int, d: int) -> dict[str, tuple[str, tuple[int, ...]]]:
        """Codewords and codes."""
        return {"words": ("<f4", (16, d)), "codes": ("|u1", (n, 2))}


@dataclass(frozen=True)
class Opaque(Halves):
    """The same, but nothing is declared."""

    name: ClassVar[str] = "opaque"

    def structure(self, arrays: Arrays) -> Any:
        """Nothing."""
        return None

    def decode(self, arrays: Arrays, rows: Any) -> F32:
        """Put both halves together."""
        return Halves().decode(arrays, rows)


@pytest.mark.parametrize("target", TARGETS)
def test_a_codec_of_someone_else(target: str, tmp_path: Path) -> None:
    model = example_models(300, 16)["two-tables"]
    check(model.with_codec(Halves()), target, tmp_path)
    message = (
        f"table 'items': codec 'opaque' declares no structure, and {target} runs codecs other than "
        "fp32, fp16, int8, int4 by their structure"
    )
    with pytest.raises(TargetError, match=message):
        export(model.with_codec(Opaque()), target, tmp_path / "y.edgerec")


@dataclass(frozen=True)
class Tens(Codec):
    """Someone else's integers: steps of a tenth of the largest number, in any kind of float."""

    name: ClassVar[str] = "tens"
    bits: Literal[4, 8] = 8
    offset: bool = False
    halves: bool = False

    def encode(self, matrix: F32) -> dict[str, Any]:
        """Round every row to 7 or 100 steps."""
        steps = 7 if self.bits == 4 else 100
        dtype = np.float16 if self.halves else np.float32
        shift = matrix.mean(1).astype(dtype) if self.offset else np.zeros(len(matrix), dtype)
        rest = matrix - shift[:, None].astype(np.float32)
        scale = (np.abs(rest).max(1) / steps).astype(dtype)
        codes = np.rint(rest / scale[:, None].astype(np.float32)).clip(-steps, steps)
        packed = codes.astype(np.int8) if self.bits == 8 else pack4(codes.astype(np.int8))
        return {"q": packed, "s": scale} | ({"z": shift} if self.offset else {})

    def decode(self, arrays: Arrays, rows: Any) -> F32:
        """Put both halves together."""
        return self.structure(arrays).rows(rows)

    def structure(self, arrays: Arrays) -> Affine:
        """Codes, scales and offsets."""
        return Affine(arrays["q"], self.bits, arrays["s"], arrays.get("z"))

    def layout(self, n: int, d: int) -> dict[str, tuple[str, tuple[int, ...]]]:
        """By their own names."""
        kind = "<f2" if self.halves else "<f4"
        codes = ("|i1", (n, d)) if self.bits == 8 else ("|u1", (n, d // 2))
        return {"q": codes, "s": (kind, (n,))} | ({"z": (kind, (n,))} if self.offset else {})


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(
    "codec", [Tens(), Tens(8, True, True), Tens(4, False, True), Tens(4, True)], ids=str
)
def test_integers_of_someone_else(target: str, codec: Codec, tmp_path: Path) -> None:
    check(example_models(700, 16)["two-tables"].with_codec(codec), target, tmp_path)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("codec", [Tens(4), Tens(4, True)], ids=str)
def test_widths_that_a_kernel_does_not_take(target: str, codec: Codec, tmp_path: Path) -> None:
    check(example_models(700, 24)["two-tables"].with_codec(codec), target, tmp_path)


def test_a_target_refuses_structures_that_it_does_not_lower() -> None:
    """A part of a partition as well."""

    class Few(type(Host.installed().target("onnx"))):  # type: ignore[misc]  # its class is computed
        structures = (Affine, Partition)

    model = example_models(300, 16)["sum"]
    assert Few().refuse(model.with_codec(Mixed(Tens(), Int4()), ["items"])) == []
    (reason,) = Few().refuse(model.with_codec(Mixed(Tens(), PQ(2, bits=4)), ["items"]))
    assert reason == (
        "table 'items': codec 'mixed' has the structure Lookup, which onnx does not lower; it "
        "lowers Affine, Partition"
    )


@pytest.mark.parametrize("target", TARGETS)
def test_runs_without_rows_are_left_out(target: str, tmp_path: Path) -> None:
    """Of the numbers of past items, and of the lengths of candidates."""
    model = coded(example_models(300, 16)["sum"], PQ(2, 2, runs=6))
    ends = np.array([0, 40, 40, 41, 300, 300], np.uint32)
    levels = np.linspace(3, 1, 12).reshape(6, 2).astype(np.float16)
    tables = {}
    for name, table in model.tables.items():
        codec = table.codec if isinstance(table.codec, PQ) else Runs(6)
        tables[name] = Table(codec, table.shape, {**table.arrays, "ends": ends, "levels": levels})
    check(model.replace(tables=tables), target, tmp_path)
