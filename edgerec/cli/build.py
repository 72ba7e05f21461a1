"""The commands that build for one device or for many."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from edgerec.cli.progress import progress_bar
from edgerec.cli.shared import (
    AsJson,
    ModelFile,
    UserVectors,
    check_reads_rows,
    err,
    load_any,
    load_data,
    out,
)
from edgerec.errors import OptionError

__all__ = ["build", "sweep"]

_DataFile = Annotated[str, typer.Option("--data", help="dataset with held-out interactions")]
_Pruning = Annotated[
    bool,
    typer.Option("--allow-pruning-items", help="let a search take items out of the catalogue"),
]
_TrialSeconds = Annotated[
    float | None,
    typer.Option(help="time after which a search stops a chain that trains; no limit by default"),
]
_Folder = Annotated[Path, typer.Option("-o", "--out", help="folder for the bundles")]


def build(
    model: ModelFile,
    output: _Folder,
    source: Annotated[
        str | None,
        typer.Option("--data", help="dataset with held-out interactions; or pass --no-quality"),
    ] = None,
    no_quality: Annotated[
        bool,
        typer.Option(
            "--no-quality",
            help="build without --data, and do not measure quality; lists for random histories are "
            "compared with the uncompressed model's",
        ),
    ] = False,
    recipe: Annotated[Path | None, typer.Option(help="a TOML recipe, instead of the flags")] = None,
    compress: Annotated[
        list[str] | None,
        typer.Option(help="compressor, name:option=value,...; repeat it for a chain"),
    ] = None,
    target: Annotated[
        list[str] | None, typer.Option(help="target; repeat it for more; all by default")
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="device profile: a name or a .toml file")
    ] = None,
    top_k: Annotated[
        int | None, typer.Option(help="most recommendations that can be requested, 50 by default")
    ] = None,
    trials: Annotated[
        int | None, typer.Option(help="number of chains that a search tries, 30 by default")
    ] = None,
    storage: Annotated[
        str | None, typer.Option(help="URL of a study shared by several machines")
    ] = None,
    seed: Annotated[int, typer.Option(help="seed of every random choice", min=0)] = 0,
    users: Annotated[
        int | None,
        typer.Option(
            help="number of test users to measure on, 1000 by default, or of validation users of a "
            "search, 10000 by default; 0 means all; with --no-quality, of histories, at most 1000",
            min=0,
        ),
    ] = None,
    allow_pruning_items: _Pruning = False,
    trial_seconds: _TrialSeconds = None,
    user_vectors: UserVectors = None,
    as_json: AsJson = False,
) -> None:
    """Compress a model, export it, and measure each bundle against the device's budget.

    With a device and no --compress, it searches for the best chain inside the budget: the smallest
    that keeps quality or, with --no-quality, that keeps the lists of the uncompressed model.

    Example: `edgerec build shop.model --data shop.dataset --device pixel-6a
    --compress quantize:codec=int8 -o dist`
    """
    from edgerec.building.build import build as run_build
    from edgerec.building.recipe import Recipe, load_recipe
    from edgerec.building.search.plan import plan
    from edgerec.contracts.host import Host
    from edgerec.contracts.opening import load_model
    from edgerec.model.options import parse_spec

    if no_quality == (source is not None):
        raise OptionError(
            "--no-quality: is for models without interactions, so it takes no --data; drop one"
            if no_quality
            else "--data: is needed to measure quality; pass --no-quality if there are no "
            "interactions"
        )
    if recipe is not None and (compress or target or device or top_k is not None):
        raise OptionError(
            "--recipe: replaces --compress, --target, --device and --top-k; use one or the other"
        )
    chosen = (
        load_recipe(recipe)
        if recipe is not None
        else Recipe(
            tuple(parse_spec(c) for c in compress or []),
            tuple(target or []),
            None if device is None else Host.installed().device(device),
            50 if top_k is None else top_k,
        )
    )
    searches = chosen.device is not None and not chosen.compress
    given = trials is not None or storage is not None or trial_seconds is not None
    if not searches and (given or allow_pruning_items):
        raise OptionError(
            "--trials, --trial-seconds, --storage, --allow-pruning-items: apply to a search, which "
            "needs --device and no --compress"
        )
    check_reads_rows(user_vectors, model)
    loaded, dataset = load_model(model), load_any(source, user_vectors)
    left_out: dict[str, str] = {}
    with progress_bar("building", err) as progress:
        if chosen.device is not None and searches:
            found = plan(
                loaded,
                dataset,
                chosen.device,
                folder=output,
                targets=chosen.targets or None,
                trials=30 if trials is None else trials,
                storage=storage,
                seed=seed,
                users=10_000 if users is None else users or None,
                top_k=chosen.top_k,
                allow_pruning_items=allow_pruning_items,
                trial_seconds=trial_seconds,
                progress=progress,
            )
            built = list(found.built)
        else:
            made = run_build(
                loaded,
                dataset,
                chosen,
                output,
                users=1000 if users is None else users or None,
                seed=seed,
                progress=progress,
            )
            built, left_out = list(made), made.left_out
    for reason in left_out.values():
        err.print(f"left out: {reason}")
    if as_json:
        out.print_json(json.dumps([{**b.to_json(), "path": str(b.path)} for b in built]))
        return
    from edgerec.cli.report import print_built

    name = "the device" if chosen.device is None else chosen.device.name
    print_built(built, loaded.table_bytes, out, name)


def sweep(
    model: ModelFile,
    source: _DataFile,
    output: _Folder,
    device: Annotated[
        list[str] | None,
        typer.Option(
            help="device profile: a name or a .toml file; repeat it for more; all by default"
        ),
    ] = None,
    trials: Annotated[int, typer.Option(help="number of chains to try")] = 30,
    storage: Annotated[
        str | None, typer.Option(help="URL of a study shared by several machines")
    ] = None,
    seed: Annotated[int, typer.Option(help="seed of every random choice", min=0)] = 0,
    users: Annotated[
        int, typer.Option(help="number of validation users of the search; 0 means all", min=0)
    ] = 10_000,
    allow_pruning_items: _Pruning = False,
    trial_seconds: _TrialSeconds = None,
    user_vectors: UserVectors = None,
) -> None:
    """Build for many devices with one search, each bundle inside its device's budget.

    After an interruption, the same command resumes. The exit code is 2 if a device got no bundle.

    Example: `edgerec sweep shop.model --data shop.dataset -o dist`
    """
    from edgerec.building.search.sweep import sweep as run_sweep
    from edgerec.contracts.host import Host
    from edgerec.contracts.opening import load_model

    check_reads_rows(user_vectors, model)
    host = Host.installed()
    names = device or sorted(host.devices)
    with progress_bar("sweeping", err) as progress:
        found = run_sweep(
            load_model(model),
            load_data(source, user_vectors),
            [host.device(name) for name in names],
            folder=output,
            trials=trials,
            storage=storage,
            seed=seed,
            users=users or None,
            allow_pruning_items=allow_pruning_items,
            trial_seconds=trial_seconds,
            progress=progress,
        )
    print((output / "sweep.md").read_text("utf-8"))  # rich would wrap its rows
    if any(swept.error for swept in found):
        raise typer.Exit(2)
