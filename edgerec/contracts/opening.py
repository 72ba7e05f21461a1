"""Open models and bundles, importing no more plugins than they need.

A device waits for every import, and a plugin that is broken should not matter to a bundle of
another one. The manifest names the distribution and the entry point that provided the target and
each codec, so that these alone are imported. Without such names, the entry point that is named like
what is wanted is tried first, and all plugins are imported only if it does not provide the name.
"""

from __future__ import annotations

import functools
import importlib.metadata
from collections.abc import Iterator, Mapping
from pathlib import Path

from edgerec.contracts.bundle import Bundle
from edgerec.contracts.hookspecs import GROUP
from edgerec.contracts.host import Host
from edgerec.contracts.manifest import Provider
from edgerec.contracts.runner import Runner
from edgerec.errors import UnknownNameError
from edgerec.model.codecs import Codec
from edgerec.model.core_codecs import CODECS
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
    return read_model_file(path, _InstalledCodecs() if host is None else host.codecs, verify=verify)


def open_bundle(path: str | Path, *, verify: bool = True, host: Host | None = None) -> Bundle:
    """Open a bundle with the codecs of the installed plugins, or of another host.

    Raises:
        BundleError: not a bundle, damaged, or of a newer format.
    """
    if host is not None:
        return Bundle.open(path, verify=verify, codecs=host.codecs)
    codecs = _InstalledCodecs()
    bundle = Bundle.open(path, verify=verify, codecs=codecs)
    codecs.providers = {
        name: provider for (kind, name), provider in bundle.providers.items() if kind == "codec"
    }
    return bundle


def find_runner(bundle: Bundle, host: Host | None = None) -> Runner:
    """Find the target that runs a bundle.

    Raises:
        UnknownNameError: no plugin provides it; the message says what to install.
    """
    name = bundle.target
    if host is not None:
        return host.target(name)
    provider = bundle.providers.get(("target", name))
    named = _named(name, provider, "targets")
    if named is not None:
        return named.target(name)
    try:
        return Host.installed().target(name)
    except UnknownNameError as error:
        if provider is not None:
            error.args = (f"{error}. It was made with {provider}",)
        raise


class _InstalledCodecs(Mapping[str, type[Codec]]):
    """The codecs of installed plugins, imported when they are looked up."""

    def __init__(self) -> None:
        self.providers: Mapping[str, Provider] = {}

    def __getitem__(self, name: str) -> type[Codec]:
        if name in CODECS:
            return CODECS[name]
        named = _named(name, self.providers.get(name), "codecs")
        return (named or Host.installed()).codecs[name]

    def __iter__(self) -> Iterator[str]:
        return iter(Host.installed().codecs)

    def __len__(self) -> int:
        return len(Host.installed().codecs)


def _named(name: str, provider: Provider | None, kind: str) -> Host | None:
    """A host of a single plugin that provides something; none if it has to be searched for."""
    named = [] if provider is None else [(provider.entry_point, provider.distribution)]
    for entry_point, distribution in [*named, (name, None)]:
        host = _plugin(entry_point, distribution)
        if host is not None and name in getattr(host, kind):
            return host
    return None


@functools.cache
def _plugin(entry_point: str, distribution: str | None) -> Host | None:
    """A host of the plugins with the given entry point, of one distribution or of any."""
    if distribution is None:
        found = importlib.metadata.entry_points(group=GROUP, name=entry_point)
        return Host(found) if found else None
    try:
        every = importlib.metadata.distribution(distribution).entry_points
    except importlib.metadata.PackageNotFoundError:
        return None
    found = every.select(group=GROUP, name=entry_point)
    return Host(found) if found else None
