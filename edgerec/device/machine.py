"""Describe this machine: its model, processor and system, as the system reports them.

It uses the standard library only; what the system does not report is "unknown".
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

__all__ = ["cpu_name", "describe_machine"]

_UNKNOWN = "unknown"

#: Arm's own cores by their part number in /proc/cpuinfo, from Arm's reference manuals.
_ARM_PARTS = {
    0xD03: "Cortex-A53",
    0xD04: "Cortex-A35",
    0xD05: "Cortex-A55",
    0xD07: "Cortex-A57",
    0xD08: "Cortex-A72",
    0xD09: "Cortex-A73",
    0xD0A: "Cortex-A75",
    0xD0B: "Cortex-A76",
    0xD0C: "Neoverse-N1",
    0xD0D: "Cortex-A77",
    0xD40: "Neoverse-V1",
    0xD41: "Cortex-A78",
    0xD44: "Cortex-X1",
    0xD46: "Cortex-A510",
    0xD47: "Cortex-A710",
    0xD48: "Cortex-X2",
    0xD49: "Neoverse-N2",
    0xD4D: "Cortex-A715",
    0xD4E: "Cortex-X3",
    0xD80: "Cortex-A520",
    0xD81: "Cortex-A720",
    0xD82: "Cortex-X4",
}
_ARM = 0x41


def describe_machine() -> dict[str, Any]:
    """Return its model, cpu, cores, memory_bytes, os, machine and system, by these names."""
    return {
        "model": _model(),
        "cpu": cpu_name(_read("/proc/cpuinfo")) or _say("sysctl", "-n", "machdep.cpu.brand_string"),
        "cores": os.cpu_count() or 0,
        "memory_bytes": _memory_bytes(),
        "os": _os(),
        "machine": platform.machine(),
        "system": platform.platform(),
    }


def cpu_name(cpuinfo: str) -> str:
    """Name the processor that /proc/cpuinfo describes; empty if it describes none.

    x86 reports a name, arm64 one number per core: "4 Cortex-A55, 2 Cortex-A76".
    """
    lines = [line.partition(":")[::2] for line in cpuinfo.splitlines()]
    fields = [(name.strip(), value.strip()) for name, value in lines]
    for name, value in fields:
        if name == "model name":
            return value
    makers = [int(v, 16) for n, v in fields if n == "CPU implementer"]
    parts = [int(v, 16) for n, v in fields if n == "CPU part"]
    cores = Counter(
        _ARM_PARTS[part] if maker == _ARM and part in _ARM_PARTS else f"part {maker:#x}:{part:#x}"
        for maker, part in zip(makers, parts, strict=False)
    )
    return ", ".join(f"{count} {core}" for core, count in cores.items())


def _model() -> str:
    if shutil.which("getprop"):  # Android
        return f"{_say('getprop', 'ro.product.manufacturer')} {_say('getprop', 'ro.product.model')}"
    board = _read("/proc/device-tree/model").rstrip("\0")
    maker, name = (_read(f"/sys/class/dmi/id/{n}") for n in ("sys_vendor", "product_name"))
    return board or f"{maker} {name}".strip() or _say("sysctl", "-n", "hw.model")


def _os() -> str:
    if shutil.which("getprop"):
        return f"Android {_say('getprop', 'ro.build.version.release')}"
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return f"{platform.system()} {platform.release()}"


def _memory_bytes() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return 0


def _read(path: str) -> str:
    try:
        return Path(path).read_text("utf-8", "replace").strip()
    except OSError:
        return ""


def _say(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return _UNKNOWN
    return done.stdout.strip() or _UNKNOWN
