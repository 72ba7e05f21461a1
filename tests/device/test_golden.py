"""Files that earlier versions wrote still open, and give the same lists."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from edgerec.contracts.bundle import Bundle
from edgerec.contracts.opening import load_model
from edgerec.data.dataset_file import load_dataset
from edgerec.device.scorer import Scorer
from edgerec.device.vectors import replay
from edgerec.errors import OptionError
from edgerec.model.oracle import Oracle

GOLDEN = Path(__file__).parents[1] / "golden"
VERSIONS = pytest.mark.parametrize("version", [1, 2])


@VERSIONS
@pytest.mark.parametrize("target", ["numpy", "onnx", "tflite", "torchscript"])
def test_bundles(version: int, target: str) -> None:
    folder = GOLDEN / str(version)
    expected = json.loads((folder / "lists.json").read_text("utf-8"))
    assert Bundle.open(folder / f"{target}.edgerec").signature.version == version
    with Scorer.open(folder / f"{target}.edgerec", trust=True) as scorer:
        assert replay(scorer) == []
        for history, items in zip(expected["histories"], expected["lists"], strict=True):
            weights = [1.0 + place % 3 for place in range(len(history))]
            found = scorer.recommend(history, 5, weights=weights)
            assert [one.id for one in found] == [name for name, _ in items]
            for one, (_, score) in zip(found, items, strict=True):
                assert score is None or abs(one.score - score) < 2e-4
        if version == 1:
            with pytest.raises(OptionError, match="signature 1 has no user vector; export"):
                scorer.user(["i00003"])
            with pytest.raises(OptionError, match=r"score: the artefact of .* has no function"):
                scorer.score(["i00003"], ["i00001"])
            with pytest.raises(OptionError, match=r"only: the artefact of .* has no function"):
                scorer.recommend(["i00003"], only=["i00001"])


@VERSIONS
def test_models(version: int) -> None:
    model = load_model(GOLDEN / str(version) / "two-tables.model")
    assert model.weighted == (version > 1)
    assert (model.repeats, model.drop_seen, model.context_width) == ("merge", True, 0)
    expected = json.loads((GOLDEN / str(version) / "lists.json").read_text("utf-8"))["lists"]
    ids, _ = Oracle(model).recommend(*Oracle(model).pad(np.array([3])), 6)
    assert [model.items.ids[int(row)] for row in ids if row != 3][:5] == [i for i, _ in expected[0]]


@VERSIONS
def test_datasets(version: int) -> None:
    data = load_dataset(GOLDEN / str(version) / "small.dataset")
    assert (len(data.users), len(data.items)) == (2, 3)
    assert [[data.items.ids[row] for row in past] for past in data.train.lists()] == [
        ["a", "b"],
        ["c"],
    ]
