"""Bundles run elsewhere: what is carried, and ssh against a real sshd on loopback."""

from __future__ import annotations

import io
import json
import socket
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgerec.compression.chain import compress
from edgerec.errors import EdgerecError, OptionError, RemoteError, UnknownNameError
from edgerec.exporting.answers import Answers, compare_lists
from edgerec.exporting.export import export
from edgerec.exporting.proof import sample_histories
from edgerec.model.codecs import Int8
from edgerec.model.device_model import DeviceModel
from edgerec.remote import archive as sent
from edgerec.remote.bench import bench_on, connect
from edgerec.remote.connection import Connection
from tests.rigs.answers import ask
from tests.rigs.sshd import Sshd, new_key, serve

pytestmark = pytest.mark.device


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    with serve(tmp_path_factory.mktemp("sshd")) as server:
        yield server


@pytest.fixture(scope="module")
def bundle(models: dict[str, DeviceModel], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle in a file whose name a shell would take apart."""
    path = tmp_path_factory.mktemp("bundle") / "it's $HOME; (a) bundle.edgerec"
    export(models["sum"].with_codec(Int8(), ["items"]), "numpy", path, top_k=20)
    return path


def script(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def test_over_ssh(sshd: Sshd, bundle: Path) -> None:
    here = bench_on("local", bundle)
    there = bench_on(sshd.url(), bundle, [["i00001", "i00002"], ["i00003"]])
    assert there.to_json().keys() == here.to_json().keys()
    assert there.on == sshd.url()
    assert there.bundle == bundle.name
    assert there.histories == 2
    assert there.p95_ms > 0
    for name in ("model", "cpu", "cores", "os", "runtime_version", "numpy", "bundle_bytes"):
        assert getattr(there, name) == getattr(here, name)
    assert there.emulated is here.emulated is False
    assert list(sshd.tmp.glob("edgerec-*")) == []


def test_from_the_command_line(sshd: Sshd, bundle: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "edgerec", "bench"]
    done = subprocess.run(
        [*command, str(bundle), "--on", sshd.url(), "--out", "pi.json"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "pi.json").read_text())["target"] == "numpy"
    assert "p50_ms" in done.stdout


@pytest.mark.parametrize("target", ["numpy", "tflite", "onnx"])
def test_answers_from_there(
    target: str, sshd: Sshd, models: dict[str, DeviceModel], tmp_path: Path
) -> None:
    model = compress(models["dense"], "quantize:codec=int8")
    bundle = export(model, target, tmp_path / "x.edgerec", top_k=20)
    rows = sample_histories(model, 20)
    expected = Answers(model, rows, 20)
    found = ask(connect(sshd.url()), {bundle.path: expected})
    assert found
    for lists in found.values():
        parity = compare_lists(lists, expected)
        assert parity.overlap >= 0.999
        assert parity.score_error <= 1e-4


def test_a_plugins_codec_is_carried(
    sshd: Sshd, models: dict[str, DeviceModel], tmp_path: Path
) -> None:
    path = export(compress(models["sum"], "prune:share=0.9"), "numpy", tmp_path / "p.edgerec").path
    content = io.BytesIO()
    sent.pack(content, [path], {"histories.json": b"[]"})
    content.seek(0)
    with tarfile.open(fileobj=content) as archive:
        names = archive.getnames()
        (listed,) = [name for name in names if name.endswith("entry_points.txt")]
        found = archive.extractfile(listed)
        assert found is not None
        entries = found.read().decode()
    assert {"edgerec/device/bench.py", "edgerec_prune/sparse.py", "edgerec_numpy/run.py"} <= set(
        names
    )
    assert {"carried/p.edgerec", "carried/histories.json", "pluggy/__init__.py"} <= set(names)
    assert not any(n.startswith("edgerec_onnx") or "__pycache__" in n for n in names)
    assert entries == "[edgerec]\nnumpy = edgerec_numpy\nprune = edgerec_prune\n"
    assert bench_on(sshd.url(), path).p50_ms > 0


def test_what_cannot_be_carried(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "compiled_target"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "kernel.so").touch()
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(RemoteError, match=r"compiled_target: has a compiled part, kernel\.so"):
        list(sent._sources("compiled_target"))
    with pytest.raises(RemoteError, match="no such package is installed here"):
        list(sent._sources("nowhere_to_be_found"))
    with pytest.raises(RemoteError, match="two bundles to carry have the same file name"):
        sent.pack(io.BytesIO(), [bundle, bundle], {})


def test_a_target_that_is_not_installed(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgerec.contracts.bundle.Bundle.target", "coreml")
    with pytest.raises(UnknownNameError, match="unknown target 'coreml'"):
        sent.pack(io.BytesIO(), [bundle], {})


def failure(sshd: Sshd, bundle: Path, *, timeout: float = 600, **options: object) -> str:
    with pytest.raises(RemoteError) as caught:
        bench_on(sshd.url(**options), bundle, timeout=timeout)
    assert list(sshd.tmp.glob("edgerec-*")) == []
    address, colon, message = str(caught.value).partition(": ")
    assert address == sshd.url(**options)
    assert colon
    return message


def test_no_python_there(sshd: Sshd, bundle: Path, tmp_path: Path) -> None:
    message = failure(sshd, bundle, python="/opt/nowhere/python")
    assert message.startswith("no /opt/nowhere/python there (")
    assert message.endswith(
        "install Python 3.11 or newer, or name one in the address: ?python=/path/to/python"
    )
    (tmp_path / "text").touch()
    assert failure(sshd, bundle, python=tmp_path / "text").startswith("no ")


def test_an_old_python_there(sshd: Sshd, bundle: Path, tmp_path: Path) -> None:
    old = script(
        tmp_path / "python",
        f'shift; exec {sys.executable} -c "import sys; sys.version_info = (3, 9); '
        'exec(sys.argv.pop(1))" "$@"',
    )
    assert failure(sshd, bundle, python=old) == "Python 3.9; edgerec needs 3.11 or newer"


def test_no_numpy_there(sshd: Sshd, bundle: Path, tmp_path: Path) -> None:
    bare = script(tmp_path / "python", f'exec {sys.executable} -S "$@"')
    message = failure(sshd, bundle, python=bare)
    assert message.endswith("has no numpy; install numpy and the bundle's runtime")


def test_a_runtime_that_is_not_there(sshd: Sshd, bundle: Path) -> None:
    with pytest.raises(
        RemoteError, match="numpy: no runtime 'tpu' here, only numpy; this target runs on numpy"
    ):
        bench_on(sshd.url(), bundle, runtime="tpu")
    assert list(sshd.tmp.glob("edgerec-*")) == []


def test_a_path_in_an_address_is_as_it_is_written() -> None:
    place = connect("ssh://pi?python=/opt/g++/bin%23/python")
    assert place.given == {"python": "/opt/g++/bin#/python"}


def test_too_slow_there(sshd: Sshd, bundle: Path) -> None:
    assert failure(sshd, bundle, timeout=0.001) == "did not finish within 0.001 s"


@pytest.mark.parametrize(
    ("number", "hint"),
    [(9, "is there enough memory?"), (4, "is it built for newer processors than this one?")],
)
def test_killed_there(number: int, hint: str, sshd: Sshd, bundle: Path, tmp_path: Path) -> None:
    dying = script(
        tmp_path / "python",
        # The first start unpacks; the one that it starts dies, as one does out of memory.
        f'[ "$1" = -m ] && kill -{number} $$; shift; exec {sys.executable} -c '
        f'"import sys; sys.executable = \'{tmp_path / "python"}\'; exec(sys.argv.pop(1))" "$@"',
    )
    assert failure(sshd, bundle, python=dying) == f"ended by signal {number}; {hint}"


def test_a_crash_there(sshd: Sshd) -> None:
    with pytest.raises(RemoteError, match="No module named edgerec"):
        connect(sshd.url()).run("edgerec.nowhere", [])
    with pytest.raises(RemoteError, match=r"edgerec\.errors printed nothing"):
        connect(sshd.url()).run("edgerec.errors", [])


def test_an_archive_that_cannot_be_unpacked(
    sshd: Sshd, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "edgerec.remote.connection.pack", lambda file, *rest: file.write(b"x" * 2000)
    )
    assert failure(sshd, bundle).startswith("cannot unpack and start: ")


def test_nobody_listens(bundle: Path) -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        where = f"ssh://127.0.0.1:{bound.getsockname()[1]}"
        with pytest.raises(RemoteError, match=r"ssh could not connect: .*Connection refused"):
            bench_on(where, bundle)


def test_a_key_that_it_does_not_know(sshd: Sshd, bundle: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    new_key(other)
    message = failure(sshd, bundle, identity=other)
    assert "ssh could not connect" in message
    assert "Permission denied (publickey)" in message
    assert message.endswith(f"`ssh -p {sshd.port} 127.0.0.1 true` must work without a password")


def test_a_host_key_that_is_not_known(sshd: Sshd, bundle: Path, tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text(f"UserKnownHostsFile {tmp_path / 'none'}\nStrictHostKeyChecking yes\n")
    assert "Host key verification failed" in failure(sshd, bundle, config=config)


@pytest.mark.parametrize("tool", ["ssh", "adb"])
def test_a_client_that_is_not_here(
    tool: str, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RemoteError, match=f"{tool}://box: no {tool} on this machine; install "):
        bench_on(f"{tool}://box", bundle)


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("pi", "on: expected local, ssh://"),
        ("ftp://pi", "or qemu:aarch64; got 'ftp://pi'"),
        ("ssh://", r"expected ssh://\[user@\]host\[:port\]"),
        ("ssh://pi/opt/python", r"expected ssh://\[user@\]host\[:port\]"),
        ("ssh://me:word@pi", "an address cannot contain a password; use a key"),
        ("ssh://pi:99999", "expected a port from 1 to 65535"),
        ("ssh://[::1", "malformed address"),
        ("ssh://pi?pyton=x", "unknown option pyton; options: python, identity, config"),
        ("ssh://pi?python=", "python: expected a value, got none"),
        ("ssh://pi?python=a&python=b", "an option is given twice"),
        ("ssh://pi?python=/opt/a#1/python", "write # as %23"),
        ("adb:serial", "expected adb://serial"),
        ("qemu:riscv64", "expected qemu:aarch64"),
        ("qemu://aarch64", "expected qemu:aarch64"),
    ],
)
def test_malformed_addresses(where: str, message: str, bundle: Path) -> None:
    with pytest.raises(OptionError, match=message):
        bench_on(where, bundle)


def ssh_arguments(where: str) -> list[str]:
    place: Connection = connect(where)
    return place.command(["-c", "it's"])[1:]


def test_addresses_become_arguments() -> None:
    assert ssh_arguments("ssh://Pi")[-3:] == ["--", "Pi", "python3 -c 'it'\"'\"'s'"]
    *options, _, destination, command = ssh_arguments(
        "ssh://me@[fe80::1]:22?python=~/my env/bin/python&identity=/k&config=/c"
    )
    assert destination == "me@fe80::1"
    assert command.startswith("\"$HOME\"/'my env/bin/python' -c ")
    assert options[-8:] == ["-F", "/c", "-i", "/k", "-o", "IdentitiesOnly=yes", "-p", "22"]
    assert "BatchMode=yes" in options


def test_a_damaged_bundle_goes_nowhere(tmp_path: Path) -> None:
    (tmp_path / "x.edgerec").write_bytes(b"junk" * 100)
    with pytest.raises(EdgerecError, match="not an edgerec file"):
        bench_on("ssh://127.0.0.1:1", tmp_path / "x.edgerec")
