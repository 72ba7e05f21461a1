"""Where candidates are in blocks, every target reads the same blocks as the oracle."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from edgerec.contracts.bundle import Bundle
from edgerec.contracts.host import Host
from edgerec.contracts.runner import Artefact
from edgerec.contracts.signature import Signature
from edgerec.contracts.target import Payload, Target
from edgerec.device.scorer import Scorer
from edgerec.errors import OptionError, TargetError
from edgerec.exporting.answers import Answers, measure_parity
from edgerec.exporting.export import export
from edgerec.model.blocks import Blocks, centroids_of
from edgerec.model.codecs import Codec, Fp32, Int8
from edgerec.model.device_model import DeviceModel, Head
from edgerec.model.oracle import Oracle
from edgerec.model.table import Table
from edgerec.testing import example_models
from edgerec_numpy import NumpyTarget
from edgerec_pq.codec import PQ
from tests.rigs.codecs import CODECS, coded

#: Those whose runtime is installed; executorch needs an environment of its own.
TARGETS = [name for name, kind in Host.installed().targets.items() if kind().runtimes()]

each_target = pytest.mark.parametrize("target", TARGETS)


def in_blocks(model: DeviceModel, height: int, read: int) -> DeviceModel:
    """A model that reads some blocks; its rows are in no order, so that every block matters."""
    return model.with_blocks(Blocks(height, read))


def check(model: DeviceModel, target: str, folder: Path) -> None:
    """Export, and compare every runtime with the oracle on histories of all kinds."""
    found = Host.installed().target(target)
    bundle = export(model, target, folder / "x.edgerec", top_k=20)
    rng, n = np.random.default_rng(0), len(model.history_items)
    histories = [rng.integers(0, n, size) for size in (1, 1, 2, 5, 17, model.history_length)]
    histories += [np.array([0, n - 1], np.int64), np.zeros(0, np.int64)]
    for runtime in found.runtimes():
        parity = measure_parity(found.load(bundle, runtime), Answers(model, histories, 20))
        assert parity.overlap >= 0.999, (runtime, parity)
        assert parity.score_error <= 1e-4, (runtime, parity)


@each_target
@pytest.mark.parametrize(
    "codec",
    [*CODECS, PQ(8), PQ(4, runs=7), PQ(5, 3, 8, runs=9, word_bits=4), PQ(3, 1, 4)],
    ids=str,
)
def test_every_codec(target: str, codec: Codec, tmp_path: Path) -> None:
    """The last block is shorter, and blocks are not those of any scan of all rows."""
    check(in_blocks(coded(example_models(700, 32)["sum"], codec), 24, 6), target, tmp_path)


@each_target
@pytest.mark.parametrize("name", ["two-tables", "dense", "attention"])
@pytest.mark.parametrize(
    ("codec", "rows", "height"),
    [(Int8(False), 640, 64), (Int8(), 650, 128), (Int8(False), 700, 64), (Fp32(), 600, 50)],
)
def test_every_head(
    target: str, name: str, codec: Codec, rows: int, height: int, tmp_path: Path
) -> None:
    """Blocks are tiles of an integer scan, several of them, or neither; the last may be shorter."""
    check(in_blocks(coded(example_models(rows, 16)[name], codec), height, 3), target, tmp_path)


@each_target
def test_columns_of_unequal_size(target: str, tmp_path: Path) -> None:
    """A column that dwarfs the others does not make centroids coarse in those."""
    model = example_models(640, 16)["two-tables"]
    rows = model.tables["items"].decode() * np.geomspace(1e4, 1e-2, 16, dtype=np.float32)
    past = model.tables["past"].decode() / np.geomspace(1e4, 1e-2, 16, dtype=np.float32)
    tables = {"items": Table.encode(rows, Fp32()), "past": Table.encode(past, Fp32())}
    check(in_blocks(model.replace(tables=tables), 32, 4), target, tmp_path)


def test_the_oracle_reads_the_blocks_with_the_highest_expectation() -> None:
    model = in_blocks(example_models(500, 16)["dense"], 40, 3)
    oracle = Oracle(model)
    rng = np.random.default_rng(0)
    users = rng.normal(size=(9, 16)).astype(np.float32)
    rows = oracle.candidates.astype(np.float64)
    for user, found in zip(users, oracle.logits(users), strict=True):
        unit, expected = user / np.linalg.norm(user), []
        for start in range(0, 500, 40):
            part = rows[start : start + 40]
            weight = np.linalg.norm(part, axis=1) ** 3
            centroid = (part * weight[:, None]).sum(0) / weight.sum()
            radius = np.linalg.norm(part - centroid, axis=1).max()
            expected.append(unit @ centroid + 0.2 * radius)
        mine = np.isfinite(found)
        read = {int(row) // 40 for row in np.flatnonzero(mine)}
        # Centroids are rounded, so blocks that are almost equal may change places.
        third = sorted(expected)[-3]
        near = {block for block, value in enumerate(expected) if value > third - 0.005}
        assert len(read) == 3
        assert read <= near
        assert len(near) <= 5
        assert found[mine] == pytest.approx((rows @ unit)[mine], abs=1e-5)


def test_wide_blocks_are_expected_to_have_better_rows_than_their_centroid() -> None:
    """A block around .9 of which rows are far away, and a block of rows that are all at 1."""
    tight = np.tile([1.0, 0.0], (10, 1))
    wide = np.stack([np.full(10, 0.9), np.tile([-1.0, 1.0], 5)], axis=1)
    rows = np.concatenate([tight, wide]).astype(np.float32)
    found = centroids_of(lambda part: rows[part], 20, 10)
    for size in (1, 100):
        user = np.array([[size, 0]], np.float32)
        assert found.scores(user)[0] == pytest.approx([size, size * (0.9 + 0.2)], rel=0.02)
        assert found.unread(user, 1).tolist() == [[True, False]]


def test_long_rows_count_most() -> None:
    """A centroid is the mean of rows that weigh the cube of their length."""
    rows = np.array([[2.0, 0], [0, 1], [0, 1]], np.float32)
    found = centroids_of(lambda part: rows[part], 3, 3)
    assert found.codes[0, :2] * found.scale[:2] == pytest.approx([2 * 8 / 10, 2 / 10], rel=0.01)


@dataclasses.dataclass(frozen=True)
class Whole(Target):
    """Someone else's target, which knows nothing of blocks."""

    name: ClassVar[str] = "whole"
    signature: ClassVar[int] = 2

    def lower(self, model: DeviceModel, signature: Signature) -> Payload:
        """Write the model as numpy does."""
        return NumpyTarget().lower(model, signature)

    def runtimes(self) -> list[str]:
        """Return numpy."""
        return ["numpy"]

    def load(self, bundle: Bundle, runtime: str | None = None, threads: int = 1) -> Artefact:
        """Load it as numpy does."""
        return NumpyTarget().load(bundle)


