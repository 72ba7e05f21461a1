"""The commands that build for a device, and check what was built."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from edgerec.cli.shared import AsJson, BundleFile, ModelFile, err, out
from edgerec.errors import OptionError
from edgerec.progress import progress_bar

__all__ = ["build", "sweep", "verify"]

DataFile = Annotated[str, typer.Option("--data", help="dataset with held-out interactions")]
Folder = Annotated[Path, typer.Option("-o", "--out", help="folder for the bundles")]


def build(
    model: ModelFile,
    source: DataFile,
    output: Folder,
    recipe: Annotated[Path | None, typer.Option(help="a TOML recipe, instead of the flags")] = None,
    compress: Annotated[
        list[str] | None, typer.Option(help="name:option=value,...; repeat for a chain")
    ] = None,
    target: Annotated[
        list[str] | None, typer.Option(help="repeat for more; all by default")
    ] = None,
    device: Annotated[str | None, typer.Option(help="a profile's name, or its .toml")] = None,
    top_k: Annotated[
        int | None, typer.Option(help="most recommendations that can be asked for; 50")
    ] = None,
    trials: Annotated[
        int | None, typer.Option(help="chains to try, where none is given; 30")
    ] = None,
    storage: Annotated[str | None, typer.Option(help="study's URL, for many machines")] = None,
    seed: Annotated[int, typer.Option(help="of every random choice", min=0)] = 0,
    users: Annotated[int, typer.Option(help="test users to measure on; 0 for all", min=0)] = 1000,
    as_json: AsJson = False,
) -> None:
    """Compress a model, export it, and measure each bundle against the device's budget.

    With a device and no chain it searches for the best chain inside the budget.

    Example: `edgerec build shop.model --data shop.dataset --device pixel-6a
    --compress quantize:codec=int8 -o dist`
    """
    from edgerec.options import parse_spec
    from edgerec.planner import plan
    from edgerec.recipe import Recipe, find_device, load_recipe
    from edgerec.recipe import build as run_build
    from edgerec.sources import load
    from edgerec.store import load_model

    if recipe is not None and (compress or target or device or top_k is not None):
        raise OptionError(
            "--recipe: give a recipe or --compress, --target, --device, --top-k, not both"
        )
    chosen = (
        load_recipe(recipe)
        if recipe is not None
        else Recipe(
            tuple(parse_spec(c) for c in compress or []),
            tuple(target or []),
            None if device is None else find_device(device),
            50 if top_k is None else top_k,
        )
    )
    searches = chosen.device is not None and not chosen.compress
    if not searches and (trials is not None or storage is not None):
        raise OptionError(
            "--trials, --storage: are of a search, for a device and without a chain; leave them out"
        )
    loaded, dataset = load_model(model), load(source)
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
                users=users or None,
                top_k=chosen.top_k,
                progress=progress,
            )
            built = list(found.built)
        else:
            made = run_build(
                loaded, dataset, chosen, output, users=users or None, seed=seed, progress=progress
            )
            built, left_out = list(made), made.left_out
    for reason in left_out.values():
        err.print(f"left out: {reason}")
    if as_json:
        out.print_json(json.dumps([{**b.figures, "path": str(b.path)} for b in built]))
        return
    from edgerec.report import print_built

    print_built(built, loaded.table_bytes, out)


def sweep(
    model: ModelFile,
    source: DataFile,
    output: Folder,
    device: Annotated[
        list[str] | None, typer.Option(help="name or .toml; repeat for more; all by default")
    ] = None,
    trials: Annotated[int, typer.Option(help="chains to try")] = 30,
    storage: Annotated[str | None, typer.Option(help="study's URL, for many machines")] = None,
    seed: Annotated[int, typer.Option(help="of every random choice", min=0)] = 0,
    users: Annotated[
        int, typer.Option(help="validation users of the search; 0 for all", min=0)
    ] = 1000,
) -> None:
    """Build for many devices out of one search, each bundle inside its device's budget.

    Interrupted, the same command goes on. The exit code is 2 if a device got no bundle.

    Example: `edgerec sweep shop.model --data shop.dataset -o dist`
    """
    from edgerec.host import host
    from edgerec.planner.sweep import sweep as run_sweep
    from edgerec.recipe import find_device
    from edgerec.sources import load
    from edgerec.store import load_model

    names = device or sorted(host().devices)
    with progress_bar("sweeping", err) as progress:
        found = run_sweep(
            load_model(model),
            load(source),
            [find_device(name) for name in names],
            folder=output,
            trials=trials,
            storage=storage,
            seed=seed,
            users=users or None,
            progress=progress,
        )
    print((output / "sweep.md").read_text("utf-8"))  # as it is: rich would wrap a row
    if any(swept.error for swept in found):
        raise typer.Exit(2)


def verify(
    bundle: BundleFile,
    device: Annotated[str, typer.Option(help="a profile's name, or its .toml")],
    source: Annotated[
        str | None, typer.Option("--data", help="dataset, for the budget's min_quality")
    ] = None,
    model: Annotated[
        Path | None, typer.Option(help="uncompressed model, for the budget's min_quality")
    ] = None,
    runtime: Annotated[str | None, typer.Option(help="which installed runtime")] = None,
    users: Annotated[int, typer.Option(help="test users to measure on; 0 for all", min=0)] = 0,
    as_json: AsJson = False,
) -> None:
    """Check a bundle against a device's budget; the exit code is 2 if it breaks a limit.

    Example: `edgerec verify dist/tflite.edgerec --device pixel-6a --data shop.dataset
    --model shop.model`
    """
    from edgerec.recipe import find_device
    from edgerec.recipe import verify as run_verify
    from edgerec.report import print_figures
    from edgerec.sources import load
    from edgerec.store import load_model

    if (source is None) != (model is None) or (users and source is None):
        raise OptionError(
            "--data, --model: measure quality together, of --users; give both or none"
        )
    chosen = find_device(device)
    figures, broken = run_verify(
        bundle,
        chosen,
        dataset=None if source is None else load(source),
        model=None if model is None else load_model(model),
        users=users or None,
        runtime=runtime,
    )
    if as_json:
        out.print_json(json.dumps({"figures": figures, "broken": broken}))
    else:
        print_figures([chosen.name], [figures], out)
        out.print("\n".join(broken) or f"inside the budget of {chosen.name}", markup=False)
    if broken:
        raise typer.Exit(2)
