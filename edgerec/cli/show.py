"""The commands that list what is installed: plugins, devices."""

from __future__ import annotations

import dataclasses
import json
from typing import Annotated

import typer

from edgerec.cli.shared import AsJson, err, out
from edgerec.progress import progress_bar

__all__ = ["devices", "plugins"]


def plugins(
    as_json: AsJson = False,
    strict: Annotated[bool, typer.Option(help="exit with 2 if one is broken")] = False,
    matrix: Annotated[
        bool, typer.Option(help="what each target can do, tried: target, op and codec")
    ] = False,
) -> None:
    """List plugins: what each provides, its distribution, version and state.

    Example: `edgerec plugins --matrix`
    """
    from edgerec.host import Host, host
    from edgerec.report import plugin_rows, print_rows

    installed = Host(strict=True) if strict else host()
    if matrix:
        from edgerec.matrix import capabilities, markdown

        with progress_bar("trying", err) as progress:
            found = capabilities(installed, progress=progress)
        text = json.dumps([dataclasses.asdict(c) for c in found]) if as_json else markdown(found)
        print(text)  # as it is: rich would wrap a table that goes into a file
        return
    rows = plugin_rows(installed)
    if as_json:
        out.print_json(json.dumps(rows))
    else:
        print_rows(rows, ("name", "kind", "distribution", "version", "state", "reason"), out)


def devices(as_json: AsJson = False) -> None:
    """List device profiles and their budgets.

    Example: `edgerec devices`
    """
    from edgerec.host import host
    from edgerec.report import print_devices

    known = [host().devices[name] for name in sorted(host().devices)]
    if as_json:
        out.print_json(json.dumps([dataclasses.asdict(d) for d in known]))
        return
    print_devices(known, out)
