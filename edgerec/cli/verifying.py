"""The command that checks a bundle, against a budget or against its own test vectors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from edgerec.cli.shared import (
    AsJson,
    BundleFile,
    Trust,
    UserVectors,
    check_reads_rows,
    load_any,
    out,
)
from edgerec.errors import OptionError

__all__ = ["verify"]


def verify(
    bundle: BundleFile,
    device: Annotated[
        str | None, typer.Option(help="device profile: a name or a .toml file")
    ] = None,
    source: Annotated[
        str | None, typer.Option("--data", help="dataset, needed if the budget has min_quality")
    ] = None,
    model: Annotated[
        Path | None, typer.Option(help="uncompressed model, needed if the budget has min_quality")
    ] = None,
    runtime: Annotated[
        str | None, typer.Option(help="installed runtime; the best one by default")
    ] = None,
    trust: Trust = False,
    replay: Annotated[
        bool, typer.Option("--replay", help="compare the lists of the bundle's own test vectors")
    ] = False,
    where: Annotated[
        str | None, typer.Option("--on", help="device to replay on, as for `edgerec bench`")
    ] = None,
    users: Annotated[
        int, typer.Option(help="number of test users to measure on; 0 means all", min=0)
    ] = 0,
    user_vectors: UserVectors = None,
    as_json: AsJson = False,
) -> None:
    """Check a bundle against a device's budget, or replay its test vectors.

    The exit code is 2 if it breaks a limit, or if a list differs.

    Example: `edgerec verify dist/tflite.edgerec --device pixel-6a --data shop.dataset
    --model shop.model`, or `edgerec verify dist/tflite.edgerec --replay --on ssh://pi@raspberrypi`
    """
    from edgerec.building.verify import verify as run_verify
    from edgerec.cli.report import print_figures
    from edgerec.contracts.host import Host
    from edgerec.contracts.opening import load_model

    if replay:
        if device or source or model or users or user_vectors:
            raise OptionError(
                "--replay: compares lists, so it takes no --device, --data, --model, --users or "
                "--user-vectors"
            )
        _replay(bundle, where or "local", runtime, trust, as_json)
        return
    if device is None or where is not None:
        raise OptionError("expected --device, or --replay, to which --on applies")
    if (source is None) != (model is None) or (users and source is None):
        raise OptionError(
            "--data, --model: quality needs both, and --users applies to it; set both or neither"
        )
    check_reads_rows(user_vectors, bundle)
    chosen = Host.installed().device(device)
    figures, broken = run_verify(
        bundle,
        chosen,
        dataset=load_any(source, user_vectors),
        model=None if model is None else load_model(model),
        users=users or None,
        runtime=runtime,
        trust=trust,
    )
    if as_json:
        out.print_json(json.dumps({"figures": figures.to_json(), "broken": broken}))
    else:
        print_figures([chosen.name], [figures.to_json()], out)
        out.print("\n".join(broken) or f"inside the budget of {chosen.name}", markup=False)
    if broken:
        raise typer.Exit(2)


def _replay(bundle: Path, where: str, runtime: str | None, trust: bool, as_json: bool) -> None:
    """Replay test vectors and print what differs."""
    from edgerec.remote.replay import replay_on

    wrong = replay_on(where, bundle, runtime=runtime, trust=trust)
    if as_json:
        out.print_json(json.dumps(wrong))
    else:
        out.print("\n".join(wrong) or f"every test vector has its list on {where}", markup=False)
    if wrong:
        raise typer.Exit(2)
