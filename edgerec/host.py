"""The plugin host: discovery through entry points, guarded, with nothing hard-wired."""

from __future__ import annotations

import dataclasses
import functools
import importlib.metadata
import inspect
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import pluggy

from edgerec import hookspecs
from edgerec.codecs import CODECS, Codec
from edgerec.compressor import Compressor
from edgerec.device import Device
from edgerec.errors import PluginError, UnknownNameError
from edgerec.options import build
from edgerec.target import Target

__all__ = ["GROUP", "Host", "Plugin", "host"]

GROUP = "edgerec"

#: Who owns the codecs that are always there.
CORE = "edgerec"

T = TypeVar("T")


@dataclass(frozen=True)
class Plugin:
    """What is known of one installed plugin."""

    name: str
    distribution: str
    version: str
    provides: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    error: str | None = None
    detail: str = ""

    @property
    def state(self) -> str:
        """``ok`` or ``broken``."""
        return "ok" if self.error is None else "broken"


class Registry(Generic[T]):
    """The things of one kind that plugins provide, by name."""

    def __init__(self, kind: str, hook: str, base: type) -> None:
        self.kind, self.hook, self.base = kind, hook, base
        self.entries: dict[str, T] = {}
        self.owners: dict[str, str] = {}
        self.clashes: dict[str, str] = {}


class Host:
    """Loads plugins from entry points and hands out what they provide, by name.

    A plugin that cannot be loaded is unregistered and listed with its reason; asking for
    something by a name that a broken plugin might have provided names that plugin. A name that two
    plugins provide is neither's; what else they provide is there.

    Args:
        entry_points: what to load; the installed group ``edgerec`` by default.
        strict: whether a broken plugin is an error.

    Raises:
        PluginError: ``strict``, and a plugin is broken or provides a name that another
            one provides too.
    """

    def __init__(
        self, entry_points: list[importlib.metadata.EntryPoint] | None = None, strict: bool = False
    ) -> None:
        if entry_points is None:
            entry_points = list(importlib.metadata.entry_points(group=GROUP))
        self.manager = pluggy.PluginManager(GROUP)
        self.manager.add_hookspecs(hookspecs)
        self.plugins: list[Plugin] = []
        self._codecs: Registry[type[Codec]] = Registry("codec", "edgerec_codecs", Codec)
        self._compressors: Registry[type[Compressor]] = Registry(
            "compressor", "edgerec_compressors", Compressor
        )
        self._targets: Registry[type[Target]] = Registry("target", "edgerec_targets", Target)
        self._devices: Registry[Device] = Registry("device", "edgerec_devices", Device)
        for name, codec in CODECS.items():
            self._codecs.entries[name], self._codecs.owners[name] = codec, CORE
        for entry_point in sorted(set(entry_points), key=lambda e: e.name):
            plugin = self._load(entry_point)
            self.plugins.append(plugin)
            if strict and plugin.error:
                raise PluginError(f"plugin {_label(plugin)} is broken: {plugin.error}")
            for kind, names in plugin.provides.items() if strict else ():
                for name in names:
                    if clash := self.clash(kind, name):
                        raise PluginError(clash)

    def _load(self, entry_point: importlib.metadata.EntryPoint) -> Plugin:
        dist = entry_point.dist
        distribution, version = (dist.name, dist.version) if dist else ("unknown", "?")
        plugin = Plugin(entry_point.name, distribution, version)
        module: Any = None
        try:
            module = entry_point.load()
            _check_hooks(module)
            self.manager.register(module, name=f"{distribution}:{entry_point.name}")
            provided = self._collect(module)
            self._add(provided, _label(plugin))
        except PluginError as error:
            return dataclasses.replace(plugin, error=str(error), detail=traceback.format_exc())
        except (Exception, SystemExit) as error:  # noqa: BLE001  # a plugin may raise anything
            reason = f"{type(error).__name__}: {error}"
            return dataclasses.replace(plugin, error=reason, detail=traceback.format_exc())
        finally:
            if module is not None and self.manager.is_registered(module):
                self.manager.unregister(module)
        return dataclasses.replace(
            plugin, provides={r.kind: tuple(things) for r, things in provided if things}
        )

    def _collect(self, module: Any) -> list[tuple[Registry[Any], dict[str, Any]]]:
        """Call the hooks of one plugin and check what they return."""
        others = [p for p in self.manager.get_plugins() if p is not module]
        provided = []
        for registry in (self._codecs, self._compressors, self._targets, self._devices):
            caller = self.manager.subset_hook_caller(registry.hook, remove_plugins=others)
            things: dict[str, Any] = {}
            results = caller()
            if hasattr(module, registry.hook) and not results:
                raise PluginError(f"{registry.hook} returned None; return a list")
            for returned in results:
                if not isinstance(returned, (list, tuple)):
                    raise PluginError(f"{registry.hook} returned {returned!r}, not a list")
            for thing in (t for returned in results for t in returned):
                _check_thing(thing, registry)
                if thing.name in things:
                    raise PluginError(f"it provides the {registry.kind} {thing.name!r} twice")
                things[thing.name] = thing
            provided.append((registry, things))
        return provided

    def _add(self, provided: list[tuple[Registry[Any], dict[str, Any]]], owner: str) -> None:
        """Take what a plugin provides; a name that is taken is nobody's, or core's."""
        for registry, things in provided:
            for name, thing in things.items():
                if name not in registry.owners:
                    registry.entries[name], registry.owners[name] = thing, owner
                    continue
                if registry.owners[name] != CORE:
                    registry.entries.pop(name, None)
                registry.clashes[name] = (
                    f"{registry.kind} {name!r} is provided by both {registry.owners[name]} and "
                    f"{owner}; uninstall one of them"
                )

    def clash(self, kind: str, name: str) -> str | None:
        """What is wrong with a name that two plugins provide; none if only one does."""
        registries = (self._codecs, self._compressors, self._targets, self._devices)
        return next((r.clashes.get(name) for r in registries if r.kind == kind), None)

    def _get(self, registry: Registry[T], name: str) -> T:
        if name in registry.clashes and name not in registry.entries:
            raise PluginError(registry.clashes[name])
        if name not in registry.entries:
            broken = "; ".join(f"{_label(p)}: {p.error}" for p in self.plugins if p.error)
            raise UnknownNameError(registry.kind, name, list(registry.entries), broken)
        return registry.entries[name]

    @property
    def codecs(self) -> Mapping[str, type[Codec]]:
        """Installed codecs, by name."""
        return self._codecs.entries

    @property
    def compressors(self) -> Mapping[str, type[Compressor]]:
        """Installed compressors, by name."""
        return self._compressors.entries

    @property
    def targets(self) -> Mapping[str, type[Target]]:
        """Installed targets, by name."""
        return self._targets.entries

    @property
    def devices(self) -> Mapping[str, Device]:
        """Known device profiles, by name."""
        return self._devices.entries

    def codec(self, name: str, /, **options: Any) -> Codec:
        """Make a codec. Raises UnknownNameError, OptionError."""
        return build(self._get(self._codecs, name), options, name)

    def compressor(self, name: str, /, **options: Any) -> Compressor:
        """Make a compressor. Raises UnknownNameError, OptionError."""
        return build(self._get(self._compressors, name), options, name)

    def target(self, name: str, /, **options: Any) -> Target:
        """Make a target. Raises UnknownNameError, OptionError."""
        return build(self._get(self._targets, name), options, name)

    def device(self, name: str) -> Device:
        """Find a device profile. Raises UnknownNameError."""
        return self._get(self._devices, name)


