"""Tables for the terminal: builds, devices, figures and plugins."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping, Sequence
from typing import Any

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table
from rich.text import Text

from edgerec.building.build import Built
from edgerec.contracts.device import Device
from edgerec.contracts.host import Host
from edgerec.model.core_codecs import CODECS
from edgerec.model.options import describe_options

__all__ = ["plugin_rows", "print_built", "print_devices", "print_figures", "print_rows"]


def print_built(
    built: Sequence[Built], table_bytes: int, console: Console, device: str = "the device"
) -> None:
    """Print the steps of the chain, and one row per bundle, built for a device."""
    for step in built[0].steps:
        console.print(
            f"{step.compressor}: {step.bytes_before:,} → {step.bytes_after:,} table bytes, "
            f"{step.seconds:.1f} s",
            highlight=False,
        )
    table = _table(("target", "runtime"), ("bytes", "kept", "±", "overlap", "p95 ms", "MB"))
    unmeasured = built[0].overlap is not None
    kept = (
        f"quality was not measured; overlap: of the top-20 lists for "
        f"{built[0].figures.histories:,} random histories with those of the uncompressed model"
        if unmeasured
        else "kept: NDCG@20 as a share of the uncompressed model's; ±: half of its 95 % interval, "
        "in %; overlap: of both top-20 lists"
    )
    table.title = f"uncompressed tables: {table_bytes:,} bytes; {kept}; MB: peak memory"
    table.title_justify = "left"
    for bundle in built:
        f = bundle.to_json()
        half = f.get("quality_half")
        table.add_row(
            bundle.target,
            f["runtime"].replace("+", "\n+"),
            f"{f['bundle_bytes']:,}",
            "–" if unmeasured else f"{f['quality']:.1%}",
            "" if half is None else f"{100 * half:.1f}",
            f"{f['overlap']:.3f}",
            f"{f['p95_ms']:.2f}",
            f"{f['peak_rss_bytes'] / 1e6:.0f}",
        )
    console.print(table)
    from edgerec.building.records import where

    for place in dict.fromkeys(where(device, bundle.figures) for bundle in built):
        hint = "; `edgerec bench --on ... --save` measures there" if "not measured" in place else ""
        console.print(f"times and memory: {place}{hint}", highlight=False)
    for bundle in built:
        f = bundle.to_json()
        quality = "" if unmeasured else "  Recall@{k} {recall:.4f}  NDCG@{k} {ndcg:.4f}".format(**f)
        console.print(f"{bundle.path}{quality}", highlight=False)


def print_devices(devices: Sequence[Device], console: Console) -> None:
    """Print one row per device profile."""
    limits = ("file ≤", "memory ≤", "p95 ≤", "kept ≥")
    table = _table(("name", "targets"), limits)
    table.columns[0].no_wrap = False  # a description may be longer than all names
    table.columns[0].min_width = max((len(device.name) for device in devices), default=0)
    table.columns[1].max_width, table.columns[1].no_wrap = 16, False
    for device in devices:
        budget = device.budget
        cells = [
            f"{limit / unit:g}{name}" if limit is not None else "–"
            for limit, unit, name in (
                (budget.max_bundle_bytes, 1e6, " MB"),
                (budget.max_peak_rss_bytes, 1e6, " MB"),
                (budget.max_p95_ms, 1, " ms"),
                (budget.min_quality, 1, ""),
            )
        ]
        name = "\n".join(filter(None, (device.name, device.description)))
        table.add_row(Text(name), ", ".join(device.targets) or "any", *cells)
    console.print(table)


def _table(names: Sequence[str], numbers: Sequence[str]) -> Table:
    """A table that shows names and numbers unbroken on 80 columns and folds the rest."""
    table = Table(box=SIMPLE, pad_edge=False)
    for name in names:
        table.add_column(name, overflow="fold", no_wrap=True)
    for number in numbers:
        table.add_column(number, justify="right", no_wrap=True)
    return table


def print_figures(
    titles: Sequence[str], results: Sequence[Mapping[str, Any]], console: Console
) -> None:
    """Print one column per run of `edgerec bench`, marking figures that mean nothing."""
    table = Table("")
    for title in titles:
        table.add_column(Text(title), overflow="fold")
    for name in dict.fromkeys(name for figures in results for name in figures):
        table.add_row(name, *(Text(_cell(name, figures)) for figures in results))
    console.print(table)
    if any(figures["emulated"] for figures in results):
        console.print("(emulated): times and memory mean nothing under emulation", highlight=False)


def _cell(name: str, figures: Mapping[str, Any]) -> str:
    value = figures.get(name, "")
    if isinstance(value, bool):
        return "yes" if value else "no"
    shown = f"{value:.3f}" if isinstance(value, float) else str(value)
    if isinstance(value, int):
        shown = f"{value:,}"
    costs = name.endswith(("_ms", "_rss_bytes"))
    return f"{shown} (emulated)" if costs and figures["emulated"] else shown


def plugin_rows(host: Host) -> list[dict[str, Any]]:
    """List what core and each plugin provide, with options, and broken plugins with the reason."""
    kinds: dict[str, Mapping[str, Any]] = {
        "codec": host.codecs,
        "compressor": host.compressors,
        "target": host.targets,
        "importer": host.importers,
        "family": host.families,
    }
    rows = [
        {
            "name": name,
            "kind": "codec",
            "plugin": None,
            "distribution": "edgerec",
            "version": importlib.metadata.version("edgerec"),
            "state": "ok",
            "reason": None,
            "options": describe_options(codec),
        }
        for name, codec in CODECS.items()
    ]
    for plugin in host.plugins:
        for kind, names in (plugin.provides or {"plugin": (plugin.name,)}).items():
            for name in names:
                provided = kinds.get(kind, {}).get(name)
                reason = plugin.error or host.clash(kind, name)
                rows.append(
                    {
                        "name": name,
                        "kind": kind,
                        "plugin": plugin.name,
                        "distribution": plugin.distribution,
                        "version": plugin.version,
                        "state": "broken" if reason else "ok",
                        "reason": reason,
                        "options": [] if provided is None else describe_options(provided),
                    }
                )
    return rows


def print_rows(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], console: Console) -> None:
    """Print the given columns of rows as a table."""
    table = Table(*columns)
    for row in rows:
        table.add_row(*(str(row[column] or "") for column in columns))
    console.print(table)
