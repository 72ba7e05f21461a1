"""A real sshd on loopback, with keys of its own, run as whoever runs the tests."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass(frozen=True)
class Sshd:
    """A running server.

    Args:
        port: on 127.0.0.1.
        key: the private key that it lets in.
        config: a client configuration that knows its host key, and no private key.
        tmp: the folder that commands there get as TMPDIR.
    """

    port: int
    key: Path
    config: Path
    tmp: Path

    def url(self, **options: object) -> str:
        """The address for ``--on``; options take the place of the defaults."""
        given = {"python": sys.executable, "identity": self.key, "config": self.config, **options}
        query = "&".join(f"{name}={value}" for name, value in given.items())
        return f"ssh://127.0.0.1:{self.port}?{query}"


def new_key(path: Path) -> None:
    """Write a private key, and a public one beside it."""
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)]
    subprocess.run(command, check=True)


@contextlib.contextmanager
def serve(folder: Path) -> Iterator[Sshd]:
    """Serve on a free port: each connection is given to an ``sshd -i``, as inetd does it."""
    sshd = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin")
    if sshd is None or shutil.which("ssh") is None:
        pytest.skip("no sshd or ssh here: apt-get install openssh-server openssh-client")
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # where root's sshd drops privileges
    for name in ("host", "user"):
        new_key(folder / name)
    tmp = folder / "tmp"
    tmp.mkdir()
    settings = folder / "sshd_config"
    settings.write_text(
        f"HostKey {folder / 'host'}\n"
        f"AuthorizedKeysFile {folder / 'user.pub'}\n"
        "StrictModes no\n"
        f"UsePAM {'yes' if os.geteuid() == 0 else 'no'}\n"
        "PasswordAuthentication no\nKbdInteractiveAuthentication no\n"
        f"SetEnv TMPDIR={tmp}\n"
    )
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        known, config = folder / "known_hosts", folder / "ssh_config"
        known.write_text(f"[127.0.0.1]:{port} {(folder / 'host.pub').read_text()}")
        config.write_text(f"UserKnownHostsFile {known}\nStrictHostKeyChecking yes\n")
        started: list[subprocess.Popen[bytes]] = []

        def accept() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    command = [sshd, "-i", "-f", str(settings), "-E", str(folder / "log")]
                    started.append(subprocess.Popen(command, stdin=connection, stdout=connection))

        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield Sshd(port, folder / "user", config, tmp)
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()
            for process in started:
                process.wait()
