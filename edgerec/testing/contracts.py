"""What every codec, compressor and target has to do, as checks that raise AssertionErrors."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from edgerec.compression.chain import same_content
from edgerec.contracts.bundle import Bundle
from edgerec.contracts.compressor import Compressor, Context
from edgerec.contracts.target import Target
from edgerec.errors import CodecError, TargetError
from edgerec.exporting.answers import Answers, measure_parity
from edgerec.exporting.export import export
from edgerec.exporting.proof import MAX_SCORE_ERROR, MIN_OVERLAP, sample_histories, uneven_weights
from edgerec.model.codecs import F32, Codec, Fp16, Fp32, Int4, Int8
from edgerec.model.core_codecs import CODECS
from edgerec.model.device_model import DeviceModel, Head
from edgerec.model.items import Items
from edgerec.model.model_file import read_model_file, save_model
from edgerec.model.ops import Op
from edgerec.model.options import from_options
from edgerec.model.table import Table
from edgerec.testing.models import adverse_models, example_models

__all__ = ["CORE_CODECS", "check_codec", "check_compressor", "check_target"]

#: The codecs of core, symmetric and affine.
CORE_CODECS: tuple[Codec, ...] = (
    Fp32(),
    Fp16(),
    Int8(),
    Int8(symmetric=False),
    Int4(),
    Int4(symmetric=True),
)


def check_codec(codec: Codec, width: int = 16) -> None:
    """Check that a codec's size is exact, that it decodes any rows, and that it survives zeros.

    It must refuse matrices that it cannot hold with a CodecError.
    """
    rng = np.random.default_rng(0)
    matrix = rng.normal(size=(50, width)).astype(np.float32)
    matrix[3] = 0
    table = Table.encode(matrix, codec)
    assert table.nbytes == table.codec.nbytes(50, width), "nbytes differs from the bytes written"
    whole = table.decode()
    assert whole.dtype == np.float32, "decode should give float32"
    assert whole.shape == matrix.shape, "decode should give the matrix's shape"
    assert np.isfinite(whole).all(), "decode gave NaN or infinity"
    rows = np.array([49, 0, 3, 3])
    assert np.array_equal(table.decode(rows), whole[rows]), "decode(rows) differs from decode()"
    assert np.array_equal(table.decode(slice(10, 20)), whole[10:20]), "decode(slice) differs"
    error = np.linalg.norm(whole - matrix) / np.linalg.norm(matrix)
    assert error < 0.9, f"decode is {error:.0%} away from what was encoded"
    if (structure := table.codec.structure(table.arrays)) is not None:
        for part in (slice(None), slice(10, 20), rows):
            assert np.allclose(structure.rows(part), whole[part], rtol=1e-4, atol=1e-5), (
                "structure describes other rows than decode gives"
            )
    _check_alone(table, matrix)
    _check_saved(table)
    _check_large(matrix, codec)
    taken = table.take(rows)
    assert taken.shape == (len(rows), width), "take gave another shape"
    assert taken.nbytes == taken.codec.nbytes(len(rows), width), "take gave other bytes"
    damaged = dict(table.arrays)
    damaged.pop(next(iter(damaged)))
    try:
        Table(codec, table.shape, damaged)
    except CodecError:
        return
    raise AssertionError("arrays with a part missing were accepted")


def _check_alone(table: Table, matrix: F32) -> None:
    """Check that rows follow from the codec's options and arrays, which are all that a file has."""
    whole = table.decode()
    Table.encode(matrix[::-1] * 2, type(table.codec)())
    kinds = {kind.name: kind for kind in table.codec.kinds()}
    codec = from_options(type(table.codec), table.codec.options(), "codec", {Codec: kinds})
    arrays = {name: array.copy() for name, array in table.arrays.items()}
    found = codec.decode(arrays, slice(None))
    assert np.array_equal(found, whole), (
        "decode needs more than the options and the arrays, which are all that a file has"
    )


