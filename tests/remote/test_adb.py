"""adb://: the real ``adb`` client, with no device and with a small adbd on loopback."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgerec.errors import RemoteError
from edgerec.exporting.export import export
from edgerec.model.codecs import Int8
from edgerec.model.device_model import DeviceModel
from edgerec.remote.bench import bench_on
from tests.rigs.adbd import Adbd

HINT = "; `adb devices` must list it as 'device', with Android 7 or newer"


pytestmark = pytest.mark.device


@pytest.fixture(autouse=True)
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An adb server of the test's own, which knows no device."""
    if shutil.which("adb") is None:
        pytest.skip("no adb here: apt-get install adb")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", str(port))
    adb("start-server")
    yield
    adb("kill-server")


@pytest.fixture
def bundle(models: dict[str, DeviceModel], tmp_path: Path) -> Path:
    model = models["sum"].with_codec(Int8(), ["items"])
    return export(model, "numpy", tmp_path / "it's x.edgerec", top_k=20).path


def adb(*arguments: str) -> str:
    done = subprocess.run(["adb", *arguments], capture_output=True, text=True, check=True)
    return done.stdout


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("adb://none", "adb://none: adb: device 'none' not found"),
        ("adb://", "adb://: adb: no devices/emulators found"),
    ],
)
def test_no_device(where: str, message: str, bundle: Path) -> None:
    with pytest.raises(RemoteError) as caught:
        bench_on(where, bundle)
    assert str(caught.value) == message + HINT


def test_a_device(bundle: Path, tmp_path: Path) -> None:
    folder = tmp_path / "there"
    folder.mkdir()
    with Adbd({"TMPDIR": str(folder)}) as device:
        assert "connected to" in adb("connect", device.serial)
        for where in (f"adb://{device.serial}", "adb://"):
            figures = bench_on(f"{where}?python={sys.executable}", bundle)
            assert figures.bundle == bundle.name
            assert figures.p95_ms > 0
            assert figures.emulated is False
        with pytest.raises(RemoteError, match=r"no /none there \(.*not found\); install Python"):
            bench_on("adb://?python=/none", bundle)
        with pytest.raises(RemoteError, match="numpy: no runtime 'tpu'"):
            bench_on(f"adb://?python={sys.executable}", bundle, runtime="tpu")
        assert list(folder.glob("edgerec-*")) == []
        adb("disconnect", device.serial)
