"""Killed at any moment, a write leaves the old file or the new one."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edgerec.files.atomic import atomic_write, write_text

WRITER = """
import sys
from edgerec.files.atomic import atomic_write
n = 0
while True:
    n += 1
    with atomic_write(sys.argv[1]) as file:
        for _ in range(64):
            file.write(bytes([n % 256]) * 4096)
    if n == 1:
        print("ready", flush=True)
"""


@pytest.mark.parametrize("delay", [0.0, 0.01, 0.023, 0.05])
def test_a_killed_writer_leaves_a_whole_file(tmp_path: Path, delay: float) -> None:
    path = tmp_path / "file"
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE
    ) as writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        time.sleep(delay)
        writer.send_signal(signal.SIGKILL)
    content = path.read_bytes()
    assert len(content) == 64 * 4096
    assert len(set(content)) == 1


def test_an_error_keeps_the_old_file_and_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_text(path, "old")

    def fail() -> None:
        with atomic_write(path) as file:
            file.write(b"new")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
