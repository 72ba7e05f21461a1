"""pq with popular items in int8."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import edgerec
from edgerec.contracts.compressor import Context
from edgerec.data.dataset import Dataset
from edgerec.errors import CompressError, OptionError
from edgerec.testing import check_compressor
from edgerec.training.loop import train
from edgerec_pq import ProductQuantize


def test_popular_items_are_int8_and_the_rest_codewords(dataset: Dataset, tmp_path: Path) -> None:
    """All tables, of one column as well; within the bytes, trained or not, on every target."""
    model = train(dataset, epochs=4, dim=16).to_device_model()
    for epochs in (0, 2):
        compressor = ProductQuantize(bytes=40, epochs=epochs, popular=0.2)
        small = check_compressor(compressor, model, Context(dataset))
        n = len(small.items)
        assert small.table_bytes <= 40 * n
        counts = dict(zip(dataset.items.ids, dataset.train.counts(len(dataset.items)), strict=True))
        high = round(0.2 * n)
        ordered = [counts[item] for item in small.items.ids]
        assert min(ordered[:high]) >= max(ordered[high:])
        for table in small.tables.values():
            assert table.codec.heights == (high, n - high)
            assert table.codec.rest.name == ("pq" if table.shape[1] > 1 else "runs")
            assert table.codec.first.name == ("int8" if table.shape[1] > 1 else "fp16")
        # Popular rows are those of the model before, up to rounding and a rotation.
        old = [model.items.rows[item] for item in small.items.ids[:high]]
        lengths = np.linalg.norm(model.tables["items"].decode()[old], axis=1)
        found = np.linalg.norm(small.tables["items"].decode(np.arange(high)), axis=1)
        assert np.allclose(found, lengths, rtol=0.03)
        for target in ("numpy", "onnx", "tflite"):
            edgerec.export(small, target, tmp_path / f"{target}.edgerec", top_k=10)
    with pytest.raises(CompressError, match="pq: needs training interactions"):
        edgerec.compress(model, ProductQuantize(bytes=40, epochs=0, popular=0.2))
    with pytest.raises(CompressError, match=r"pq: needs at least .* but only 4\.0 are"):
        ProductQuantize(bytes=4, popular=0.2).outline(model)
    with pytest.raises(OptionError, match=r"pq\.popular: expected between 0 and 1, got 1"):
        ProductQuantize(popular=1.0)
