"""A file of another library is met with the importers that read it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgerec.cli import run
from edgerec.cli.foreign import advice, check_suffix
from edgerec.contracts.compressor import Context
from edgerec.contracts.host import Host
from edgerec.contracts.importer import Importer
from edgerec.data.dataset import Dataset
from edgerec.data.dataset_file import save_dataset
from edgerec.errors import BundleError, ForeignFileError, OptionError
from edgerec.files.container import Container
from edgerec.model.device_model import DeviceModel


def importer(title: str, *endings: str) -> type[Importer]:
    @dataclasses.dataclass(frozen=True)
    class Found(Importer):
        name = title
        suffixes = endings

        def read(self, path: Path, context: Context) -> DeviceModel:
            raise NotImplementedError

    return Found


@pytest.fixture(autouse=True)
def importers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Install others than there are."""
    found = [importer("cox", ".pth.tar", ".PT"), importer("birch", ".npy", ".pt"), importer("any")]
    entries = {one.name: one for one in found}
    monkeypatch.setattr(Host.installed()._importers, "entries", entries)


def test_the_importers_that_fit() -> None:
    host = Host.installed()
    assert advice(Path("a/x.npy"), host) == (
        "if another library wrote it, import it with `edgerec import birch a/x.npy -o x.model`"
    )
    # The case of letters does not matter.
    assert "`edgerec import birch x.Pt -o x.model` or `edgerec import cox x.Pt" in advice(
        Path("x.Pt"), host
    )
    assert "cox 'my x.pth.tar' -o 'my x.pth'.model" in advice(Path("my x.pth.tar"), host)


def test_no_importer_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    host = Host.installed()
    for name in ("x.keras", "xnpy", "pt"):
        assert advice(Path(name), host) == (
            "importers of other libraries' files: any (any file), birch (.npy, .pt), "
            "cox (.pth.tar, .PT)"
        )
    monkeypatch.setattr(host._importers, "entries", {})
    assert advice(Path("x.npy"), host) == "importers of other libraries' files: none installed"


def test_the_ending_of_what_is_imported() -> None:
    host = Host.installed()
    birch = host.importer("birch")
    for name in ("x.npy", "X.NPY", "x.pt"):
        check_suffix(birch, Path(name), host)
    check_suffix(host.importer("any"), Path("x.h5"), host)
    with pytest.raises(OptionError) as caught:
        check_suffix(birch, Path("x.pth.tar"), host)
    assert str(caught.value) == "x.pth.tar: importer birch reads .npy, .pt; it may be one for cox"
    with pytest.raises(OptionError) as caught:
        check_suffix(birch, Path("x.h5"), host)
    assert str(caught.value) == "x.h5: importer birch reads .npy, .pt"


def test_a_foreign_file_is_no_damaged_one(tmp_path: Path) -> None:
    (tmp_path / "x.pt").write_bytes(b"PK" * 50)
    with pytest.raises(ForeignFileError, match="not an edgerec file") as caught:
        Container(tmp_path / "x.pt")
    assert caught.value.path == tmp_path / "x.pt"
    (tmp_path / "y.pt").write_bytes(b"EDGEREC1" + b"\xff" * 90)
    with pytest.raises(BundleError) as damaged:
        Container(tmp_path / "y.pt")
    assert not isinstance(damaged.value, ForeignFileError)


COMMANDS: Sequence[Sequence[str]] = [
    ("inspect", "x.npy"),
    ("inspect", "x.npy", "--operators"),
    ("build", "x.npy", "--data", "d.dataset", "-o", "dist"),
    ("sweep", "x.npy", "--data", "d.dataset", "-o", "dist"),
    ("train", "d.dataset", "--teacher", "x.npy", "-o", "y.model"),
    ("evaluate", "x.npy", "--data", "d.dataset"),
    ("agree", "x.npy", "x.npy", "--data", "d.dataset"),
    ("score", "x.npy", "--history", "a"),
    ("unpack", "x.npy", "-o", "app"),
    ("bench", "x.npy"),
    ("verify", "x.npy", "--device", "pixel-6a"),
    ("verify", "x.npy", "--replay"),
]


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_every_command_says_so(
    arguments: Sequence[str],
    dataset: Dataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    np.save(tmp_path / "x.npy", np.zeros((2, 2)))
    save_dataset(dataset, tmp_path / "d.dataset")
    monkeypatch.chdir(tmp_path)
    assert failed(arguments, monkeypatch, capsys) == (
        "error: x.npy: not an edgerec file (it does not begin with EDGEREC1); if another library "
        "wrote it, import it with `edgerec import birch x.npy -o x.model`"
    )


def test_the_import_command_checks_the_ending(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    said = failed(("import", "cox", "x.npy", "-o", "x.model"), monkeypatch, capsys)
    assert said == "error: x.npy: importer cox reads .pth.tar, .PT; it may be one for birch"


def failed(arguments: Sequence[str], patch: Any, capsys: Any) -> str:
    """The message with which the command line fails."""
    patch.setattr("sys.argv", ["edgerec", *arguments])
    with pytest.raises(SystemExit) as caught:
        run()
    assert caught.value.code == 2
    return str(capsys.readouterr().err.strip())