@functools.lru_cache(maxsize=1)
def host() -> Host:
    """Return the host of the installed plugins; loaded on first use and kept."""
    return Host()


def _label(plugin: Plugin) -> str:
    return f"{plugin.name} ({plugin.distribution} {plugin.version})"


def _check_hooks(module: Any) -> None:
    """Refuse a function that looks like a hook but is none, so that typos do not pass."""
    specs = {n for n in vars(hookspecs) if n.startswith("edgerec_")}
    for name, value in inspect.getmembers(module, inspect.isroutine):
        if name.startswith("edgerec_") and name not in specs:
            raise PluginError(f"{name} is not a hook; hooks: {', '.join(sorted(specs))}")
        if name in specs and not hasattr(value, "edgerec_impl"):
            raise PluginError(f"{name} is not marked; put @hookimpl above it")


def _check_thing(thing: Any, registry: Registry[Any]) -> None:
    """Check that a plugin returned what the hook asks for."""
    is_right: Callable[[Any], bool] = (
        (lambda t: isinstance(t, Device))
        if registry.base is Device
        else (lambda t: inspect.isclass(t) and issubclass(t, registry.base))
    )
    if not is_right(thing):
        raise PluginError(f"{registry.hook} returned {thing!r}, not a {registry.base.__name__}")
    if not isinstance(getattr(thing, "name", None), str) or not thing.name:
        raise PluginError(f"{registry.hook} returned {thing!r}, which has no name")
    parameters = getattr(thing, "__dataclass_params__", None)
    if registry.base is not Device and not getattr(parameters, "frozen", False):
        raise PluginError(f"{thing.__name__} should be a frozen dataclass")
    if missing := sorted(getattr(thing, "__abstractmethods__", ())):
        raise PluginError(f"{thing.__name__} lacks {', '.join(missing)}")
    if registry.base is Compressor:
        _check_space(thing)
    if registry.base is Target:
        # Targets are also made without options: all of them, for a device that names none.
        for option in dataclasses.fields(thing):
            if option.default is option.default_factory is dataclasses.MISSING:
                raise PluginError(f"{thing.__name__}.{option.name} should have a default")


def _check_space(compressor: type[Compressor]) -> None:
    """Check what a compressor lets a planner try."""
    space = compressor.search_space()
    if not isinstance(space, Mapping | None):
        raise PluginError(f"{compressor.__name__}.search_space: expected a mapping, got {space!r}")
    for option, values in (space or {}).items():
        plain = isinstance(values, tuple) and all(
            value is None or isinstance(value, bool | int | float | str) for value in values
        )
        if not values or not plain:
            raise PluginError(
                f"{compressor.__name__}.search_space: {option}: expected a tuple of texts, "
                f"numbers, booleans or None, got {values!r}"
            )
