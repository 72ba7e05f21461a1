"""The archive that is sent to a device: edgerec, pluggy, the plugins that bundles need, and files.

Only Python sources and data travel. Compiled packages (numpy and the bundle's runtime) are built
for one kind of processor and must be on the device already.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import io
import tarfile
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

from edgerec.contracts.bundle import Bundle
from edgerec.contracts.hookspecs import GROUP
from edgerec.contracts.host import Host, Plugin
from edgerec.errors import RemoteError
from edgerec.model.core_codecs import CODECS

__all__ = ["FILES", "needed_plugins", "pack"]

#: The folder in the archive that holds bundles and other files.
FILES = "carried"

#: Suffixes of compiled modules.
_COMPILED = (".so", ".pyd", ".dylib", ".dll")


def pack(file: BinaryIO, bundles: Sequence[Path], files: Mapping[str, bytes]) -> None:
    """Write the archive, an uncompressed tar.

    Args:
        file: open for writing.
        bundles: added under their own names, with the plugins that they need.
        files: other files, as a mapping of names to contents.

    Raises:
        BundleError: a bundle cannot be read.
        UnknownNameError, PluginError: no working plugin provides what a bundle needs.
        RemoteError: a plugin cannot be carried, or two bundles have the same name.
    """
    if len({path.name for path in bundles}) < len(bundles):
        raise RemoteError("two bundles to carry have the same file name; rename one of them")
    plugins = {p.name: p for path in bundles for p in needed_plugins(Bundle.open(path))}
    entry_points = {name: _entry_point(plugin) for name, plugin in plugins.items()}
    packages = {"edgerec", "pluggy", *(e.module.partition(".")[0] for e in entry_points.values())}
    with tarfile.open(fileobj=file, mode="w") as archive:
        for package in sorted(packages):
            for name, path in _sources(package):
                archive.add(path.resolve(), name, recursive=False)
        for name, text in _distributions(plugins, entry_points).items():
            _add(archive, name, text.encode("utf-8"))
        for name, content in files.items():
            _add(archive, f"{FILES}/{name}", content)
        for path in bundles:
            archive.add(path.resolve(), f"{FILES}/{path.name}", recursive=False)


def needed_plugins(bundle: Bundle) -> list[Plugin]:
    """The plugins that provide a bundle's target and the codecs of its tables.

    Raises:
        UnknownNameError, PluginError: no working plugin does.
    """
    codecs = {str(table["codec"]) for table in bundle.manifest["tables"].values()} - set(CODECS)
    codecs |= {name for kind, name in bundle.providers if kind == "codec"}
    host = Host.installed()
    host.target(bundle.target)
    for codec in codecs:
        host.codec(codec)
    return [
        plugin
        for plugin in host.plugins
        if bundle.target in plugin.provides.get("target", ())
        or codecs & set(plugin.provides.get("codec", ()))
    ]


def _entry_point(plugin: Plugin) -> importlib.metadata.EntryPoint:
    for entry in importlib.metadata.entry_points(group=GROUP, name=plugin.name):
        if entry.dist and entry.dist.name == plugin.distribution:
            return entry
    raise RemoteError(f"plugin {plugin.name}: its entry point in {plugin.distribution} is gone")


def _sources(package: str) -> Iterator[tuple[str, Path]]:
    """The files of an importable package or module, with their names in the archive."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise RemoteError(
            f"{package}: cannot be carried, because no such package is installed here"
        )
    origin = Path(spec.origin)
    folder = origin.parent
    files = sorted(folder.rglob("*")) if spec.submodule_search_locations else [origin]
    for path in files:
        name = path.relative_to(folder)
        if path.suffix in _COMPILED:
            raise RemoteError(
                f"{package}: has a compiled part, {name}, which only runs on this kind of "
                "processor; install the package on the device"
            )
        if path.is_file() and "__pycache__" not in path.parts:
            yield f"{package}/{name}" if spec.submodule_search_locations else str(name), path


def _distributions(
    plugins: Mapping[str, Plugin], entry_points: Mapping[str, importlib.metadata.EntryPoint]
) -> dict[str, str]:
    """Metadata by which the device finds the carried plugins, and no others."""
    lines: dict[tuple[str, str], list[str]] = defaultdict(list)
    for name, plugin in plugins.items():
        lines[plugin.distribution, plugin.version].append(f"{name} = {entry_points[name].value}")
    files = {}
    for (distribution, version), entries in lines.items():
        folder = f"{distribution.replace('-', '_')}-{version}.dist-info"
        files[f"{folder}/METADATA"] = (
            f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n"
        )
        files[f"{folder}/entry_points.txt"] = "\n".join([f"[{GROUP}]", *entries, ""])
    return files


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    archive.addfile(info, io.BytesIO(content))
