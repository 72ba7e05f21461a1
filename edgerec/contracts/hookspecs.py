"""The hooks of a plugin. A plugin is a module with one entry point in the group ``edgerec``.

Each hook returns classes; a host instantiates them with the user's options. A class is a frozen
dataclass: its fields are its options, its command-line help and its documentation.
"""

from __future__ import annotations

import pluggy

from edgerec.contracts.compressor import Compressor
from edgerec.contracts.device import Device
from edgerec.contracts.family import Family
from edgerec.contracts.importer import Importer
from edgerec.contracts.target import Target
from edgerec.model.codecs import Codec

__all__ = [
    "API_VERSION",
    "GROUP",
    "edgerec_codecs",
    "edgerec_compressors",
    "edgerec_devices",
    "edgerec_families",
    "edgerec_importers",
    "edgerec_targets",
    "hookimpl",
    "hookspec",
]

#: The entry-point group of plugins.
GROUP = "edgerec"

#: The version of ``edgerec.plugin`` and of these hooks. A plugin declares the version that it was
#: written for in its module, ``edgerec_api = 2``; the version rises when a change breaks plugins.
API_VERSION = 2

#: Marks the specification of a hook.
hookspec = pluggy.HookspecMarker(GROUP)

#: Marks a plugin's implementation of a hook.
hookimpl = pluggy.HookimplMarker(GROUP)


@hookspec
def edgerec_codecs() -> list[type[Codec]]:  # type: ignore[empty-body]  # a hook spec has no body
    """Return codecs: ways to write a table's rows."""


@hookspec
def edgerec_compressors() -> list[type[Compressor]]:  # type: ignore[empty-body]  # as above
    """Return compressors: functions from DeviceModel to DeviceModel."""


@hookspec
def edgerec_targets() -> list[type[Target]]:  # type: ignore[empty-body]  # as above
    """Return export targets, which lower a model and run what they wrote."""


@hookspec
def edgerec_devices() -> list[Device]:  # type: ignore[empty-body]  # as above
    """Return device profiles."""


@hookspec
def edgerec_importers() -> list[type[Importer]]:  # type: ignore[empty-body]  # as above
    """Return importers, which read trained models of other libraries."""


@hookspec
def edgerec_families() -> list[type[Family]]:  # type: ignore[empty-body]  # as above
    """Return families of graph neural networks, which ``train`` trains."""
