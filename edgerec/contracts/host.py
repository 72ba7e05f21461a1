"""The plugin host: discovery through entry points, guarded, with nothing hard-wired."""

from __future__ import annotations

import dataclasses
import functools
import importlib.metadata
import traceback
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import pluggy

from edgerec.contracts import hookspecs
from edgerec.contracts.checks import (
    check_api_version,
    check_hooks,
    check_provided,
    declared_api_version,
)
from edgerec.contracts.compressor import Compressor
from edgerec.contracts.device import Device, load_device
from edgerec.contracts.family import Family
from edgerec.contracts.hookspecs import GROUP
from edgerec.contracts.importer import Importer
from edgerec.contracts.importing import import_plugin
from edgerec.contracts.target import Target
from edgerec.errors import PluginError, UnknownNameError
from edgerec.model.codecs import Codec
from edgerec.model.core_codecs import CODECS
from edgerec.model.options import from_options

__all__ = ["Host", "Plugin"]

#: The owner of the codecs that are always there.
_CORE = "edgerec"

T = TypeVar("T")


@dataclass(frozen=True)
class Plugin:
    """What is known about one installed plugin.

    Args:
        name: the name of its entry point.
        dist: the distribution that brings it; its metadata are read only if they are needed.
        provides: names of what it provides, by kind.
        error: why it is broken; none if it is not.
        detail: the traceback of that error.
    """

    name: str
    dist: importlib.metadata.Distribution | None = dataclasses.field(compare=False)
    provides: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    error: str | None = None
    detail: str = ""

    @property
    def state(self) -> str:
        """``ok`` or ``broken``."""
        return "ok" if self.error is None else "broken"

    @functools.cached_property
    def distribution(self) -> str:
        """The name of its distribution."""
        return self.dist.name if self.dist is not None else "unknown"

    @functools.cached_property
    def version(self) -> str:
        """The version of its distribution."""
        return self.dist.version if self.dist is not None else "?"

    @property
    def label(self) -> str:
        """The plugin with its distribution and version, for messages."""
        return f"{self.name} ({self.distribution} {self.version})"


class _Registry(Generic[T]):
    """What plugins provide of one kind, by name."""

    def __init__(self, kind: str, hook: str, base: type) -> None:
        self.kind, self.hook, self.base = kind, hook, base
        self.entries: dict[str, T] = {}
        self.owners: dict[str, Plugin | None] = {}
        self.clashes: dict[str, str] = {}

    def add(self, name: str, thing: T, owner: Plugin | None) -> None:
        """Add something; a name that another plugin provides, too, belongs to neither.

        What has no owner is core's.
        """
        if name not in self.owners:
            self.entries[name], self.owners[name] = thing, owner
            return
        first = self.owners[name]
        if first is not None:
            self.entries.pop(name, None)
        one, other = (_CORE if plugin is None else plugin.label for plugin in (first, owner))
        self.clashes[name] = (
            f"{self.kind} {name!r} is provided by both {one} and {other}; uninstall one of them"
        )


