"""Connection: a way to run a module of edgerec on a device, next to the bundles that it reads."""

from __future__ import annotations

import abc
import json
import shlex
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qsl, urlsplit

from edgerec.device.bench import last_error
from edgerec.errors import OptionError, RemoteError
from edgerec.remote.archive import pack

__all__ = ["Connection"]

#: Seconds that reaching a device, unpacking and cleaning up may take besides the run itself.
_GRACE = 120


class Connection(abc.ABC):
    """A way to run commands on a device. Each subclass knows how a command gets there.

    Args:
        address: ``SCHEME:REST[?OPTION=VALUE&...]``.

    Raises:
        OptionError: the address is malformed, or has an option that the scheme does not know.
    """

    #: The options that an address of this kind takes.
    options: ClassVar[tuple[str, ...]] = ()

    #: Whether the device is emulated, so that times mean nothing.
    emulated: ClassVar[bool] = False

    def __init__(self, address: str) -> None:
        self.address = address
        try:
            self.url = urlsplit(address)
        except ValueError as error:
            raise OptionError(f"{address}: malformed address: {error}") from None
        # In a query, "+" means a space; in a path it means itself.
        given = parse_qsl(self.url.query.replace("+", "%2B"), keep_blank_values=True)
        self.given = dict(given)
        if self.url.fragment:
            raise OptionError(f"{address}: write # as %23")
        if len(given) > len(self.given):
            raise OptionError(f"{address}: an option is given twice")
        if unknown := sorted(set(self.given) - set(self.options)):
            raise OptionError(
                f"{address}: unknown option {', '.join(unknown)}; options: "
                f"{', '.join(self.options)}"
            )
        if empty := [name for name, value in self.given.items() if not value]:
            raise OptionError(f"{address}: {empty[0]}: expected a value, got none")

    @abc.abstractmethod
    def command(self, script: Sequence[str]) -> list[str]:
        """The local command that runs ``python SCRIPT...`` there, reading the archive from stdin.

        Raises:
            RemoteError: this machine lacks something that the command needs.
        """

    def python(self, script: Sequence[str]) -> str:
        """``python SCRIPT...`` for the shell there, where a leading ``~/`` is the home folder."""
        name = self.given.get("python", "python3")
        home, rest = ('"$HOME"/', name[2:]) if name.startswith("~/") else ("", name)
        return f"{home}{shlex.join([rest, *script])}"

    def launcher(self) -> list[str]:
        """The command of the Python that runs the module; empty for the one that unpacked it."""
        return []

    def environment(self) -> dict[str, str] | None:
        """The environment of the local command; none means this process's own."""
        return None

    @abc.abstractmethod
    def explain(self, code: int, said: str) -> str:
        """Explain a failure of the connection; empty if the connection did not fail.

        Args:
            code: the exit code of the local command, not 0.
            said: the last line of its standard error.
        """

    def describe(self) -> dict[str, Any]:
        """Figures that the connection knows better than the device, and which replace its own."""
        return {}

    def run(
        self,
        module: str,
        arguments: Sequence[str],
        bundles: Sequence[Path] = (),
        files: Mapping[str, bytes] | None = None,
        variables: Mapping[str, str] | None = None,
        timeout: float = 600,
    ) -> str:
        """Send everything there, run ``python -m MODULE ARGUMENTS``, and clean up.

        Args:
            module: a module of edgerec.
            arguments: its arguments; bundles and files are in the folder ``carried``.
            bundles: bundles to send, with the plugins that they need.
            files: other files to send, as a mapping of names to contents.
            variables: environment variables for the module.
            timeout: seconds that the module may run.

        Returns:
            The last line that the module printed.

        Raises:
            RemoteError: the device cannot be reached, lacks something, or the run failed.
        """
        source = Path(__file__).with_name("unpack_and_run.py").read_text("utf-8")
        start = {"launcher": self.launcher(), "variables": dict(variables or {})}
        script = ["-c", source, json.dumps(start), str(timeout), module, *arguments]
        with tempfile.TemporaryFile() as archive:
            pack(archive, bundles, files or {})
            archive.seek(0)
            try:
                done = subprocess.run(
                    self.command(script),
                    stdin=archive,
                    capture_output=True,
                    timeout=timeout + _GRACE,
                    check=False,
                    env=self.environment(),
                )
            except subprocess.TimeoutExpired:
                raise RemoteError(
                    f"{self.address}: no answer within {timeout + _GRACE:g} s"
                ) from None
            except FileNotFoundError as error:
                raise RemoteError(f"{self.address}: no command {error.filename} here") from None
        said = done.stderr.decode("utf-8", "replace").strip().splitlines()
        if done.returncode:
            raise RemoteError(f"{self.address}: {self._reason(done.returncode, said)}")
        printed = done.stdout.decode("utf-8", "replace").strip().splitlines()
        if not printed:
            raise RemoteError(f"{self.address}: {module} printed nothing; {last_error(said, 0)}")
        return printed[-1]

    def _reason(self, code: int, said: Sequence[str]) -> str:
        last = said[-1] if said else ""
        if explained := self.explain(code, last):
            return explained
        python = self.given.get("python", "python3")
        if code in (126, 127):
            return (
                f"no {python} there ({last}); install Python 3.11 or newer, or name "
                "one in the address: ?python=/path/to/python"
            )
        return last_error(said, code)
