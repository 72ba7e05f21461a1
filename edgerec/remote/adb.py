"""adb://[serial]: an Android device on USB or the network, through the ``adb`` client.

``adb shell`` runs as Android's user ``shell``, which must be allowed to run the Python there; it
cannot run one in the private folder of an app (docs/devices.md).
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence

from edgerec.errors import OptionError, RemoteError
from edgerec.remote.connection import Connection

__all__ = ["Adb"]

#: The folder that Android's user ``shell`` may write to and run programs from.
_FOLDER = "/data/local/tmp"


class Adb(Connection):
    """An Android device, version 7 or newer, because older ones do not return exit codes.

    Without a serial number, it is the only connected device. The option is ``python`` (on the
    device; python3 by default).
    """

    options = ("python",)

    def __init__(self, address: str) -> None:
        super().__init__(address)
        if self.url.path.strip("/"):
            raise OptionError(f"{address}: expected adb://serial, as `adb devices` lists it")
        self.serial = self.url.netloc

    def command(self, script: Sequence[str]) -> list[str]:
        """A single ``adb shell`` call, which reads the archive and returns standard output."""
        if shutil.which("adb") is None:
            raise RemoteError(
                f"{self.address}: no adb on this machine; install Android's platform tools"
            )
        serial = ["-s", self.serial] if self.serial else []
        start = f'TMPDIR="${{TMPDIR:-{_FOLDER}}}" '
        return ["adb", *serial, "shell", "-T", start + self.python(script)]

    def explain(self, code: int, said: str) -> str:
        """Explain that adb found no such device, or is not allowed to use it."""
        # adb's own failures have exit code 1; those on the device have 2 or more.
        if code != 1 or not said.startswith(("error: ", "adb: ")):
            return ""
        reason = said.removeprefix("error: ").removeprefix("adb: ")
        return f"adb: {reason}; `adb devices` must list it as 'device', with Android 7 or newer"
