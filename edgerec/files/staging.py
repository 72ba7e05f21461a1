"""Staging: files are made in a hidden folder, and all of them move into place or none does.

A *keeper* process moves the files and removes the folder. It outlives its parent, so that even a
parent that is killed leaves no folder and no half of a move behind.
"""

import contextlib
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

__all__ = ["Staging", "staging"]


class Staging:
    """A folder for drafts.

    Args:
        folder: the folder.
        keeper: the process that removes it.
    """

    def __init__(self, folder: Path, keeper: "subprocess.Popen[bytes]") -> None:
        self.folder = folder
        self._keeper = keeper

    def move(self, moves: Mapping[Path, Path]) -> None:
        """Move drafts into place. They get the permissions of the files that they replace.

        Args:
            moves: from each draft to its place on the same file system.

        Raises:
            OSError: a file could not be moved; those before it are in place.
        """
        assert self._keeper.stdin is not None and self._keeper.stdout is not None  # noqa: S101, PT018  # for mypy
        pairs = [[str(draft.resolve()), str(place.resolve())] for draft, place in moves.items()]
        self._keeper.stdin.write(json.dumps(pairs).encode() + b"\n")
        self._keeper.stdin.flush()
        answer: list[Any] = json.loads(self._keeper.stdout.readline() or b'[5, "no answer", ""]')
        if answer:
            raise OSError(*answer)


@contextlib.contextmanager
def staging(parent: str | Path | None = None, prefix: str = ".edgerec-") -> Iterator[Staging]:
    """Make a folder for drafts, and remove it at the end, even if this process is killed.

    Args:
        parent: the folder in which it is made, which must exist; the system's temporary folder by
            default.
        prefix: the beginning of its name.
    """
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=parent)).resolve()
    try:
        keeper = subprocess.Popen(  # noqa: S603  # this very file
            [sys.executable, "-I", "-S", __file__, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # a signal to the parent's group does not reach it
        )
    except BaseException:
        folder.rmdir()
        raise
    assert keeper.stdin is not None and keeper.stdout is not None  # noqa: S101, PT018  # for mypy
    try:
        yield Staging(folder, keeper)
    finally:
        with contextlib.suppress(OSError):
            keeper.stdin.close()
        keeper.wait()
        keeper.stdout.close()
        shutil.rmtree(folder, ignore_errors=True)  # in case the keeper was killed


def _keep(folder: str) -> None:
    """Carry out moves until the parent ends, and then remove the folder."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    for line in sys.stdin:
        answer: list[Any] = []
        if line.endswith("\n"):  # a parent that was killed may have sent half of it
            try:
                for draft, place in json.loads(line):
                    with contextlib.suppress(FileNotFoundError):
                        Path(draft).chmod(stat.S_IMODE(Path(place).stat().st_mode))
                    Path(draft).replace(place)
            except OSError as error:
                answer = [error.errno, error.strerror, error.filename]
        with contextlib.suppress(OSError):
            sys.stdout.write(json.dumps(answer) + "\n")
            sys.stdout.flush()
    shutil.rmtree(folder, ignore_errors=True)
    os._exit(0)  # flushing to a parent that is gone would fail


if __name__ == "__main__":
    _keep(sys.argv[1])
