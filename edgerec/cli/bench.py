"""``edgerec bench``: measure a bundle, here or elsewhere, and set results side by side."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from edgerec.atomic import write_text
from edgerec.cli.shared import check_output, out
from edgerec.errors import DataError, OptionError

__all__ = ["bench"]

TIMEOUT = 600.0

#: Adds quality and overlap to figures.
Judge = Callable[[dict[str, Any]], dict[str, Any]]


def bench(
    files: Annotated[list[Path], typer.Argument(help="an .edgerec file; results, to compare")],
    where: Annotated[
        str,
        typer.Option(
            "--on", help="local, ssh://[user@]host[:port], adb://[serial] or qemu:aarch64"
        ),
    ] = "local",
    compare: Annotated[
        bool, typer.Option("--compare", help="print results that --out wrote side by side")
    ] = False,
    source: Annotated[str | None, typer.Option("--data", help="dataset for real histories")] = None,
    model: Annotated[
        Path | None, typer.Option(help="uncompressed model, to compare the lists of --data with")
    ] = None,
    runtime: Annotated[str | None, typer.Option(help="which of the device's runtimes")] = None,
    threads: Annotated[int, typer.Option(help="for the runtime")] = 1,
    users: Annotated[
        int | None, typer.Option(help="histories of --data to run, 1000; 0 for all", min=0)
    ] = None,
    timeout: Annotated[float, typer.Option(help="seconds after which to give up")] = TIMEOUT,
    output: Annotated[
        Path | None, typer.Option("-o", "--out", help="a .json file to write")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Measure a bundle in a fresh process, on this machine or a device: latency, memory.

    Example: `edgerec bench dist/tflite.edgerec --on ssh://pi@raspberrypi --out pi.json`, then
    `edgerec bench --compare pi.json laptop.json`
    """
    from edgerec.report import print_figures

    if output is not None:
        check_output(output, source, model, *files)
    if compare:
        others = {source, model, runtime, users}
        if where != "local" or threads != 1 or timeout != TIMEOUT or others != {None}:
            raise OptionError(
                "--compare measures nothing; leave --on, --data, --model, --users, --runtime, "
                "--threads and --timeout out"
            )
        results = [_read(file) for file in files]
    elif len(files) > 1:
        raise OptionError(f"expected one bundle, got {len(files)} files; or --compare results")
    else:
        from edgerec.remote import bench_on

        for name, value in (("users", users), ("model", model)):
            if value is not None and source is None:
                raise OptionError(f"--{name}: is of --data, whose histories are run; give both")
        histories, judge = None, None
        if source is not None:
            histories, judge = _users(source, 1000 if users is None else users, model)
        figures = bench_on(
            where,
            files[0],
            histories,
            runtime=runtime,
            threads=threads,
            timeout=timeout,
            lists=judge is not None,
        )
        results = [figures if judge is None else judge(figures)]
    text = json.dumps(results if compare else results[0], indent=2)
    if output is not None:
        write_text(output, text + "\n")
    if as_json:
        out.print_json(text)
    else:
        print_figures([file.stem for file in files] if compare else [where], results, out)


def _read(file: Path) -> dict[str, Any]:
    try:
        figures = json.loads(file.read_text("utf-8"))
    except ValueError:
        figures = None
    if not isinstance(figures, dict) or not {"bundle", "p50_ms", "emulated"} <= figures.keys():
        raise DataError(
            f"{file}: expected results that `edgerec bench --out` wrote; write it again"
        )
    return figures


def _users(source: str, users: int, model: Path | None) -> tuple[list[list[str]], Judge | None]:
    """Histories of a dataset's users, and what compares their lists with a model's."""
    from edgerec.quality import evaluate, evaluation_users
    from edgerec.recipe import histories_of, with_quality
    from edgerec.sources import load
    from edgerec.store import load_model

    dataset = load(source)
    chosen = evaluation_users(dataset, users or None)
    if model is None:
        return histories_of(dataset, chosen), None
    before = evaluate(load_model(model), dataset, users=chosen)
    return histories_of(dataset, chosen), lambda f: with_quality(f, before, dataset, chosen)
