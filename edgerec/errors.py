"""Every error edgerec raises on purpose.

    EdgerecError
    ├── DataError            interactions that cannot be read or are not usable
    ├── ModelError           a DeviceModel, table or op that is not well formed
    │   └── CodecError       a matrix that a codec cannot hold, or damaged codes
    ├── OptionError          a wrong value of an option, recipe or profile
    │   └── UnknownNameError a name that no installed plugin provides
    ├── PluginError          a plugin that is broken, or clashes with another
    ├── CompressError        a compressor that failed or had no effect
    ├── TargetError          a model that a target refuses, or a failed export
    │   └── RuntimeMissingError  the runtime that a bundle needs is not installed
    ├── BudgetError          a bundle over its device's budget
    ├── RemoteError          a device that cannot be reached, or cannot run a bundle
    └── BundleError          a file that is not a complete, undamaged edgerec file
        └── ForeignFileError a file of something else

Each message says what was wrong, where, and what to do about it. Users can fix the cause of all of
them, so the command line prints the message without a traceback and exits with 2.
"""

from pathlib import Path

__all__ = [
    "BudgetError",
    "BundleError",
    "CodecError",
    "CompressError",
    "DataError",
    "EdgerecError",
    "ForeignFileError",
    "ModelError",
    "OptionError",
    "PluginError",
    "RemoteError",
    "RuntimeMissingError",
    "TargetError",
    "UnknownNameError",
]


class EdgerecError(Exception):
    """Base of all errors that edgerec raises on purpose."""


class DataError(EdgerecError):
    """Interactions that cannot be read, or that are not usable once read."""


class ModelError(EdgerecError):
    """A device model, table or op that is not well formed."""


class CodecError(ModelError):
    """A matrix that a codec cannot hold, or codes that are damaged."""


class OptionError(EdgerecError):
    """A wrong value of an option, recipe or profile."""


class UnknownNameError(OptionError):
    """A name that no installed plugin provides.

    The message lists the known names and the broken plugins, one of which may be the one meant.
    """

    def __init__(self, kind: str, name: str, known: list[str], broken: str = "") -> None:
        listed = ", ".join(sorted(known)) or "none installed"
        hint = f"; broken plugins: {broken}" if broken else ""
        super().__init__(f"unknown {kind} {name!r}; known: {listed}{hint}")
        self.kind = kind
        self.name = name


class PluginError(EdgerecError):
    """A plugin that is broken, or that clashes with another."""


class CompressError(EdgerecError):
    """A compressor that failed or had no effect."""


class TargetError(EdgerecError):
    """A model that a target refuses, or an export that failed."""


class RuntimeMissingError(TargetError):
    """The runtime that a bundle needs is not installed."""


class BudgetError(EdgerecError):
    """A bundle that is over its device's budget."""


class RemoteError(EdgerecError):
    """A device that cannot be reached, or that cannot run a bundle."""


class BundleError(EdgerecError):
    """A file that is not a complete, undamaged edgerec file."""


class ForeignFileError(BundleError):
    """A file that is not one of edgerec's, and may be another library's."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"{path}: not an edgerec file (it does not begin with EDGEREC1)")
        self.path = path
