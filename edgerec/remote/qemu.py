"""qemu:aarch64: an emulated arm64 machine, whose results are real and whose times mean nothing."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgerec.errors import OptionError, RemoteError
from edgerec.remote.connection import Connection
from edgerec.remote.sysroot import default_folder, launcher, read_manifest

__all__ = ["Qemu"]


class Qemu(Connection):
    """qemu-user with a sysroot that ``python -m edgerec.remote.sysroot`` made.

    Options are ``sysroot`` (a folder; $EDGEREC_SYSROOT or one in the user's cache by default) and
    ``cpu`` (``max`` by default, which is everything that qemu can emulate; cortex-a53 is that of a
    Pi Zero 2, cortex-a72 of a Pi 4, cortex-a76 of a Pi 5).
    """

    options = ("sysroot", "cpu")
    emulated = True

    def __init__(self, address: str) -> None:
        super().__init__(address)
        if self.url.netloc or self.url.path != "aarch64":
            raise OptionError(f"{address}: expected qemu:aarch64[?option=value]")
        self.cpu = self.given.get("cpu", "max")
        self.folder = Path(self.given.get("sysroot", default_folder())).expanduser().absolute()
        self.manifest = read_manifest(self.folder)
        if not self.manifest:
            raise RemoteError(
                f"{address}: no sysroot in {self.folder}; make one: python -m "
                f"edgerec.remote.sysroot {self.folder} RUNTIME..., with the package that the "
                "bundle's runtime comes in, such as onnxruntime"
            )

    def command(self, script: Sequence[str]) -> list[str]:
        """This Python unpacks and cleans up, and only what ``launcher`` starts is emulated."""
        return [sys.executable, *script]

    def launcher(self) -> list[str]:
        """The sysroot's Python under qemu."""
        return launcher(self.folder, self.cpu)

    def environment(self) -> dict[str, str]:
        """Only the sysroot's packages, since this machine's are for another processor."""
        kept = {n: os.environ[n] for n in ("TMPDIR", "OMP_NUM_THREADS") if n in os.environ}
        return {"PYTHONPATH": str(self.folder / "site"), "LANG": "C.UTF-8", **kept}

    def describe(self) -> dict[str, Any]:
        """Describe the emulated device instead of the machine that emulates it."""
        return {"model": f"qemu-user {self.manifest['qemu']}", "cpu": f"emulated {self.cpu}"}

    def explain(self, code: int, said: str) -> str:
        """Quote qemu's own message, such as an unknown processor."""
        return said if said.startswith("qemu") else ""
