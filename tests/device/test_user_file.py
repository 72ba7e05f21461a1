"""The file with the row of one user, as a device reads it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import edgerec
from edgerec.device.scorer import Scorer
from edgerec.device.user_file import read_user_vector, write_user_vector
from edgerec.errors import OptionError
from edgerec.importing.torch_module import from_torch
from edgerec.testing import example_models

ROW = np.linspace(-1, 1, 6, dtype=np.float32)


def test_it_is_what_numpy_writes(tmp_path: Path) -> None:
    path = tmp_path / "new" / "ann.user"
    assert write_user_vector(path, ROW) == path.stat().st_size == 128 + 4 * 6
    assert np.array_equal(read_user_vector(path, 6), ROW)
    assert np.array_equal(np.load(path), ROW)
    np.save(tmp_path / "x.npy", ROW)
    assert np.array_equal(read_user_vector(str(tmp_path / "x.npy"), 6), ROW)


def test_what_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "ann.user"
    with pytest.raises(
        OptionError, match=r"user_vector: .*ann\.user: No such file .*`edgerec user"
    ):
        read_user_vector(path, 6)
    for wrong, message in (
        (
            ROW[:5],
            r"expected 6 float32 numbers, as many as the model reads, got float32 \[5\]; wri",
        ),
        (ROW[None], r"expected 6 float32 numbers, .* got float32 \[1, 6\]"),
        (ROW.astype(np.float64), r"expected 6 float32 numbers, .* got float64 \[6\]"),
        (np.where(ROW > 0.9, np.nan, ROW), "number 5 is NaN or infinite; write the file again"),
        (np.zeros(10**6, np.float32), r"expected 6 float32 numbers, .* got float32 \[1000000\]"),
        (np.array([{}] * 6, object), r"expected 6 float32 numbers, .* got object \[6\]"),
    ):
        with path.open("wb") as file:
            np.save(file, wrong)
        with pytest.raises(OptionError, match=rf"user_vector: .*ann\.user: {message}"):
            read_user_vector(path, 6)
    write_user_vector(path, ROW)
    whole = path.read_bytes()
    for data in (whole[:-1], whole + b"x"):
        path.write_bytes(data)
        with pytest.raises(OptionError, match="is cut off, or goes on behind its 6 numbers; write"):
            read_user_vector(path, 6)
    huge = whole.replace(b"(6,)", b"(9999999999999999,)".ljust(4))[:128]
    for data in (b"", b"no array", whole[:20], whole.replace(b"\x01\x00v", b"\x02\x00v"), huge):
        path.write_bytes(data)
        with pytest.raises(
            OptionError, match=r"ann\.user: expected (the row of a user as|6 float)"
        ):
            read_user_vector(path, 6)


def test_a_scorer_takes_a_path_where_it_takes_a_vector(tmp_path: Path) -> None:
    import torch

    class Tower(torch.nn.Module):
        def forward(
            self, items: torch.Tensor, present: torch.Tensor, user_vector: torch.Tensor
        ) -> torch.Tensor:
            return (items * present).sum(0) + user_vector

    rows = np.random.default_rng(0).normal(size=(30, 6)).astype(np.float32)
    model = from_torch(Tower(), {"items": rows}, range(30))
    path = tmp_path / "ann.user"
    write_user_vector(path, 9 * ROW)
    with Scorer(edgerec.export(model, "numpy", tmp_path / "x.edgerec")) as scorer:
        for given in (path, str(path)):
            for found, wanted in (
                (
                    scorer.recommend([1, 2], user_vector=given),
                    (rows @ (rows[1] + rows[2] + 9 * ROW)),
                ),
                (scorer.score([1, 2], [5], user_vector=given), None),
            ):
                if wanted is None:
                    assert found == scorer.score([1, 2], [5], user_vector=(9 * ROW).tolist())
                else:
                    best = [row for row in np.argsort(-wanted) if row not in (1, 2)][:10]
                    assert [one.id for one in found] == [str(row) for row in best]
            assert np.allclose(scorer.user([1, 2], user_vector=given), rows[1] + rows[2] + 9 * ROW)
        write_user_vector(path, ROW[:3])
        with pytest.raises(OptionError, match=r"user_vector: .*ann\.user: expected 6 float32"):
            scorer.recommend([1, 2], user_vector=path)
    plain = example_models()["sum"]
    with (
        Scorer(edgerec.export(plain, "numpy", tmp_path / "y.edgerec")) as scorer,
        pytest.raises(OptionError, match="user_vector: this model does not read any"),
    ):
        scorer.recommend([plain.items.ids[0]], user_vector=path)