def test_a_target_that_does_not_know_blocks_refuses_them(tmp_path: Path) -> None:
    model = in_blocks(example_models(500, 16)["sum"], 50, 4)
    with pytest.raises(TargetError, match=r"whole scores every row, .* leave out the step cluster"):
        export(model, Whole(), tmp_path / "x.edgerec")
    assert not list(tmp_path.iterdir())


def test_blocks_with_too_few_rows_for_a_list(tmp_path: Path) -> None:
    model = in_blocks(example_models(510, 16)["sum"], 50, 2)
    # Of 11 blocks, the last one has 10 rows, so two blocks may have only 60.
    export(model, "numpy", tmp_path / "x.edgerec", top_k=30)
    with pytest.raises(
        OptionError,
        match=r"61 rows, .* only 60; .* from cluster:read=0.273, ask for at most 30, or l",
    ):
        export(model, "numpy", tmp_path / "y.edgerec", top_k=31)
    export(in_blocks(model, 50, 3), "numpy", tmp_path / "y.edgerec", top_k=31)
    short = in_blocks(example_models(90, 16)["sum"], 40, 2)
    with pytest.raises(OptionError, match=r"may have only 50; ask for at most 20, or leave out"):
        export(short, "numpy", tmp_path / "z.edgerec", top_k=70)


@pytest.mark.parametrize(
    ("codec", "rows", "height"),
    [(Int8(), 131_136, 2048), (Int8(), 131_136, 2000), (PQ(4), 5000, 2000)],
)
def test_tall_blocks_on_onnx(codec: Codec, rows: int, height: int, tmp_path: Path) -> None:
    """The last block is filled up once, however many chunks a table has."""
    check(
        in_blocks(coded(example_models(rows, 8)["two-tables"], codec), height, 2), "onnx", tmp_path
    )


