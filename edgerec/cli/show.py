"""The commands that list what is installed: plugins and devices."""

from __future__ import annotations

import dataclasses
import json
from typing import Annotated

import typer

from edgerec.cli.progress import progress_bar
from edgerec.cli.shared import AsJson, err, out

__all__ = ["devices", "plugins"]


def plugins(
    as_json: AsJson = False,
    check: Annotated[
        bool, typer.Option("--check", help="exit with 1 if a plugin is broken or clashes")
    ] = False,
    matrix: Annotated[
        bool, typer.Option(help="try what each target can do, by op and codec")
    ] = False,
    ops: Annotated[bool, typer.Option("--ops", help="list the ops of user encoders")] = False,
) -> None:
    """List plugins with what each provides, its distribution, version and state.

    Example: `edgerec plugins --matrix`
    """
    from edgerec.cli.report import plugin_rows, print_rows
    from edgerec.contracts.host import Host

    if ops:
        from edgerec.model.ops.page import markdown as ops_table

        print(ops_table(), end="")
        return
    installed = Host.installed()
    if matrix:
        from edgerec.exporting.capabilities import capabilities, markdown

        with progress_bar("trying", err) as progress:
            found = capabilities(installed, progress=progress)
        text = json.dumps([dataclasses.asdict(c) for c in found]) if as_json else markdown(found)
        print(text)  # rich would wrap a table that goes into a file
        return
    rows = plugin_rows(installed)
    if as_json:
        out.print_json(json.dumps(rows))
    else:
        print_rows(rows, ("name", "kind", "distribution", "version", "state", "reason"), out)
    if check and any(row["state"] == "broken" for row in rows):
        raise typer.Exit(1)


def devices(as_json: AsJson = False) -> None:
    """List device profiles and their budgets.

    Example: `edgerec devices`
    """
    from edgerec.cli.report import print_devices
    from edgerec.contracts.host import Host

    devices = Host.installed().devices
    known = [devices[name] for name in sorted(devices)]
    if as_json:
        out.print_json(json.dumps([dataclasses.asdict(d) for d in known]))
        return
    print_devices(known, out)
