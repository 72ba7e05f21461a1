"""The hooks of a plugin. A plugin is a module with one entry point in group ``edgerec``.

Each hook returns classes; core instantiates them with the user's options. A class is a
frozen dataclass: its fields are its options, its help and its documentation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from edgerec.codecs import Codec
    from edgerec.compressor import Compressor
    from edgerec.device import Device
    from edgerec.target import Target

hookspec = pluggy.HookspecMarker("edgerec")
hookimpl = pluggy.HookimplMarker("edgerec")


@hookspec
def edgerec_codecs() -> list[type[Codec]]:  # type: ignore[empty-body]  # a hook spec has no body
    """Return codecs: ways to write a table's rows."""


@hookspec
def edgerec_compressors() -> list[type[Compressor]]:  # type: ignore[empty-body]  # as above
    """Return compressors: functions from DeviceModel to DeviceModel."""


@hookspec
def edgerec_targets() -> list[type[Target]]:  # type: ignore[empty-body]  # as above
    """Return export targets: a lowering and the runner of what it wrote."""


@hookspec
def edgerec_devices() -> list[Device]:  # type: ignore[empty-body]  # as above
    """Return device profiles."""
