"""ssh://[user@]host[:port]: any machine that the system's ``ssh`` reaches without a password."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from edgerec.errors import OptionError, RemoteError
from edgerec.remote.connection import Connection

__all__ = ["Ssh"]

#: The exit code of ssh's own failures; any other is that of the remote command.
_FAILED = 255


class Ssh(Connection):
    """A machine reached through ssh; ``~/.ssh/config`` applies.

    Options are ``python`` (on that machine; python3 by default), ``identity`` (the file of a
    private key) and ``config`` (a configuration file instead of ``~/.ssh/config``).
    """

    options = ("python", "identity", "config")

    def __init__(self, address: str) -> None:
        super().__init__(address)
        try:
            self.port = self.url.port
        except ValueError:
            raise OptionError(f"{address}: expected a port from 1 to 65535") from None
        host = self.url.hostname
        if not host or self.url.path.strip("/"):
            raise OptionError(f"{address}: expected ssh://[user@]host[:port][?option=value]")
        if self.url.password:
            raise OptionError(
                f"{address}: an address cannot contain a password; use a key (ssh-copy-id)"
            )
        # urlsplit converts hosts to lower case, but aliases in ~/.ssh/config are case-sensitive.
        named = self.url.netloc.rpartition("@")[2]
        host = named[named.lower().index(host) :][: len(host)]
        self.destination = f"{self.url.username}@{host}" if self.url.username else host

    def command(self, script: Sequence[str]) -> list[str]:
        """A single ssh call, which reads the archive and returns standard output."""
        if shutil.which("ssh") is None:
            raise RemoteError(f"{self.address}: no ssh on this machine; install an OpenSSH client")
        command = ["ssh", "-T", "-o", "BatchMode=yes", "-o", "ConnectTimeout=20"]
        command += ["-o", "ServerAliveInterval=15"]
        if "config" in self.given:
            command += ["-F", str(Path(self.given["config"]).expanduser())]
        if "identity" in self.given:
            identity = Path(self.given["identity"]).expanduser()
            command += ["-i", str(identity), "-o", "IdentitiesOnly=yes"]
        if self.port is not None:
            command += ["-p", str(self.port)]
        return [*command, "--", self.destination, self.python(script)]

    def explain(self, code: int, said: str) -> str:
        """Explain that ssh could not connect."""
        if code != _FAILED:
            return ""
        port = f"-p {self.port} " if self.port else ""
        return (
            f"ssh could not connect: {said or 'no reason given'}; "
            f"`ssh {port}{self.destination} true` must work without a password"
        )
