"""State dicts and ids of rows, read from files."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from edgerec.errors import ModelError
from edgerec.importing.ids import read_ids
from edgerec.importing.state import read_state


class Command:
    """Runs a command as soon as it is unpickled."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (self.command,)


def test_a_state_dict(tmp_path: Path) -> None:
    path, layer = tmp_path / "x.pt", nn.Linear(3, 2)
    torch.save(layer.state_dict(), path)
    found = read_state(path)
    assert list(found) == ["weight", "bias"]
    assert torch.equal(found["weight"], layer.weight)


def test_anything_else_runs_nothing(tmp_path: Path) -> None:
    path, marker = tmp_path / "x.pt", tmp_path / "ran"
    for wrong, message in (
        (nn.Linear(3, 2), "holds Python objects, .*none of it was run; save its parameters alone"),
        (Command(f"touch {marker}"), "holds Python objects, such as a whole network"),
        (
            {"model": {"x": torch.ones(1)}, "epoch": 3},
            "tensors by name, got model, epoch; save its",
        ),
        (torch.ones(3), "tensors by name, got Tensor; save its parameters alone"),
    ):
        torch.save(wrong, path)
        with pytest.raises(ModelError, match=rf"x\.pt: .*{message}"):
            read_state(path)
    legacy = tmp_path / "legacy.pt"
    legacy.write_bytes(pickle.dumps(Command(f"touch {marker}")))
    with pytest.raises(ModelError, match=r"legacy\.pt: "):
        read_state(legacy)
    assert not marker.exists()


def test_files_that_torch_did_not_write(tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    with pytest.raises(ModelError, match=r"x\.pt: no such file"):
        read_state(path)
    torch.save({"x": torch.ones(1000)}, path)
    for data in (path.read_bytes()[:2000], b"", b"no state", b"PK\x03\x04 no archive"):
        path.write_bytes(data)
        with pytest.raises(
            ModelError, match=r"x\.pt: expected a state dict that torch\.save wrote"
        ):
            read_state(path)


def test_ids(tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_text("7\nann b\né\n", "utf-8")
    (tmp_path / "x.json").write_text(json.dumps([7, "ann b", "é"]))
    np.save(tmp_path / "x.npy", ["7", "ann b", "é"])
    for name in ("x.txt", "x.json", "x.npy"):
        assert read_ids(tmp_path / name) == ["7", "ann b", "é"]
    (tmp_path / "twice.txt").write_text("a\nb\na\n")
    with pytest.raises(
        ModelError, match=r"twice\.txt: id 'a' is at 1 and at 3; every row needs an"
    ):
        read_ids(tmp_path / "twice.txt")
    (tmp_path / "no.json").write_text('{"a": 1}')
    (tmp_path / "bytes.txt").write_bytes(b"\xff")
    np.save(tmp_path / "no.npy", np.array([{}], object))
    for name in ("no.json", "bytes.txt", "no.npy", "none.txt"):
        with pytest.raises(ModelError, match=rf"{name}: expected ids, one per row: "):
            read_ids(str(tmp_path / name))
