"""adb://[serial]: an Android device on USB or in the network, through the ``adb`` client.

``adb shell`` runs as Android's user ``shell``, so the Python has to be one that this user
may run, not one inside an app's private folder (docs/devices.md).
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence

from edgerec.errors import OptionError, RemoteError
from edgerec.remote.place import Place

__all__ = ["Adb"]

#: The folder that Android's user ``shell`` may write to and run programs from.
FOLDER = "/data/local/tmp"


class Adb(Place):
    """An Android device, version 7 or newer (older ones do not pass exit codes on).

    Without a serial it is the only device there is. Option: ``python`` (there; python3 by
    default).
    """

    options = ("python",)

    def __init__(self, where: str) -> None:
        super().__init__(where)
        if self.url.path.strip("/"):
            raise OptionError(f"{where}: expected adb://serial, as `adb devices` lists it")
        self.serial = self.url.netloc

    def command(self, boot: Sequence[str]) -> list[str]:
        """One ``adb shell`` call: archive in, standard output back."""
        if shutil.which("adb") is None:
            raise RemoteError(f"{self.where}: no adb here; install Android's platform tools")
        serial = ["-s", self.serial] if self.serial else []
        start = f'TMPDIR="${{TMPDIR:-{FOLDER}}}" '
        return ["adb", *serial, "shell", "-T", start + self.python(boot)]

    def explain(self, code: int, said: str) -> str:
        """Say that adb found no such device, or may not use it."""
        # The device's own failures come as 2 and more (boot.py); adb's own is 1.
        if code != 1 or not said.startswith(("error: ", "adb: ")):
            return ""
        reason = said.removeprefix("error: ").removeprefix("adb: ")
        return f"adb: {reason}; `adb devices` has to list it as 'device', with Android 7 or newer"
