"""``edgerec bench``: measure a bundle on this machine or a device, and compare results."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from edgerec.cli.shared import (
    Trust,
    UserVectors,
    check_output,
    check_reads_rows,
    err,
    load_data,
    out,
)
from edgerec.contracts.bundle import Bundle
from edgerec.device.figures import Figures
from edgerec.device.histories import History
from edgerec.errors import DataError, OptionError
from edgerec.files.atomic import write_text

__all__ = ["bench"]

_TIMEOUT = 600.0

#: Adds what the lists keep of a model's quality.
_Judge = Callable[[Figures], Figures]


def bench(
    files: Annotated[list[Path], typer.Argument(help="an .edgerec file, or results to compare")],
    where: Annotated[
        str,
        typer.Option(
            "--on", help="local, ssh://[user@]host[:port], adb://[serial] or qemu:aarch64"
        ),
    ] = "local",
    compare: Annotated[
        bool, typer.Option("--compare", help="print results that --out wrote, side by side")
    ] = False,
    source: Annotated[
        str | None, typer.Option("--data", help="dataset whose histories to run")
    ] = None,
    model: Annotated[
        Path | None, typer.Option(help="uncompressed model whose lists to compare with")
    ] = None,
    runtime: Annotated[
        str | None, typer.Option(help="runtime of the device; the best one by default")
    ] = None,
    threads: Annotated[int, typer.Option(help="threads of the runtime")] = 1,
    users: Annotated[
        int | None,
        typer.Option(
            help="number of histories of --data to run, 1000 by default; 0 means all", min=0
        ),
    ] = None,
    timeout: Annotated[float, typer.Option(help="seconds after which to give up")] = _TIMEOUT,
    user_vectors: UserVectors = None,
    trust: Trust = False,
    save: Annotated[
        str | None,
        typer.Option(
            help="device profile, by name or .toml file, whose builds should prefer these figures"
        ),
    ] = None,
    output: Annotated[Path | None, typer.Option("-o", "--out", help=".json file to write")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Measure a bundle in a fresh process, on this machine or a device: latency, memory.

    With --save, builds for that device use its figures instead of those of this machine: for the
    same file as they are, for other files of its target in proportion.

    Example: `edgerec bench dist/tflite.edgerec --on ssh://pi@raspberrypi --save pi-4 --out pi.json`
    and then `edgerec bench --compare pi.json laptop.json`
    """
    from edgerec.cli.report import print_figures

    if output is not None:
        check_output(output, source, model, *files)
    if compare:
        others = {source, model, runtime, users, user_vectors}
        if where != "local" or threads != 1 or timeout != _TIMEOUT or {*others, save} != {None}:
            raise OptionError(
                "--compare measures nothing, so it takes no --on, --data, --model, --users, "
                "--runtime, --threads, --timeout, --user-vectors or --save"
            )
        results = [_read(file) for file in files]
    elif len(files) > 1:
        raise OptionError(
            f"expected one bundle, got {len(files)} files; --compare takes several results"
        )
    else:
        from edgerec.contracts.opening import open_bundle
        from edgerec.remote.bench import bench_on

        # It fails here, and not in another process, if it is no bundle.
        opened = open_bundle(files[0], verify=False)
        for name, value in (
            ("users", users),
            ("model", model),
            ("user-vectors", user_vectors),
        ):
            if value is not None and source is None:
                raise OptionError(f"--{name}: applies to the histories of --data; set both")
        check_reads_rows(user_vectors, files[0])
        histories, judge = None, None
        if source is not None:
            histories, judge = _users(
                source, 1000 if users is None else users, model, opened, user_vectors
            )
        if save is not None:
            save = _device(save, where)
        run = functools.partial(
            bench_on,
            bundle=files[0],
            histories=histories,
            threads=threads,
            timeout=timeout,
            trust=trust,
        )
        figures = run(where, runtime=runtime, lists=judge is not None)
        if save is not None:
            from edgerec.building.records import save_record

            file = save_record(save, files[0], run("local"), figures)
            err.print(f"{file}: builds for {save} prefer these figures")
        results = [(figures if judge is None else judge(figures)).to_json()]
    text = json.dumps(results if compare else results[0], indent=2)
    if output is not None:
        write_text(output, text + "\n")
    if as_json:
        out.print_json(text)
    else:
        print_figures([file.stem for file in files] if compare else [where], results, out)


def _device(name: str, where: str) -> str:
    """The name of an installed profile, or of the one in a file.

    Raises:
        OptionError: the figures would be those of this machine.
    """
    from edgerec.contracts.host import Host

    if where == "local":
        raise OptionError(
            "--save: builds already measure on this machine; name the device with --on, such as "
            "ssh://pi@raspberrypi"
        )
    return Host.installed().device(name).name


def _read(file: Path) -> dict[str, Any]:
    try:
        figures = json.loads(file.read_text("utf-8"))
    except ValueError:
        figures = None
    if not isinstance(figures, dict) or not {"bundle", "p50_ms", "emulated"} <= figures.keys():
        raise DataError(f"{file}: expected results that `edgerec bench --out` wrote; run it again")
    return figures


def _users(
    source: str, users: int, model: Path | None, bundle: Bundle, user_vectors: str | None
) -> tuple[list[History], _Judge | None]:
    """Histories of a dataset's users, and a function that compares their lists with a model's."""
    from edgerec.building.measured import histories_of, with_retention
    from edgerec.contracts.opening import load_model
    from edgerec.data.quality import evaluate, evaluation_users

    dataset = load_data(source, user_vectors)
    chosen = evaluation_users(dataset, users or None)
    histories = histories_of(dataset, chosen, bundle)
    if model is None:
        return histories, None
    before = evaluate(load_model(model), dataset, users=chosen)
    return histories, lambda f: with_retention(f, before, dataset, chosen)
