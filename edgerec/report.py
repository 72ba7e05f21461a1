"""Print what was built."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from edgerec.recipe import Built

__all__ = ["print_built"]


def print_built(built: Sequence[Built], table_bytes: int, console: Console) -> None:
    """Print the steps of the chain and a row a bundle."""
    for step in built[0].steps:
        console.print(
            f"{step.compressor}: {step.bytes_before:,} → {step.bytes_after:,} table bytes, "
            f"{step.seconds:.1f} s",
            highlight=False,
        )
    table = Table(title=f"uncompressed tables: {table_bytes:,} bytes", title_justify="left")
    for name in (
        "target",
        "runtime",
        "bytes",
        "NDCG@20 kept",
        "overlap",
        "p50 ms",
        "p95 ms",
        "peak MB",
    ):
        table.add_column(name, justify="left" if name in ("target", "runtime") else "right")
    for bundle in built:
        f = bundle.figures
        table.add_row(
            bundle.target,
            f"{f['runtime']} {f['runtime_version']}",
            f"{f['bundle_bytes']:,}",
            f"{f['quality']:.1%}",
            f"{f['overlap']:.3f}",
            f"{f['p50_ms']:.2f}",
            f"{f['p95_ms']:.2f}",
            f"{f['peak_rss_bytes'] / 1e6:.0f}",
        )
    console.print(table)
    for bundle in built:
        console.print(f"{bundle.path}", highlight=False)
