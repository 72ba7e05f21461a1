"""Making a sysroot: what is refused before anything is fetched, and what is kept."""

from __future__ import annotations

import json
import platform
from pathlib import Path

import numpy as np
import pluggy
import pytest

from edgerec.errors import RemoteError
from edgerec.remote import sysroot
from edgerec.remote.bench import connect


def test_versions_are_those_of_this_machine() -> None:
    assert sysroot._as_here("numpy") == f"numpy=={np.__version__}"
    assert sysroot._as_here("numpy<2") == "numpy<2"
    assert sysroot._as_here("no-such-package") == "no-such-package"


def test_a_whole_one_is_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base = [f"numpy=={np.__version__}", f"pluggy=={pluggy.__version__}"]
    manifest = {
        "debian": [sysroot._SUITE, *sysroot._DEBS],
        "requirements": sorted([*base, "onnxruntime==1.0"]),
        "alone": ["torch==2.9.1"],
        "qemu": "10",
        "packages": {"numpy": "1"},
    }
    (tmp_path / sysroot._MANIFEST).write_text(json.dumps(manifest))
    arguments = [str(tmp_path), "onnxruntime==1.0", "--alone", "torch==2.9.1"]
    assert sysroot.main(arguments) == 0
    assert capsys.readouterr().out == f"{tmp_path}: qemu 10\n  numpy 1\n"


def test_another_folder_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "letters").mkdir()
    assert sysroot.main([str(tmp_path)]) == 2
    assert capsys.readouterr().err == (
        f"error: {tmp_path}: is not a sysroot (it has no readable sysroot.json) and was not "
        "changed; name another folder\n"
    )
    assert [p.name for p in tmp_path.iterdir()] == ["letters"]
    for content in ("", "[1]", "{"):
        (tmp_path / sysroot._MANIFEST).write_text(content)
        with pytest.raises(RemoteError, match="is not a sysroot"):
            sysroot.read_manifest(tmp_path)
    with pytest.raises(RemoteError, match="is not a sysroot"):
        sysroot.make(tmp_path / sysroot._MANIFEST)


def test_a_half_made_one_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(draft: Path, apt: Path) -> str:
        (draft / "root").mkdir()
        raise RemoteError("apt-get failed")

    monkeypatch.setattr(sysroot, "_unpack_debian", fail)
    with pytest.raises(RemoteError, match="apt-get failed"):
        sysroot.make(tmp_path / "new")
    assert list(tmp_path.iterdir()) == []


def test_a_machine_without_debian(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        platform, "freedesktop_os_release", lambda: {"ID": "arch", "PRETTY_NAME": "Arch Linux"}
    )
    with pytest.raises(RemoteError, match="Arch Linux: a sysroot is made from Debian packages"):
        sysroot._debian_uri()
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RemoteError, match="no command dpkg on this machine; make the sysroot"):
        sysroot.make(tmp_path / "new")
    assert list(tmp_path.iterdir()) == []


def test_a_step_that_fails_is_quoted() -> None:
    with pytest.raises(RemoteError, match=r"sh failed \(3\): E: Unable to locate package x$"):
        sysroot._run(
            ["sh", "-c", "echo fetching >&2; echo E: Unable to locate package x >&2; exit 3"]
        )


def test_emulation_without_a_sysroot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEREC_SYSROOT", str(tmp_path / "none"))
    with pytest.raises(RemoteError) as caught:
        connect("qemu:aarch64")
    assert str(caught.value) == (
        f"qemu:aarch64: no sysroot in {tmp_path}/none; make one: python -m edgerec.remote.sysroot "
        f"{tmp_path}/none RUNTIME..., with the package that the bundle's runtime comes in, such "
        "as onnxruntime"
    )
    monkeypatch.delenv("EDGEREC_SYSROOT")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert sysroot.default_folder() == tmp_path / "edgerec" / "sysroot-aarch64"