class Host:
    """Loads plugins from entry points and hands out what they provide, by name.

    A plugin that cannot be loaded is listed with the reason and provides nothing. Requesting a
    name that no working plugin provides names the broken ones, because one of them may be meant.
    A name that two plugins provide belongs to neither; whatever else they provide is available.

    Args:
        entry_points: the plugins to load; by default those of the installed group ``edgerec``.
        strict: whether a broken plugin is an error.

    Raises:
        PluginError: ``strict``, and a plugin is broken or clashes with another.
    """

    def __init__(
        self,
        entry_points: Iterable[importlib.metadata.EntryPoint] | None = None,
        strict: bool = False,
    ) -> None:
        if entry_points is None:
            entry_points = importlib.metadata.entry_points(group=GROUP)
        self.manager = pluggy.PluginManager(GROUP)
        self.manager.add_hookspecs(hookspecs)
        self.plugins: list[Plugin] = []
        self._codecs: _Registry[type[Codec]] = _Registry("codec", "edgerec_codecs", Codec)
        self._compressors: _Registry[type[Compressor]] = _Registry(
            "compressor", "edgerec_compressors", Compressor
        )
        self._targets: _Registry[type[Target]] = _Registry("target", "edgerec_targets", Target)
        self._devices: _Registry[Device] = _Registry("device", "edgerec_devices", Device)
        self._importers: _Registry[type[Importer]] = _Registry(
            "importer", "edgerec_importers", Importer
        )
        self._families: _Registry[type[Family]] = _Registry("family", "edgerec_families", Family)
        self._registries: tuple[_Registry[Any], ...] = (
            *(self._codecs, self._compressors, self._targets),
            *(self._devices, self._importers, self._families),
        )
        for name, codec in CODECS.items():
            self._codecs.add(name, codec, None)
        for entry_point in sorted(set(entry_points), key=lambda e: e.name):
            self.plugins.append(plugin := self._load(entry_point))
            if strict:
                self._refuse_faults(plugin)

    @classmethod
    @functools.lru_cache(maxsize=1)
    def installed(cls) -> Host:
        """The host of the installed plugins, loaded on first use."""
        return cls()

    def _load(self, entry_point: importlib.metadata.EntryPoint) -> Plugin:
        plugin = Plugin(entry_point.name, entry_point.dist)
        module: Any = None
        try:
            if (declared := declared_api_version(entry_point)) is not None:
                check_api_version(declared)
            module = import_plugin(entry_point)
            check_api_version(getattr(module, "edgerec_api", None))
            check_hooks(module)
            self.manager.register(module, name=f"{len(self.plugins)}:{entry_point.name}")
            provided = self._collect(module)
        except (Exception, SystemExit) as error:  # noqa: BLE001  # a plugin may raise anything
            if module is not None and self.manager.is_registered(module):
                self.manager.unregister(module)
            reason = str(error)
            if not isinstance(error, PluginError):
                reason = f"{type(error).__name__}: {error}"
            return dataclasses.replace(plugin, error=reason, detail=traceback.format_exc())
        for registry, things in provided:
            for name, thing in things.items():
                registry.add(name, thing, plugin)
        return dataclasses.replace(
            plugin, provides={r.kind: tuple(things) for r, things in provided if things}
        )

    def _collect(self, module: Any) -> list[tuple[_Registry[Any], dict[str, Any]]]:
        """Call the hooks of one plugin and check what they return."""
        others = [p for p in self.manager.get_plugins() if p is not module]
        provided = []
        for registry in self._registries:
            caller = self.manager.subset_hook_caller(registry.hook, remove_plugins=others)
            things: dict[str, Any] = {}
            results = caller()
            if hasattr(module, registry.hook) and not results:
                raise PluginError(f"{registry.hook} returned None; return a list")
            for returned in results:
                if not isinstance(returned, (list, tuple)):
                    raise PluginError(f"{registry.hook} returned {returned!r}, not a list")
            for thing in (t for returned in results for t in returned):
                check_provided(thing, registry.hook, registry.base)
                if thing.name in things:
                    raise PluginError(f"it provides the {registry.kind} {thing.name!r} twice")
                things[thing.name] = thing
            provided.append((registry, things))
        return provided

    def _refuse_faults(self, plugin: Plugin) -> None:
        if plugin.error:
            raise PluginError(f"plugin {plugin.label} is broken: {plugin.error}")
        for kind, names in plugin.provides.items():
            for name in names:
                if clash := self.clash(kind, name):
                    raise PluginError(clash)

    def provider(self, kind: str, name: str) -> Plugin | None:
        """The plugin that provides something of a kind; none if it is core's, or of no plugin."""
        return next((p for p in self.plugins if name in p.provides.get(kind, ())), None)

    def clash(self, kind: str, name: str) -> str | None:
        """Why a name belongs to no plugin, if two provide it; otherwise none."""
        return next((r.clashes.get(name) for r in self._registries if r.kind == kind), None)

    def _get(self, registry: _Registry[T], name: str) -> T:
        if name in registry.clashes and name not in registry.entries:
            raise PluginError(registry.clashes[name])
        if name not in registry.entries:
            broken = "; ".join(f"{p.label}: {p.error}" for p in self.plugins if p.error)
            raise UnknownNameError(registry.kind, name, list(registry.entries), broken)
        return registry.entries[name]

    @property
    def codecs(self) -> Mapping[str, type[Codec]]:
        """Available codecs, by name."""
        return self._codecs.entries

    @property
    def compressors(self) -> Mapping[str, type[Compressor]]:
        """Available compressors, by name."""
        return self._compressors.entries

    @property
    def targets(self) -> Mapping[str, type[Target]]:
        """Available targets, by name."""
        return self._targets.entries

    @property
    def devices(self) -> Mapping[str, Device]:
        """Known device profiles, by name."""
        return self._devices.entries

    @property
    def importers(self) -> Mapping[str, type[Importer]]:
        """Available importers, by name."""
        return self._importers.entries

    @property
    def families(self) -> Mapping[str, type[Family]]:
        """Available GNN families, by name."""
        return self._families.entries

    def _make(self, registry: _Registry[type[T]], name: str, options: Mapping[str, Any]) -> T:
        return from_options(self._get(registry, name), options, name, {Codec: self.codecs})

    def codec(self, name: str, /, **options: Any) -> Codec:
        """Make a codec. Raises UnknownNameError, OptionError."""
        return self._make(self._codecs, name, options)

    def compressor(self, name: str, /, **options: Any) -> Compressor:
        """Make a compressor. Raises UnknownNameError, OptionError."""
        return self._make(self._compressors, name, options)

    def target(self, name: str, /, **options: Any) -> Target:
        """Make a target. Raises UnknownNameError, OptionError."""
        return self._make(self._targets, name, options)

    def importer(self, name: str, /, **options: Any) -> Importer:
        """Make an importer. Raises UnknownNameError, OptionError."""
        return self._make(self._importers, name, options)

    def family(self, name: str, /, **options: Any) -> Family:
        """Make a GNN family. Raises UnknownNameError, OptionError."""
        return self._make(self._families, name, options)

    def device(self, name: str) -> Device:
        """Find a device profile by name, or read one from a path ending in ``.toml``.

        Raises:
            UnknownNameError: no profile has that name.
            OptionError: the file cannot be read or a value is wrong.
        """
        return load_device(name) if name.endswith(".toml") else self._get(self._devices, name)