def _check_large(matrix: F32, codec: Codec) -> None:
    """Check that numbers beyond half precision, and whose squares are, are encoded or refused."""
    for size in (np.float32(1e5), np.float32(1e9)):
        for shifted in (matrix * size, (matrix + 1) * size):
            try:
                written = Table.encode(shifted, codec)
            except CodecError:
                continue
            assert np.isfinite(written.decode()).all(), (
                f"numbers of {size:g} were written as NaN or infinity; raise CodecError"
            )


def _check_saved(table: Table) -> None:
    """Check that a model with the table can be saved and read again."""
    ops = (
        Op("Gather", ("items", "history"), "rows"),
        Op("Mul", ("rows", "weights"), "weighted"),
        Op("ReduceSum", ("weighted",), "user"),
    )
    items = Items.of(f"i{row}" for row in range(table.shape[0]))
    model = DeviceModel(items, {"items": table}, ops, Head("items"), 5)
    codec = table.codec
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.model"
        save_model(model, path)
        known = {**CODECS, **{kind.name: kind for kind in model.codecs}}
        read = read_model_file(path, known).tables["items"]
        assert read.codec == codec, f"saved and read, {codec} is {read.codec}"
        assert np.array_equal(read.decode(), table.decode()), "saved and read, it decodes otherwise"


def check_compressor(
    compressor: Compressor, model: DeviceModel, context: Context | None = None
) -> DeviceModel:
    """Check that a compressor is a function: it leaves its input alone and is deterministic."""
    context = context or Context()
    before = model.replace(
        tables={
            name: Table(table.codec, table.shape, {k: a.copy() for k, a in table.arrays.items()})
            for name, table in model.tables.items()
        },
        constants={name: constant.copy() for name, constant in model.constants.items()},
        popular=model.popular.copy(),
    )
    after = compressor.compress(model, context)
    assert same_content(before, model), "the compressor changed the model it was given"
    assert not same_content(model, after), "the compressor had no effect"
    assert same_content(after, compressor.compress(model, context)), "two runs differ"
    outline = compressor.outline(model)
    if outline is not None:
        assert len(outline.items) == len(after.items), "outline has another number of items"
        assert outline.table_bytes == after.table_bytes, (
            f"outline has {outline.table_bytes} table bytes, the result {after.table_bytes}"
        )
    return after


def check_target(
    target: Target,
    folder: str | Path,
    models: Mapping[str, DeviceModel] | None = None,
    codecs: tuple[Codec, ...] = CORE_CODECS,
    histories: int = 100,
) -> dict[tuple[str, str], str]:
    """Export, load and run every model with every codec, and compare it with the oracle.

    By default, the models are ``example_models`` and ``adverse_models``. The past items of each
    history have unequal weights.

    Returns ``ok`` for each pair, or the reason why the target refuses it. A combination that is
    neither refused nor correct is an AssertionError.
    """
    found: dict[tuple[str, str], str] = {}
    folder = Path(folder)
    for name, model in (models or example_models() | adverse_models()).items():
        for codec in codecs:
            # Tables with one number per item (LightGCN's degree weights) keep their codec.
            wide = [n for n, t in model.tables.items() if t.shape[1] > 1]
            coded = model.with_codec(codec, wide)
            label = f"{codec.name}{'' if getattr(codec, 'symmetric', True) else ' affine'}"
            if reasons := target.refuse(coded):
                assert all(reasons), "refuse() gave an empty reason"
                found[name, label] = "; ".join(reasons)
                continue
            path = folder / f"{target.name}-{name}-{label.replace(' ', '-')}.edgerec"
            try:
                export(coded, target, path, top_k=20)
            except TargetError as error:
                raise AssertionError(f"{name}, {label}: {error}") from error
            known = {**CODECS, **{kind.name: kind for kind in coded.codecs}}
            rows = sample_histories(coded, histories, seed=1)
            answers = Answers(coded, rows, 20, uneven_weights(rows), target.signature)
            for runtime in target.runtimes():
                artefact = target.load(Bundle.open(path, codecs=known), runtime)
                parity = measure_parity(artefact, answers)
                assert parity.overlap >= MIN_OVERLAP, f"{name}, {label}, {runtime}: {parity}"
                assert parity.score_error <= MAX_SCORE_ERROR, (
                    f"{name}, {label}, {runtime}: {parity}"
                )
            found[name, label] = "ok"
    return found
