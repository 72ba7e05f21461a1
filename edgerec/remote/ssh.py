"""ssh://[user@]host[:port]: any machine that the system's ``ssh`` gets to without a password."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from edgerec.errors import OptionError, RemoteError
from edgerec.remote.place import Place

__all__ = ["Ssh"]

#: ssh's own failures; anything else is the remote command's exit code.
FAILED = 255


class Ssh(Place):
    """A machine behind ssh; ``~/.ssh/config`` applies.

    Options: ``python`` (there; python3 by default), ``identity`` (a private key's file),
    ``config`` (a configuration file in place of ``~/.ssh/config``).
    """

    options = ("python", "identity", "config")

    def __init__(self, where: str) -> None:
        super().__init__(where)
        try:
            self.port = self.url.port
        except ValueError:
            raise OptionError(f"{where}: expected a port from 1 to 65535") from None
        host = self.url.hostname
        if not host or self.url.path.strip("/"):
            raise OptionError(f"{where}: expected ssh://[user@]host[:port][?option=value]")
        if self.url.password:
            raise OptionError(f"{where}: an address has no password; use a key (ssh-copy-id)")
        # urlsplit makes a host small; aliases of ~/.ssh/config tell capitals apart.
        named = self.url.netloc.rpartition("@")[2]
        host = named[named.lower().index(host) :][: len(host)]
        self.destination = f"{self.url.username}@{host}" if self.url.username else host

    def command(self, boot: Sequence[str]) -> list[str]:
        """One ssh call: archive in, standard output back."""
        if shutil.which("ssh") is None:
            raise RemoteError(f"{self.where}: no ssh here; install an OpenSSH client")
        command = ["ssh", "-T", "-o", "BatchMode=yes", "-o", "ConnectTimeout=20"]
        command += ["-o", "ServerAliveInterval=15"]
        if "config" in self.given:
            command += ["-F", str(Path(self.given["config"]).expanduser())]
        if "identity" in self.given:
            identity = Path(self.given["identity"]).expanduser()
            command += ["-i", str(identity), "-o", "IdentitiesOnly=yes"]
        if self.port is not None:
            command += ["-p", str(self.port)]
        return [*command, "--", self.destination, self.python(boot)]

    def explain(self, code: int, said: str) -> str:
        """Say that ssh did not get there."""
        if code != FAILED:
            return ""
        port = f"-p {self.port} " if self.port else ""
        return (
            f"ssh did not get there: {said or 'no reason given'}; "
            f"`ssh {port}{self.destination} true` has to work without a password"
        )
