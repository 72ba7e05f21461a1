"""Place: somewhere a bundle can be run. Each subclass says how a command gets there."""

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

from edgerec.bench import reason
from edgerec.errors import OptionError, RemoteError
from edgerec.remote.carry import pack

__all__ = ["Place"]

#: Seconds that reaching a device, unpacking and cleaning up may take beside the run itself.
GRACE = 120


class Place(abc.ABC):
    """Somewhere to run a module of edgerec beside the bundles that it reads.

    Args:
        where: the address, ``SCHEME:REST[?OPTION=VALUE&...]``.

    Raises:
        OptionError: the address is malformed or has an option that the scheme lacks.
    """

    #: Options that an address of this kind takes.
    options: ClassVar[tuple[str, ...]] = ()

    #: Whether times mean nothing there.
    emulated: ClassVar[bool] = False

    def __init__(self, where: str) -> None:
        self.where = where
        try:
            self.url = urlsplit(where)
        except ValueError as error:
            raise OptionError(f"{where}: malformed address: {error}") from None
        # A form's "+" is a space; in a path it is itself.
        given = parse_qsl(self.url.query.replace("+", "%2B"), keep_blank_values=True)
        self.given = dict(given)
        if self.url.fragment:
            raise OptionError(f"{where}: write # as %23 in an address")
        if len(given) > len(self.given):
            raise OptionError(f"{where}: an option is given twice")
        if unknown := sorted(set(self.given) - set(self.options)):
            raise OptionError(
                f"{where}: unknown option {', '.join(unknown)}; options: {', '.join(self.options)}"
            )
        if empty := [name for name, value in self.given.items() if not value]:
            raise OptionError(f"{where}: {empty[0]}: expected a value, got none")

    @abc.abstractmethod
    def command(self, boot: Sequence[str]) -> list[str]:
        """The local command that runs ``python BOOT...`` there, given the archive on stdin.

        Raises:
            RemoteError: something that this needs is missing here.
        """

    def python(self, boot: Sequence[str]) -> str:
        """``python BOOT...`` for the shell there; a leading ``~/`` is the home folder there."""
        name = self.given.get("python", "python3")
        home, rest = ('"$HOME"/', name[2:]) if name.startswith("~/") else ("", name)
        return f"{home}{shlex.join([rest, *boot])}"

    def launcher(self) -> list[str]:
        """What runs the module there; empty for the Python that unpacked it."""
        return []

    def environment(self) -> dict[str, str] | None:
        """The local command's environment; None for this process's own."""
        return None

    @abc.abstractmethod
    def explain(self, code: int, said: str) -> str:
        """Say what a failure of the way there means; empty if it was none.

        Args:
            code: the local command's exit code, not 0.
            said: the last line of its standard error.
        """

    def describe(self) -> dict[str, Any]:
        """Figures that the way there knows better than the device, which take their place."""
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
        """Carry everything there, run ``python -m MODULE ARGUMENTS``, and clean up.

        Args:
            module: a module of edgerec.
            arguments: for it; bundles and files lie in the folder ``carried``.
            bundles: to carry, with the plugins that they need.
            files: other files to carry, name to content.
            variables: of the module's environment.
            timeout: seconds that the module may run.

        Returns:
            The last line that the module printed.

        Raises:
            RemoteError: the device cannot be reached, lacks something, or the run failed.
        """
        source = Path(__file__).with_name("boot.py").read_text("utf-8")
        start = {"launcher": self.launcher(), "variables": dict(variables or {})}
        boot = ["-c", source, json.dumps(start), str(timeout), module, *arguments]
        with tempfile.TemporaryFile() as archive:
            pack(archive, bundles, files or {})
            archive.seek(0)
            try:
                done = subprocess.run(
                    self.command(boot),
                    stdin=archive,
                    capture_output=True,
                    timeout=timeout + GRACE,
                    check=False,
                    env=self.environment(),
                )
            except subprocess.TimeoutExpired:
                raise RemoteError(f"{self.where}: no answer within {timeout + GRACE:g} s") from None
            except FileNotFoundError as error:
                raise RemoteError(f"{self.where}: no command {error.filename} here") from None
        said = done.stderr.decode("utf-8", "replace").strip().splitlines()
        if done.returncode:
            raise RemoteError(f"{self.where}: {self._reason(done.returncode, said)}")
        printed = done.stdout.decode("utf-8", "replace").strip().splitlines()
        if not printed:
            raise RemoteError(f"{self.where}: {module} printed nothing; {reason(said, 0)}")
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
        return reason(said, code)