@pytest.mark.parametrize("target", [name for name in TARGETS if name != "torchscript"])
def test_lists_that_take_more_than_what_is_read(target: str, tmp_path: Path) -> None:
    """Where what is left out takes the places of a list, every row that is left competes."""
    model = in_blocks(example_models(2000, 16)["two-tables"].replace(history_length=5), 50, 3)
    with Scorer(export(model, target, tmp_path / "x.edgerec", top_k=20)) as scorer:
        past = [model.items.ids[7]]
        listed = [one.id for one in scorer.recommend(past, 20)]
        found = scorer.recommend(past, 20, exclude=listed[:18])
        free = Oracle(model.replace(head=Head("items")))
        history, weights = free.pad(np.array([7]))
        scores = free.logits(free.encode(history[None], weights[None]))[0]
        scores[[7, *(model.items.rows[name] for name in listed[:18])]] = -np.inf
        best = np.argsort(-scores, kind="stable")[:20]
        assert [one.id for one in found] == [model.items.ids[int(row)] for row in best]


def test_of_equal_scores_the_lower_row_comes_first(tmp_path: Path) -> None:
    """Also where the block of the higher rows is expected to be better."""
    rows, past = np.zeros((2, 150, 4), np.float32)
    rows[:100, 0], rows[100:, 0] = 1, -1
    rows[99, 2] = 3  # so that the radius of its block is larger, but no score
    past[149, 0] = 1
    tables = {"items": Table.encode(rows, Fp32()), "past": Table.encode(past, Fp32())}
    base = example_models(150, 4)["two-tables"].replace(history_length=2)
    model = in_blocks(base.replace(tables=tables), 50, 2)
    bundle = export(model, "numpy", tmp_path / "x.edgerec", top_k=20)
    ids, scores, _ = Host.installed().target("numpy").load(bundle)(np.array([-1, 149], np.int32))
    assert ids[:20].tolist() == list(range(20))
    assert (scores[:20] == scores[0]).all()


def test_a_runtime_may_read_another_one_of_equal_blocks() -> None:
    """Two blocks with the same rows: whichever is read, its rows belong to the list."""
    model = example_models(150, 8)["two-tables"].replace(history_length=2)
    rows = model.tables["items"].decode().copy()
    rows[100:] = rows[50:100]
    table = Table.encode(rows, Fp32())
    model = in_blocks(model.replace(tables={**model.tables, "items": table}), 50, 1)
    oracle = Oracle(model)
    for past in range(50):
        history, weights = oracle.pad(np.array([past]))
        user = oracle.encode(history[None], weights[None])
        read = np.flatnonzero(np.isfinite(oracle.logits(user)[0]))
        if read[0] == 50:
            break
    assert read[0] == 50, "no user reads the equal blocks"
    answers = Answers(model, [np.array([past])], 20)
    other = rows[100:] @ user[0]
    best = np.argsort(-other, kind="stable")[:22]
    answer = (best.astype(np.int32) + 100, other[best].astype(np.float32), user[0])
    assert answers.compare(0, answer)[0] == 1.0


@pytest.mark.parametrize("part", ["codes", "scale"])
def test_numpy_refuses_centroids_of_other_blocks(part: str, tmp_path: Path) -> None:
    """A file whose parts contradict each other recommends nothing rather than other items."""

    @dataclasses.dataclass(frozen=True)
    class Damaged(NumpyTarget):
        def lower(self, model: DeviceModel, signature: Signature) -> Payload:
            payload = dict(super().lower(model, signature))
            array = payload[f"centroids/{part}"]
            assert isinstance(array, np.ndarray)
            return {**payload, f"centroids/{part}": array[:-1]}

    model = in_blocks(example_models(500, 16)["sum"], 50, 4)
    with pytest.raises(TargetError, match=r"centroids: expected finite \w+\[.*, got .*damaged"):
        export(model, Damaged(), tmp_path / "x.edgerec", top_k=20)


def test_batches_read_the_same_blocks(tmp_path: Path) -> None:
    model = in_blocks(example_models(500, 16)["sum"], 50, 4)
    with Scorer(export(model, "numpy", tmp_path / "x.edgerec", top_k=20)) as scorer:
        ids = list(model.items.ids)
        histories = [ids[:3], ids[7:30], ids[100:101]]
        together = scorer.recommend_batch(histories, 20)
        for past, found in zip(histories, together, strict=True):
            assert [one.id for one in found] == [one.id for one in scorer.recommend(past, 20)]
