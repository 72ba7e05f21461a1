"""Rows as wide as real ones: products of integers must not overflow, whatever holds them."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgerec.contracts.host import Host
from edgerec.model.codecs import Fp16, Int4, Int8
from edgerec.testing import check_target, example_models


@pytest.mark.parametrize("name", ["numpy", "tflite", "onnx", "torchscript"])
def test_wide_rows(name: str, tmp_path: Path) -> None:
    models = {"sum": example_models(5000, 256)["sum"]}
    codecs = (Fp16(), Int8(), Int8(symmetric=False), Int4(), Int4(symmetric=True))
    assert set(check_target(Host.installed().target(name), tmp_path, models, codecs).values()) == {
        "ok"
    }
