"""Test vectors are replayed on a device, over a real ssh."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgerec.errors import RemoteError
from edgerec.exporting.export import export
from edgerec.model.device_model import DeviceModel
from edgerec.remote import replay as module
from edgerec.remote.replay import replay_on
from tests.rigs.sshd import serve


def test_vectors_are_replayed_over_ssh(
    models: dict[str, DeviceModel], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = export(models["sum"], "numpy", tmp_path / "x.edgerec").path
    (tmp_path / "sshd").mkdir()
    with serve(tmp_path / "sshd") as server:
        assert replay_on(server.url(), path) == replay_on("local", path) == []
        with pytest.raises(RemoteError, match="tpu"):
            replay_on(server.url(), path, runtime="tpu")

        class Silent:
            def run(self, *_: object) -> str:
                return "nothing"

        monkeypatch.setattr(module, "connect", lambda _: Silent())
        with pytest.raises(RemoteError, match="expected a list of differences, got 'nothing'"):
            replay_on(server.url(), path)
