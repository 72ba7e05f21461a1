"""The command line: ``edgerec VERB``. Each command is a thin layer over the Python API."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from edgerec import __version__
from edgerec.cli_bench import bench
from edgerec.errors import EdgerecError, OptionError
from edgerec.progress import progress_bar

__all__ = ["app", "run"]

app = typer.Typer(
    help="Compress a trained GNN recommender to a device's budget, and run it there.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    add_completion=False,
)
out = Console()
err = Console(stderr=True)

Source = Annotated[str, typer.Argument(help="ml-100k, a .dataset file, or an interactions file")]
ModelFile = Annotated[Path, typer.Argument(help="a .model file that `edgerec train` wrote")]
BundleFile = Annotated[Path, typer.Argument(help="an .edgerec file")]
AsJson = Annotated[bool, typer.Option("--json", help="print JSON")]


def run() -> None:
    """Run the command line; a user's mistake is one message and exit code 2."""
    debug = "--debug" in (arguments := sys.argv[1:])
    try:
        app([a for a in arguments if a != "--debug"], prog_name="edgerec")
    except EdgerecError as error:
        if debug:
            raise
        err.print(f"error: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
        sys.exit(2)
    except OSError as error:
        if debug:
            raise
        where = f"{error.filename}: " if error.filename else ""
        err.print(f"error: {where}{error.strerror or error}", style="red", markup=False)
        sys.exit(2)
    except KeyboardInterrupt:
        err.print("interrupted; nothing half-written was left")
        sys.exit(130)


@app.callback(invoke_without_command=True)
def main(
    version: Annotated[bool, typer.Option("--version", help="print the version")] = False,
) -> None:
    """Print the version, or nothing. ``--debug`` anywhere shows tracebacks."""
    if version:
        out.print(__version__, highlight=False)
        raise typer.Exit


@app.command()
def demo(
    folder: Annotated[Path, typer.Option("--out", help="where the files go")] = Path(
        "edgerec-demo"
    ),
    device: Annotated[str, typer.Option(help="device profile")] = "pixel-6a",
    epochs: Annotated[int, typer.Option(help="training epochs")] = 10,
) -> None:
    """Do the whole job on MovieLens-100K: train, compress, export, recommend, measure.

    Example: `edgerec demo --out /tmp/demo`
    """
    from edgerec.demo import run_demo

    run_demo(folder, device, epochs, out)


@app.command()
def data(
    source: Source,
    output: Annotated[Path, typer.Option("-o", "--out", help="a .dataset file to write")],
    test: Annotated[Path | None, typer.Option(help="held-out interactions: a given split")] = None,
    split: Annotated[str | None, typer.Option(help="random, last, or none")] = None,
    share: Annotated[float, typer.Option(help="held-out share of a random split")] = 0.2,
    k_core: Annotated[
        int | None, typer.Option(help="least interactions of a user, an item")
    ] = None,
    min_rating: Annotated[float | None, typer.Option(help="keep ratings from here on")] = None,
    titles: Annotated[Path | None, typer.Option(help="item titles: csv, tsv or .item")] = None,
    format: Annotated[str | None, typer.Option(help="csv, tsv, parquet, inter, train.txt")] = None,
    user_column: Annotated[str | None, typer.Option(help="name of the user column")] = None,
    item_column: Annotated[str | None, typer.Option(help="name of the item column")] = None,
    rating_column: Annotated[str | None, typer.Option(help="name of the rating column")] = None,
    timestamp_column: Annotated[str | None, typer.Option(help="name of the time column")] = None,
    seed: Annotated[int, typer.Option(help="of a random split")] = 0,
) -> None:
    """Read interactions, filter and split them, and save a dataset.

    Example: `edgerec data ratings.csv --split last --k-core 5 -o shop.dataset`
    """
    from edgerec.dataset_store import save_dataset
    from edgerec.sources import load

    columns = {
        "user": user_column,
        "item": item_column,
        "rating": rating_column,
        "timestamp": timestamp_column,
    }
    given = {"test": test, "format": format, "min_rating": min_rating, "titles": titles}
    named = {role: name for role, name in columns.items() if name is not None}
    options: dict[str, Any] = {k: v for k, v in given.items() if v is not None}
    dataset = load(source, **(options | ({"columns": named} if named else {})))
    if k_core is not None:
        dataset = dataset.k_core(k_core)
    if split == "random":
        dataset = dataset.split_random(share, seed)
    elif split == "last":
        dataset = dataset.split_last()
    elif split not in (None, "none"):
        raise OptionError(f"--split: expected random, last or none; got {split!r}")
    save_dataset(dataset, output)
    held = 0 if dataset.test is None else len(dataset.test)
    out.print(
        f"{output}: {len(dataset.users):,} users, {len(dataset.items):,} items, "
        f"{len(dataset.train):,} interactions to train on, {held:,} held out"
        + (f"; {dataset.merged:,} repeated pairs merged" if dataset.merged else ""),
        highlight=False,
    )


@app.command()
def train(
    source: Source,
    output: Annotated[Path, typer.Option("-o", "--out", help="a .model file to write")],
    model: Annotated[
        str, typer.Option(help="GNN family: historygcn, lightgcn, graphsage")
    ] = "historygcn",
    dim: Annotated[int, typer.Option(help="width of the item vectors")] = 64,
    layers: Annotated[int | None, typer.Option(help="rounds of message passing")] = None,
    epochs: Annotated[int, typer.Option(help="passes over the users")] = 8,
    history_length: Annotated[int, typer.Option(help="past items that a device reads")] = 200,
    seed: Annotated[int, typer.Option(help="of every random choice")] = 0,
) -> None:
    """Train a GNN. Interrupted, the same command resumes after the last whole epoch.

    Example: `edgerec train shop.dataset --model graphsage -o shop.model`
    """
    from edgerec.quality import evaluate
    from edgerec.sources import load
    from edgerec.store import save_model
    from edgerec.training import TrainOptions
    from edgerec.training import train as run_training

    dataset = load(source)
    options = TrainOptions(
        model=model, dim=dim, layers=layers, epochs=epochs, history_length=history_length, seed=seed
    )
    checkpoint = output.with_name(output.name + ".checkpoint")
    with progress_bar("training", err) as progress:
        trained = run_training(dataset, options, checkpoint=checkpoint, progress=progress)
    device_model = trained.to_device_model()
    size = save_model(device_model, output)
    out.print(
        f"{output}: {size:,} bytes, {device_model.table_bytes:,} of them tables", highlight=False
    )
    if dataset.test is not None:
        quality = evaluate(device_model, dataset)
        out.print(f"Recall@20 {quality.recall:.4f}  NDCG@20 {quality.ndcg:.4f}", highlight=False)


@app.command()
def build(
    model: ModelFile,
    source: Annotated[str, typer.Option("--data", help="dataset with held-out interactions")],
    output: Annotated[Path, typer.Option("-o", "--out", help="folder for the bundles")],
    recipe: Annotated[Path | None, typer.Option(help="a TOML recipe, instead of the flags")] = None,
    compress: Annotated[
        list[str] | None, typer.Option(help="name:option=value,...; repeat for a chain")
    ] = None,
    target: Annotated[
        list[str] | None, typer.Option(help="repeat for more; all by default")
    ] = None,
    device: Annotated[str | None, typer.Option(help="a profile's name, or its .toml")] = None,
    top_k: Annotated[int, typer.Option(help="most recommendations that can be asked for")] = 50,
    trials: Annotated[int, typer.Option(help="chains to try, where none is given")] = 30,
    storage: Annotated[str | None, typer.Option(help="study's URL, for many machines")] = None,
    seed: Annotated[int, typer.Option(help="of every random choice")] = 0,
    users: Annotated[int, typer.Option(help="test users to measure on; 0 for all")] = 1000,
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

    if recipe is not None and (compress or target or device):
        raise OptionError("--recipe: give a recipe or --compress, --target, --device, not both")
    chosen = (
        load_recipe(recipe)
        if recipe is not None
        else Recipe(
            tuple(parse_spec(c) for c in compress or []),
            tuple(target or []),
            None if device is None else find_device(device),
            top_k,
        )
    )
    loaded, dataset = load_model(model), load(source)
    with progress_bar("building", err) as progress:
        if chosen.device is not None and not chosen.compress:
            found = plan(
                loaded,
                dataset,
                chosen.device,
                folder=output,
                targets=chosen.targets or None,
                trials=trials,
                storage=storage,
                seed=seed,
                users=users or None,
                top_k=chosen.top_k,
                progress=progress,
            )
            built = list(found.built)
        else:
            built = run_build(
                loaded, dataset, chosen, output, users=users or None, seed=seed, progress=progress
            )
    if as_json:
        out.print_json(json.dumps([{**b.figures, "path": str(b.path)} for b in built]))
        return
    from edgerec.report import print_built

    print_built(built, loaded.table_bytes, out)


@app.command()
def inspect(file: Annotated[Path, typer.Argument(help="a bundle, model or dataset")]) -> None:
    """Check a file's digests and print what it holds, as JSON.

    Example: `edgerec inspect dist/tflite.edgerec`
    """
    from edgerec.container import Container

    container = Container(file)
    container.verify()
    sections = {name: container.nbytes(name) for name in container.names}
    content = {
        "kind": container.kind,
        "bytes": container.size,
        **container.meta,
        "sections": sections,
    }
    out.print_json(json.dumps(content))


@app.command()
def score(
    bundle: BundleFile,
    history: Annotated[str, typer.Option(help="ids of past items, comma-separated, newest last")],
    k: Annotated[int, typer.Option("-k", help="how many")] = 10,
    runtime: Annotated[str | None, typer.Option(help="which installed runtime")] = None,
    strict: Annotated[bool, typer.Option(help="make an unknown item an error")] = False,
    as_json: AsJson = False,
) -> None:
    """Recommend from a bundle.

    Example: `edgerec score dist/tflite.edgerec --history 50,172,181 -k 10`
    """
    from edgerec.score import Scorer

    items = [item.strip() for item in history.split(",") if item.strip()]
    found = Scorer.open(bundle, runtime).recommend(items, k, strict=strict)
    if found.unknown:
        err.print(
            f"{len(found.unknown)} unknown items were skipped: {', '.join(found.unknown[:10])}"
        )
    if found.truncated:
        err.print(f"the oldest {found.truncated} items are past the model's history length")
    if found.fallback:
        err.print("no usable history: these are the most popular items")
    if as_json:
        # NaN, the score of a popular item, is no JSON.
        rows = [
            {**dataclasses.asdict(r), "score": None if found.fallback else r.score} for r in found
        ]
        out.print_json(json.dumps(rows))
        return
    for place, item in enumerate(found, 1):
        shown = "" if found.fallback else f"  {item.score:.4f}"
        out.print(f"{place:3d}  {item.title}  ({item.id}){shown}", highlight=False, markup=False)


app.command()(bench)


@app.command()
def plugins(
    as_json: AsJson = False,
    strict: Annotated[bool, typer.Option(help="exit with 2 if one is broken")] = False,
) -> None:
    """List plugins: what each provides, its distribution, version and state.

    Example: `edgerec plugins --json`
    """
    from edgerec.host import Host, host
    from edgerec.report import plugin_rows, print_rows

    rows = plugin_rows(Host(strict=True) if strict else host())
    if as_json:
        out.print_json(json.dumps(rows))
    else:
        print_rows(rows, ("name", "kind", "distribution", "version", "state", "reason"), out)


@app.command()
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
