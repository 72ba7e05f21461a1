"""cluster: equal clusters of similar rows, an order of all tables, and refusals."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import edgerec
from edgerec.contracts.compressor import Context
from edgerec.contracts.host import Host
from edgerec.data.dataset import Dataset
from edgerec.data.features import Features
from edgerec.data.quality import evaluate, evaluation_users
from edgerec.data.ranking import rank_rows
from edgerec.errors import CompressError, ModelError, OptionError
from edgerec.exporting.export import foreseen_bytes
from edgerec.model.blocks import Blocks
from edgerec.model.codecs import F32, Fp32
from edgerec.model.device_model import DeviceModel, Head
from edgerec.model.oracle import Oracle
from edgerec.model.table import Table
from edgerec.testing import check_compressor, example_models
from edgerec.training.loop import train
from edgerec_cluster import Cluster
from edgerec_cluster.balanced import _assigned, in_clusters


@pytest.fixture(scope="module")
def model(dataset: Dataset) -> DeviceModel:
    return train(dataset, epochs=8, dim=32).to_device_model()


def ordered(rows: F32, height: int, seed: int = 0) -> list[int]:
    return in_clusters(rows, height, seed, lambda done, total: None).tolist()


def blobs(count: int, height: int) -> tuple[F32, list[set[int]]]:
    """Rows in tight groups of equal size, in no order, and the rows of each group."""
    rng = np.random.default_rng(3)
    owner = rng.permutation(np.repeat(np.arange(count), height))
    centers = 10 * rng.normal(size=(count, 24))
    rows = centers[owner] + 0.01 * rng.normal(size=(len(owner), 24))
    groups = [set(np.flatnonzero(owner == one).tolist()) for one in range(count)]
    return rows.astype(np.float32), groups


def distance_in_blocks(rows: F32, height: int) -> float:
    """The mean squared distance of rows to the mean of their block."""
    parts = (rows[start : start + height] for start in range(0, len(rows), height))
    return float(np.concatenate([np.square(part - part.mean(0)).sum(1) for part in parts]).mean())


@pytest.mark.parametrize("most", [1024, 4])
def test_similar_rows_are_in_one_cluster(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where rows are divided several times."""
    monkeypatch.setattr("edgerec_cluster.balanced.MOST", most)
    rows, groups = blobs(16, 10)
    order = ordered(rows, 10)
    assert sorted(order) == list(range(160))
    found = [set(order[start : start + 10]) for start in range(0, 160, 10)]
    # k-means does not find every group, but those that it finds are whole.
    assert sum(one in groups for one in found) >= 8
    assert distance_in_blocks(rows[order], 10) < 0.4 * distance_in_blocks(rows, 10)


