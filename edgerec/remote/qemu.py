"""qemu:aarch64: this machine, emulating an arm64 one. Results are real, times mean nothing."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgerec.errors import OptionError, RemoteError
from edgerec.remote.place import Place
from edgerec.remote.sysroot import default_folder, launcher, read_manifest

__all__ = ["Qemu"]


class Qemu(Place):
    """qemu-user with a sysroot that ``python -m edgerec.remote.sysroot`` made.

    Options: ``sysroot`` (a folder; $EDGEREC_SYSROOT or one in the user's cache by default)
    and ``cpu`` (``max``, all that qemu can emulate, by default; cortex-a53 is a Pi Zero 2's,
    cortex-a72 a Pi 4's, cortex-a76 a Pi 5's).
    """

    options = ("sysroot", "cpu")
    emulated = True

    def __init__(self, where: str) -> None:
        super().__init__(where)
        if self.url.netloc or self.url.path != "aarch64":
            raise OptionError(f"{where}: expected qemu:aarch64[?option=value]")
        self.cpu = self.given.get("cpu", "max")
        self.folder = Path(self.given.get("sysroot", default_folder())).expanduser().absolute()
        self.manifest = read_manifest(self.folder)
        if not self.manifest:
            raise RemoteError(
                f"{where}: no sysroot in {self.folder}; make one: python -m "
                f"edgerec.remote.sysroot {self.folder} RUNTIME..., with the package that the "
                "bundle's runtime comes in, such as onnxruntime"
            )

    def command(self, boot: Sequence[str]) -> list[str]:
        """This Python unpacks and cleans up; only what ``launcher`` starts is emulated."""
        return [sys.executable, *boot]

    def launcher(self) -> list[str]:
        """The sysroot's Python under qemu."""
        return launcher(self.folder, self.cpu)

    def environment(self) -> dict[str, str]:
        """Only the sysroot's packages: what this machine preloads is of another processor."""
        kept = {n: os.environ[n] for n in ("TMPDIR", "OMP_NUM_THREADS") if n in os.environ}
        return {"PYTHONPATH": str(self.folder / "site"), "LANG": "C.UTF-8", **kept}

    def describe(self) -> dict[str, Any]:
        """The emulated device, in place of the machine that emulates it."""
        return {"model": f"qemu-user {self.manifest['qemu']}", "cpu": f"emulated {self.cpu}"}

    def explain(self, code: int, said: str) -> str:
        """Quote qemu, which says itself what is wrong, such as an unknown processor."""
        return said if said.startswith("qemu") else ""
