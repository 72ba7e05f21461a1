"""prune: units and layers of encoders, and fine-tuning after pruning."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import edgerec
from edgerec.contracts.compressor import Context
from edgerec.data.dataset import Dataset
from edgerec.data.quality import evaluate
from edgerec.errors import CompressError, OptionError
from edgerec.learn import TorchModel, fine_tune
from edgerec.model.device_model import DeviceModel
from edgerec.model.history import pad_history
from edgerec.model.oracle import Oracle
from edgerec.testing import check_compressor, example_models
from edgerec.training.loop import train
from edgerec_prune import Prune
from edgerec_prune.importance import importance_of
from edgerec_prune.layers import layers_of, parts_of, without
from edgerec_prune.units import drop_units, units_of


@pytest.fixture(scope="module")
def linear(dataset: Dataset) -> DeviceModel:
    return train(dataset, epochs=8, dim=32).to_device_model()


@pytest.fixture(scope="module")
def sage(dataset: Dataset) -> DeviceModel:
    return train(
        dataset, model="graphsage", layers=3, epochs=30, dim=16, batch=64
    ).to_device_model()


def user_of(model: DeviceModel) -> Any:
    history, weights = pad_history(np.array([3, 1, 4]), model.history_length, model.normalization)
    return Oracle(model).encode(history[None], weights[None])[0]


def test_layers_and_their_parts_in_graphsage(sage: DeviceModel) -> None:
    assert layers_of(sage) == ["past0", "past1", "past2"]
    assert parts_of(sage, "past0") == ({"past0"}, {"w0", "b0", "v1"})
    assert parts_of(sage, "past2") == ({"past2"}, {"w2", "b2"})
    after = without(sage, "past0")
    assert after is not None
    assert [op.kind for op in after.encoder].count("Gather") == 2


def test_removing_a_layer_of_zeros_does_not_change_the_user(sage: DeviceModel) -> None:
    for layer in layers_of(sage):
        tables, constants = parts_of(sage, layer)
        table = sage.tables[layer]
        silent = sage.replace(
            tables={**sage.tables, layer: table.replace(np.zeros(table.shape, np.float32))},
            constants={
                n: np.zeros_like(c) if n in constants else c for n, c in sage.constants.items()
            },
        )
        after = without(silent, layer)
        assert after is not None
        assert tables == {layer}
        assert np.allclose(user_of(after), user_of(silent), atol=1e-6)


def test_units_with_zero_weights_are_removed(sage: DeviceModel) -> None:
    # Importance here depends on outgoing weights only: columns of past1 are multiplied by rows of
    # w1 and used nowhere else.
    axes = {frozenset(axes): size for size, axes in units_of(sage)}
    assert axes[frozenset({("table", "past1", 1), ("constant", "w1", 0)})] == 16
    assert all(size == 16 for size in axes.values())
    w1 = sage.constants["w1"].copy()
    w1[:4] = 0
    silent = sage.replace(constants={**sage.constants, "w1": w1})
    scores = importance_of(silent, "magnitude", Context())
    for name, values in scores.tables.items():
        scores.tables[name] = np.ones_like(values)
    group = [(size, axes) for size, axes in units_of(silent) if ("table", "past1", 1) in axes]
    assert len(group) == 1
    narrow = drop_units(silent, scores, 0.25)
    assert narrow.tables["past1"].shape == (80, 12)
    assert np.array_equal(narrow.tables["past1"].decode(), sage.tables["past1"].decode()[:, 4:])


@pytest.mark.parametrize("importance", ["magnitude", "taylor"])
@pytest.mark.parametrize("structure", ["units", "layers"])
def test_compressor_contract_for_encoders(
    structure: Any, importance: Any, sage: DeviceModel, dataset: Dataset
) -> None:
    compressor = Prune(share=0.25, structure=structure, importance=importance)
    after = check_compressor(compressor, sage, Context(dataset))
    expected = 3 / 4 * sage.table_bytes
    assert after.table_bytes == expected
    assert np.isfinite(user_of(after)).all()


@pytest.mark.parametrize("name", ["dense", "attention"])
def test_units_of_every_encoder_can_be_removed(name: str) -> None:
    model = example_models()[name]
    with pytest.raises(CompressError, match="every unit is tied to others"):
        Prune(structure="units").compress(example_models()["transformer"], Context())
    after = check_compressor(Prune(share=0.25, structure="units"), model)
    # Units that Concat joins are kept; past columns and those of the last layer are removed.
    assert after.tables["items"].shape[1] == 12
    assert np.isfinite(user_of(after)).all()


OPTIONS: list[dict[str, Any]] = [
    {"share": 0.8},
    {"share": 0.5, "structure": "dimensions"},
    {"share": 0.3, "structure": "items"},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_compressor_contract_with_fine_tuning(
    options: dict[str, Any], linear: DeviceModel, dataset: Dataset
) -> None:
    check_compressor(Prune(epochs=2, **options), linear, Context(dataset))


def test_pruned_weights_stay_zero_during_fine_tuning(linear: DeviceModel, dataset: Dataset) -> None:
    plain = edgerec.compress(linear, Prune(share=0.8))
    tuned = edgerec.compress(linear, Prune(share=0.8, epochs=5), dataset=dataset)
    before, after = (m.tables["items"].decode() for m in (plain, tuned))
    assert plain.table_bytes == tuned.table_bytes
    assert not after[before == 0].any()
    assert (after != before)[before != 0].mean() > 0.9


def test_fine_tuning_lowers_the_loss_after_pruning(linear: DeviceModel, dataset: Dataset) -> None:
    def loss(small: DeviceModel) -> float:
        # The step is too small to change a number, so this is the loss of the tables as given.
        still: dict[str, Any] = {"epochs": 1, "learning_rate": 1e-9, "distill": 10.0}
        return fine_tune(TorchModel(small), Context(dataset), who="test", teacher=linear, **still)

    options: dict[str, Any]
    for options in ({"share": 0.9}, {"share": 0.75, "structure": "dimensions"}):
        plain, tuned = (
            edgerec.compress(linear, Prune(epochs=n, **options), dataset=dataset) for n in (0, 40)
        )
        assert loss(tuned) < loss(plain)


@pytest.mark.parametrize("structure", ["units", "layers"])
def test_fine_tuning_improves_the_overlap_of_encoders(
    structure: Any, sage: DeviceModel, dataset: Dataset
) -> None:
    given = evaluate(sage, dataset)
    options: dict[str, Any] = {"share": 0.5, "structure": structure}
    overlaps = [
        evaluate(edgerec.compress(sage, step, dataset=dataset), dataset).kept(given)[1]
        for step in (Prune(**options), Prune(epochs=60, learning_rate=0.01, **options))
    ]
    assert overlaps[1] > overlaps[0]


def test_models_without_the_structure_are_refused(linear: DeviceModel) -> None:
    with pytest.raises(CompressError, match="no layers that are added up"):
        edgerec.compress(linear, "prune:structure=layers")
    with pytest.raises(CompressError, match="no dense layers to remove units from"):
        edgerec.compress(linear, "prune:structure=units")
    with pytest.raises(CompressError, match="no layers that are added up"):
        edgerec.compress(example_models()["dense"], "prune:structure=layers")


def test_a_threshold(linear: DeviceModel) -> None:
    values = {name: t.decode() for name, t in linear.tables.items() if t.shape[1] > 1}
    limit = float(np.quantile(np.abs(np.concatenate([v.ravel() for v in values.values()])), 0.8))
    pruned = Prune(threshold=limit).compress(linear, Context())
    for name, before in values.items():
        after = pruned.tables[name].decode()
        assert np.array_equal(after != 0, np.abs(before) >= limit)
    columns = np.sum([np.abs(v).sum(axis=0) for v in values.values()], axis=0)
    limit = float(np.median(columns))
    narrow = Prune(structure="dimensions", threshold=limit).compress(linear, Context())
    assert narrow.width == int((columns >= limit).sum())
    rows = np.sum([np.abs(v).sum(axis=1) for v in values.values()], axis=0)
    limit = float(np.median(rows))
    fewer = Prune(structure="items", threshold=limit).compress(linear, Context())
    kept = [i for i, row in zip(linear.items.ids, rows, strict=True) if row >= limit]
    assert sorted(fewer.items.ids) == sorted(kept)
    with pytest.raises(CompressError, match=r"threshold: 1e\+09 removes everything; the largest"):
        Prune(threshold=1e9).compress(linear, Context())


def test_outlines_exist_only_for_predictable_sizes(linear: DeviceModel, sage: DeviceModel) -> None:
    # There is no outline if sizes are only known after pruning.
    assert Prune(structure="layers", importance="fisher").outline(sage) is None
    assert Prune(structure="layers").outline(sage) is not None
    with pytest.raises(CompressError, match="no dense layers to remove units from"):
        Prune(structure="units").outline(linear)
    sparse = Prune(share=0.8).compress(linear, Context())
    assert Prune(share=0.9, importance="fisher").outline(sparse) is None
    outline = Prune(share=0.8, importance="fisher").outline(linear)
    assert outline is not None
    assert outline.table_bytes == sparse.table_bytes


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": -1}, "prune.epochs: expected 0 or more, got -1"),
        ({"learning_rate": 0.0}, "prune.learning_rate: expected more than 0, got 0"),
        ({"learning_rate": float("inf")}, "prune.learning_rate: expected more than 0, got inf"),
        ({"distill": float("nan")}, "prune.distill: expected 0 or more, got nan"),
        ({"share": 0.5, "threshold": 0.1}, "prune.threshold: set share or threshold, not both"),
        ({"threshold": 0.0}, "prune.threshold: expected more than 0, got 0"),
        (
            {"threshold": 0.1, "structure": "units"},
            "prune.threshold: units are removed by share; set that",
        ),
        ({"learning_rate": 0.1}, "prune.learning_rate: has no effect without epochs; set both"),
        ({"distill": 1.0}, "prune.distill: has no effect without epochs; set both"),
    ],
)
def test_bad_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        Prune(**options)


def test_progress_rises_to_the_end(linear: DeviceModel, dataset: Dataset) -> None:
    told: list[tuple[int, int]] = []
    context = Context(dataset, progress=lambda done, total, what: told.append((done, total)))
    importance_of(linear, "fisher", context)
    assert told[0][0] == 0
    assert told[-1][0] == told[-1][1]
    assert [done for done, _ in told] == list(range(told[-1][1] + 1))