@pytest.mark.parametrize(
    ("n", "height", "most"),
    [(1, 5, 1024), (5, 5, 1024), (6, 5, 2), (103, 10, 3), (64, 2, 2), (1000, 7, 4)],
)
def test_every_row_has_one_place(
    n: int, height: int, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgerec_cluster.balanced.MOST", most)
    rows = np.random.default_rng(0).normal(size=(n, 4)).astype(np.float32)
    assert sorted(ordered(rows, height)) == list(range(n))
    # Rows that are all alike have no nearest centroid.
    assert sorted(ordered(np.zeros((n, 4), np.float32), height)) == list(range(n))


def test_a_division_keeps_clusters_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows in four groups are not mixed when they are divided a second time."""
    monkeypatch.setattr("edgerec_cluster.balanced.MOST", 2)
    angle = np.repeat([0.0, 0.1, 3.0, 3.1], 8)
    rows = np.stack([np.cos(angle), np.sin(angle)], 1).astype(np.float32)
    order = ordered(rows, 8)
    assert [{place // 16 for place in order[start : start + 8]} for start in range(0, 32, 8)] in (
        [{0}, {0}, {1}, {1}],
        [{1}, {1}, {0}, {0}],
    )


def test_the_seed_decides(model: DeviceModel) -> None:
    rows = model.tables[model.head.table].decode()
    assert ordered(rows, 8, 1) == ordered(rows, 8, 1)
    assert ordered(rows, 8, 1) != ordered(rows, 8, 2)


@pytest.mark.parametrize(("height", "read", "blocks"), [(8, 0.3, 3), (7, 0.5, 6)])
def test_contract(
    height: int, read: float, blocks: int, model: DeviceModel, dataset: Dataset
) -> None:
    after = check_compressor(Cluster(height, read), model, Context(dataset))
    assert after.head.blocks == Blocks(height, blocks)


def test_items_keep_their_rows(model: DeviceModel) -> None:
    after = edgerec.compress(model, "cluster:height=8,read=0.3")
    assert list(after.items.ids) != list(model.items.ids)
    for place, name in enumerate(after.items.ids):
        row = model.items.rows[name]
        for key, table in model.tables.items():
            assert np.array_equal(after.tables[key].decode([place]), table.decode([row]))
    popular = [model.items.ids[row] for row in model.popular]
    assert [after.items.ids[row] for row in after.popular] == popular


def test_what_is_read_has_nearly_the_best(model: DeviceModel, dataset: Dataset) -> None:
    """Clusters of a trained model say where the best items are; those of random rows do not."""
    whole = evaluate(model, dataset).ndcg
    near = evaluate(edgerec.compress(model, "cluster:height=8,read=0.4"), dataset).ndcg
    shuffled = np.random.default_rng(0).permutation(len(model.items))
    head = Head(model.head.table, model.head.kind, near_blocks(model))
    blind = evaluate(model.take(shuffled).replace(head=head), dataset).ndcg
    assert near > 0.9 * whole
    assert blind < near


def near_blocks(model: DeviceModel) -> Blocks:
    blocks = edgerec.compress(model, "cluster:height=8,read=0.4").head.blocks
    assert blocks is not None
    return blocks


def test_quality_is_that_of_the_blocks_that_are_read(model: DeviceModel, dataset: Dataset) -> None:
    """Ranking for evaluation leaves out what a device does not read."""
    after = edgerec.compress(model, "cluster:height=8,read=0.2")
    oracle, blocks = Oracle(after), after.head.blocks
    assert blocks is not None
    users = evaluation_users(dataset)[:50]
    lists, _ = rank_rows(after, dataset, users, 20)
    free = Oracle(after.replace(head=Head(after.head.table, after.head.kind)))
    missed = 0
    for user, found in zip(users.tolist(), lists, strict=True):
        past = [after.items.rows[dataset.items.ids[row]] for row in dataset.histories.of(user)]
        history, weights = oracle.pad(np.array(past))
        vector = oracle.encode(history[None], weights[None])
        scores = oracle.logits(vector)[0]
        read = np.isfinite(scores).reshape(-1, blocks.height)
        assert (read.all(1) | ~read.any(1)).all()
        assert read.any(1).sum() == blocks.read
        scores[past] = -np.inf
        assert (
            found[found >= 0].tolist()
            == np.argsort(-scores, kind="stable")[: (found >= 0).sum()].tolist()
        )
        whole = free.logits(vector)[0]
        whole[past] = -np.inf
        missed += len({*np.argsort(-whole)[:20].tolist()} - {*found.tolist()})
    assert missed > 0


def test_steps_after_cluster(model: DeviceModel, dataset: Dataset) -> None:
    after = edgerec.compress(model, "cluster:height=8,read=0.3", "quantize:codec=int4")
    assert after.head.blocks is not None
    turned = edgerec.compress(model, "cluster:height=8,read=0.3", "lowrank:rank=16")
    # Centroids follow from the rows, so a change of basis changes them as well.
    assert evaluate(turned, dataset).ndcg > 0.8 * evaluate(model, dataset).ndcg


@pytest.mark.parametrize("height", [16, 20])
def test_pq_keeps_clusters(height: int, model: DeviceModel, dataset: Dataset) -> None:
    """A run of lengths per cluster, sorted within it."""
    first = edgerec.compress(model, f"cluster:height={height},read=0.3")
    after = edgerec.compress(first, "pq:subspaces=4,epochs=0", dataset=dataset)
    n = len(model.items)
    for start in range(0, n, height):
        block = slice(start, min(start + height, n))
        assert {*list(after.items.ids)[block]} == {*list(first.items.ids)[block]}
    table = after.tables[after.head.table]
    assert table.arrays["ends"].tolist() == [*range(height, n, height), n]
    lengths = np.linalg.norm(table.decode(), axis=1)
    wanted = np.array([model.items.rows[name] for name in after.items.ids])
    exact = np.linalg.norm(model.tables[model.head.table].decode(wanted), axis=1)
    assert np.corrcoef(lengths, exact)[0, 1] > 0.9
    assert after.head == first.head


REFUSED = [
    ("distill:width=16", "distill first, then cluster"),
    ("prune:structure=items,share=0.2", "prune items first, then cluster"),
    ("quantize:popular=0.2", "quantize.popular: .* leave out this option or the step cluster"),
    ("pq:popular=0.1", "pq.popular: .* leave out this option or the step cluster"),
    ("pq", "pq: a run of lengths takes at least 16 items, and the clusters have 8"),
    ("cluster:height=4", "cluster: the items are in clusters already"),
]


def test_popular_rows_keep_their_codec(model: DeviceModel, dataset: Dataset) -> None:
    after = edgerec.compress(model, "quantize:codec=int4,popular=0.2", dataset=dataset)
    with pytest.raises(CompressError, match=r"table 'items' have a codec of their own, .* popular"):
        edgerec.compress(after, "cluster:height=8,read=0.3")


@pytest.mark.parametrize("order", ["ascending", "descending", "mixed"])
@pytest.mark.parametrize("target", ["numpy", "onnx"])
def test_bytes_are_known_in_advance(
    order: str, target: str, model: DeviceModel, tmp_path: Path
) -> None:
    """Also of the order of ids, which a file lacks if they ascend."""
    n = len(model.items)
    by_id = np.argsort(np.array(list(model.items.ids)))
    rows = {"ascending": by_id, "descending": by_id[::-1]}.get(order, by_id[np.arange(n) * 7 % n])
    ordered_model, step = model.take(rows).replace(history_length=10), Cluster(8, 0.7)
    found = Host.installed().target(target)
    bundle = edgerec.export(
        step.compress(ordered_model, Context()), target, tmp_path / "x.edgerec", top_k=5
    )
    assert foreseen_bytes(step.outline(ordered_model), found, 5, {}) == bundle.nbytes


def test_directions_are_clustered_and_not_lengths() -> None:
    """Rows in three directions, of very unequal lengths."""
    rng = np.random.default_rng(0)
    angle = np.repeat([0.0, 1.5, 3.0], 16)
    length = np.exp(rng.uniform(-3, 3, 48))
    rows = length[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    base = example_models(48, 2)["two-tables"]
    table = Table.encode(rows.astype(np.float32), Fp32())
    after = Cluster(16, 0.5).compress(
        base.replace(tables={**base.tables, "items": table}, history_length=3).take(
            rng.permutation(48)
        ),
        Context(),
    )
    found = after.tables["items"].decode()
    for start in (0, 16, 32):
        part = found[start : start + 16]
        assert len({round(float(np.arctan2(y, x)), 3) for x, y in part}) == 1


def test_where_a_cluster_is_full_the_nearest_rows_stay() -> None:
    """Of six rows around one centroid that has room for four, the two farthest go elsewhere."""
    rows = np.array([[1, 0], [1.1, 0], [0.9, 0], [1, 0.1], [1, 2], [1, -2], [-9, 0], [-9, 1]])
    centroids = np.array([[1.0, 0], [-9, 0]], np.float32)
    found = _assigned(rows.astype(np.float32), centroids, np.array([4, 4]))
    assert found.tolist() == [0, 0, 0, 0, 1, 1, 1, 1]


@pytest.mark.parametrize(("spec", "message"), REFUSED, ids=[one for one, _ in REFUSED])
def test_steps_that_would_mix_clusters(
    spec: str, message: str, model: DeviceModel, dataset: Dataset
) -> None:
    after = edgerec.compress(model, "cluster:height=8,read=0.3")
    with pytest.raises(CompressError, match=message):
        edgerec.compress(after, spec, dataset=dataset)


def test_a_codec_that_depends_on_the_order(model: DeviceModel, dataset: Dataset) -> None:
    after = edgerec.compress(model, "pq:subspaces=4,epochs=0", dataset=dataset)
    with pytest.raises(CompressError, match=r"codec of table 'items' depends on .*; cluster first"):
        edgerec.compress(after, "cluster:height=8")


def test_new_items_are_added_before(model: DeviceModel, dataset: Dataset) -> None:
    after = edgerec.compress(model, "cluster:height=8,read=0.3")
    with pytest.raises(ModelError, match=r"add_items: .* add them first, then cluster"):
        edgerec.add_items(after, dataset, Features.of(["new"], numbers={"size": np.ones(1)}))


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("cluster:height=1", "cluster.height: expected at least 2, got 1"),
        ("cluster:read=1", "cluster.read: expected between 0 and 1, got 1"),
        ("cluster:read=0", "cluster.read: expected between 0 and 1, got 0"),
    ],
)
def test_bad_options(spec: str, message: str, model: DeviceModel) -> None:
    with pytest.raises(OptionError, match=message):
        edgerec.compress(model, spec)


def test_too_few_items(model: DeviceModel) -> None:
    n = len(model.items)
    with pytest.raises(CompressError, match=f"{n} items make only 2 clusters of {n - 1}, and all"):
        edgerec.compress(model, f"cluster:height={n - 1}")


def test_other_code_cannot_mix_blocks(model: DeviceModel) -> None:
    after = edgerec.compress(model, "cluster:height=8,read=0.3")
    with pytest.raises(ModelError, match=r"take: .* use the step cluster after all steps"):
        after.take(np.arange(10))
