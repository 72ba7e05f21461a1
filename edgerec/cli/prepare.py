"""The commands that come before a device: demo, data, train."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from edgerec.cli.shared import Source, check_output, err, out
from edgerec.errors import OptionError
from edgerec.progress import progress_bar

__all__ = ["data", "demo", "train"]

#: What is held out where nothing is said.
SHARE = 0.2


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


def data(
    source: Source,
    output: Annotated[Path, typer.Option("-o", "--out", help="a .dataset file to write")],
    test: Annotated[Path | None, typer.Option(help="held-out interactions: a given split")] = None,
    split: Annotated[str | None, typer.Option(help="random, recent, last, or none")] = None,
    share: Annotated[float, typer.Option(help="held-out share, random or most recent")] = SHARE,
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
    seed: Annotated[int, typer.Option(help="of a random split", min=0)] = 0,
) -> None:
    """Read interactions, filter and split them, and save a dataset.

    Example: `edgerec data ratings.csv --split last --k-core 5 -o shop.dataset`
    """
    from edgerec.dataset_store import save_dataset
    from edgerec.sources import load

    check_output(output, source, test, titles, suffix=".dataset")
    if split not in ("random", "recent") and share != SHARE:
        raise OptionError("--share: is of --split random or recent; leave it out")
    if split != "random" and seed:
        raise OptionError("--seed: is of --split random; leave it out")
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
    if split in ("recent", "last") and dataset.train.timestamps is None:
        err.print(
            "no time column: the order of lines is taken for that of time; --timestamp-column "
            "names one"
        )
    if k_core is not None:
        dataset = dataset.k_core(k_core)
    if split == "random":
        dataset = dataset.split_random(share, seed)
    elif split == "recent":
        dataset = dataset.split_recent(share)
    elif split == "last":
        dataset = dataset.split_last()
    elif split not in (None, "none"):
        raise OptionError(f"--split: expected random, recent, last or none; got {split!r}")
    save_dataset(dataset, output)
    held = 0 if dataset.test is None else len(dataset.test)
    out.print(
        f"{output}: {len(dataset.users):,} users, {len(dataset.items):,} items, "
        f"{len(dataset.train):,} interactions to train on, {held:,} held out"
        + (f"; {dataset.merged:,} repeated pairs merged" if dataset.merged else ""),
        highlight=False,
    )


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
    recency: Annotated[
        float, typer.Option(help="how much the latest items weigh more; about 1 if order is time")
    ] = 0.0,
    tilt: Annotated[
        float, typer.Option(help="how much higher popular items rank than training made them")
    ] = 0.0,
    teacher: Annotated[
        list[Path] | None,
        typer.Option(help="a wider .model of the same data to learn from; repeat for more"),
    ] = None,
    seed: Annotated[int, typer.Option(help="of every random choice", min=0)] = 0,
) -> None:
    """Train a GNN. Interrupted, the same command resumes after the last whole epoch.

    Example: `edgerec train shop.dataset --teacher wide.model -o shop.model`
    """
    from edgerec.quality import evaluate
    from edgerec.sources import load
    from edgerec.store import load_model, save_model
    from edgerec.training import TrainOptions
    from edgerec.training import train as run_training

    check_output(output, source, *(teacher or []))
    dataset = load(source)
    options = TrainOptions(
        model=model,
        dim=dim,
        layers=layers,
        epochs=epochs,
        history_length=history_length,
        recency=recency,
        tilt=tilt,
        seed=seed,
    )
    checkpoint = output.with_name(output.name + ".checkpoint")
    wide = [load_model(path) for path in teacher or []]
    with progress_bar("training", err) as progress:
        trained = run_training(
            dataset, options, teacher=wide or None, checkpoint=checkpoint, progress=progress
        )
    device_model = trained.to_device_model()
    size = save_model(device_model, output)
    checkpoint.unlink(missing_ok=True)
    out.print(
        f"{output}: {size:,} bytes, {device_model.table_bytes:,} of them tables",
        highlight=False,
    )
    if dataset.test is not None:
        quality = evaluate(device_model, dataset)
        out.print(f"Recall@20 {quality.recall:.4f}  NDCG@20 {quality.ndcg:.4f}", highlight=False)
