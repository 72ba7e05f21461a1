"""Blocks of candidates: what they may be, how they are saved, and their centroids."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgerec.errors import ModelError
from edgerec.model.blocks import Blocks, centroids_of
from edgerec.model.codecs import Fp32
from edgerec.model.device_model import Head
from edgerec.model.model_file import read_model_file, save_model
from edgerec.model.table import Table
from edgerec.testing import example_models


def test_blocks_are_saved(tmp_path: Path) -> None:
    model = example_models(100)["dense"]
    after = model.replace(head=Head("items", "cosine", Blocks(8, 3)))
    save_model(after, tmp_path / "x.model")
    assert read_model_file(tmp_path / "x.model", {"fp32": Fp32}).head == after.head


@pytest.mark.parametrize("given", [[8, 3], {"height": 8}, {"height": 8, "read": 3, "x": 1}, "8"])
def test_blocks_of_something_else(given: object) -> None:
    with pytest.raises(ModelError, match=r"head\.blocks: expected height and read, got "):
        Blocks.read_from(given)


def test_blocks_of_nothing() -> None:
    for given, name in (((0, 3), "height"), ((3, 0), "read"), ((3, True), "read")):
        with pytest.raises(ModelError, match=f"head.blocks.{name}: expected a positive integer"):
            Blocks(*given)
    model = example_models(100)["sum"]
    with pytest.raises(ModelError, match="fewer than the 10 blocks of 100 items, got 10; w"):
        model.replace(head=Head("items", blocks=Blocks(10, 10)))
    with pytest.raises(ModelError, match=r"head\.blocks: expected Blocks, got tuple"):
        Head("items", blocks=(10, 2))  # type: ignore[arg-type]  # the error is the point


def test_blocks_are_decoded_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Centroids do not depend on how many rows are decoded at a time."""
    rows = np.random.default_rng(0).normal(size=(103, 6)).astype(np.float32)
    table = Table.encode(rows, Fp32())
    whole = centroids_of(table.decode, 103, 10)
    monkeypatch.setattr("edgerec.model.blocks._ROWS", 25)
    parts = centroids_of(table.decode, 103, 10)
    assert np.array_equal(whole.codes, parts.codes)
    assert whole.codes.shape == (11, 7)
    assert np.allclose(whole.scale, parts.scale)


def test_rows_of_any_size_have_centroids() -> None:
    """Cubes of large numbers overflow, and zeros weigh nothing."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(40, 4)).astype(np.float32)
    for size in (1e-20, 1e18):
        large = rows * np.float32(size)
        found = centroids_of(large.__getitem__, 40, 8)
        assert np.array_equal(found.codes, centroids_of(lambda part: rows[part], 40, 8).codes)
    rows[8:16] = 0
    assert not centroids_of(lambda part: rows[part], 40, 8).codes[1].any()
