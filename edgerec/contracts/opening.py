"""Open models and bundles, importing no more plugins than they need.

A device waits for every import, and a plugin that is broken should not matter to a bundle of
another one. By convention, a plugin's entry point is named like what it provides, so that one is
tried first. All plugins are imported only if it does not provide the name.
"""

from __future__ import annotations

import functools
import importlib.metadata
from collections.abc import Iterator, Mapping
from pathlib import Path

from edgerec.contracts.bundle import Bundle
from edgerec.contracts.hookspecs import GROUP
from edgerec.contracts.host import Host
from edgerec.contracts.runner import Runner
from edgerec.model.codecs import CODECS, Codec
from edgerec.model.device_model import DeviceModel
from edgerec.model.model_file import read_model_file

__all__ = ["find_runner", "load_model", "open_bundle"]


def load_model(path: str | Path, *, verify: bool = True, host: Host | None = None) -> DeviceModel:
    """Read a model that ``save_model`` wrote; its arrays stay in the memory-mapped file.

    Args:
        path: the file.
        verify: whether to check its contents against their digests.
        host: the plugins whose codecs it may use; the installed ones by default.

    Raises:
        BundleError: the file is damaged, or not a saved model.
    """
    return read_model_file(path, _codecs(host), verify=verify)


def open_bundle(path: str | Path, *, verify: bool = True, host: Host | None = None) -> Bundle:
    """Open a bundle with the codecs of the installed plugins, or of another host.

    Raises:
        BundleError: not a bundle, damaged, or of a newer format.
    """
    return Bundle.open(path, verify=verify, codecs=_codecs(host))


def find_runner(name: str, host: Host | None = None) -> Runner:
    """Find the target that runs a bundle.

    Raises:
        UnknownNameError: no plugin provides it.
    """
    if host is None:
        named = _plugin(name)
        host = named if named is not None and name in named.targets else Host.installed()
    return host.target(name)


class _InstalledCodecs(Mapping[str, type[Codec]]):
    """The codecs of installed plugins, imported when they are looked up."""

    def __getitem__(self, name: str) -> type[Codec]:
        if name in CODECS:
            return CODECS[name]
        named = _plugin(name)
        if named is not None and name in named.codecs:
            return named.codecs[name]
        return Host.installed().codecs[name]

    def __iter__(self) -> Iterator[str]:
        return iter(Host.installed().codecs)

    def __len__(self) -> int:
        return len(Host.installed().codecs)


def _codecs(host: Host | None) -> Mapping[str, type[Codec]]:
    return _InstalledCodecs() if host is None else host.codecs


@functools.cache
def _plugin(name: str) -> Host | None:
    """A host of the plugins with the given entry point; none if there are none."""
    entry_points = importlib.metadata.entry_points(group=GROUP, name=name)
    return Host(entry_points) if entry_points else None
