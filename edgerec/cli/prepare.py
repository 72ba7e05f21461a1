"""The commands that come before training: demo and data."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgerec.cli.shared import Source, check_output, err, out
from edgerec.errors import OptionError

if TYPE_CHECKING:
    from edgerec.data.dataset import Dataset, Part

__all__ = ["data", "demo"]

#: The share that is held out by default.
_SHARE = 0.2

#: The share that choices are made by where nothing else is held out at random.
_VALID_SHARE = 0.1


def demo(
    folder: Annotated[Path, typer.Option("--out", help="folder for the files")] = Path(
        "edgerec-demo"
    ),
    device: Annotated[str, typer.Option(help="name of a device profile")] = "pixel-6a",
    epochs: Annotated[int, typer.Option(help="number of training epochs")] = 10,
) -> None:
    """Run the whole job on MovieLens-100K: train, compress, export, recommend, measure.

    Example: `edgerec demo --out /tmp/demo`
    """
    from edgerec.cli.demo import run_demo

    run_demo(folder, device, epochs, out)


def data(
    source: Source,
    output: Annotated[Path, typer.Option("-o", "--out", help=".dataset file to write")],
    test: Annotated[
        Path | None, typer.Option(help="file of held-out interactions, for a given split")
    ] = None,
    split: Annotated[
        str | None, typer.Option(help="what to hold out: random, recent, last or none")
    ] = None,
    share: Annotated[float, typer.Option(help="share to hold out, for random and recent")] = _SHARE,
    valid: Annotated[
        str | None,
        typer.Option(help="what to choose by: random, recent, last or none; as --split by default"),
    ] = None,
    valid_share: Annotated[
        float | None,
        typer.Option(
            help="share of what remains, for --valid random and recent; by default as many "
            "interactions as --share holds out"
        ),
    ] = None,
    k_core: Annotated[
        int | None, typer.Option(help="minimum number of interactions of each user and item")
    ] = None,
    min_rating: Annotated[float | None, typer.Option(help="minimum rating to keep")] = None,
    event_weights: Annotated[
        str | None,
        typer.Option(help="how much each kind of event counts, such as view=1,cart=3,buy=10"),
    ] = None,
    weigh_ratings: Annotated[
        bool, typer.Option("--weigh-ratings", help="count each interaction as its rating")
    ] = False,
    titles: Annotated[
        Path | None, typer.Option(help="file of item titles: csv, tsv or .item")
    ] = None,
    triples: Annotated[
        Path | None, typer.Option(help="file of facts: item, relation and entity per line")
    ] = None,
    friends: Annotated[
        Path | None, typer.Option(help="file of friendships: two users per line")
    ] = None,
    item_features: Annotated[
        Path | None,
        typer.Option(help="file with a line per item: csv, tsv, Parquet, .item or JSON lines"),
    ] = None,
    feature_columns: Annotated[
        str | None,
        typer.Option(
            help="what its columns are: categories, numbers, text, vectors, or an array with a row "
            "per line, such as genres=categories,year=numbers,poster=posters.npy"
        ),
    ] = None,
    user_features: Annotated[
        Path | None, typer.Option(help="file with a line per user, as --item-features has items")
    ] = None,
    user_feature_columns: Annotated[
        str | None,
        typer.Option(help="what its columns are, such as age=numbers,country=categories"),
    ] = None,
    format: Annotated[
        str | None, typer.Option(help="format: csv, tsv, parquet, inter or train.txt")
    ] = None,
    separator: Annotated[
        str | None, typer.Option(help="what is between two fields, such as '::' or '\\t'")
    ] = None,
    header: Annotated[
        bool | None,
        typer.Option(help="whether the first line has names; without, columns are 1, 2, ..."),
    ] = None,
    user_column: Annotated[str | None, typer.Option(help="name of the user column")] = None,
    item_column: Annotated[str | None, typer.Option(help="name of the item column")] = None,
    rating_column: Annotated[str | None, typer.Option(help="name of the rating column")] = None,
    timestamp_column: Annotated[str | None, typer.Option(help="name of the time column")] = None,
    event_column: Annotated[
        str | None, typer.Option(help="name of the column of the kind of event")
    ] = None,
    seed: Annotated[int, typer.Option(help="seed of a random split", min=0)] = 0,
) -> None:
    """Read interactions, filter and split them, and save a dataset.

    Example: `edgerec data ratings.csv --split last --k-core 5 -o shop.dataset`
    """
    from edgerec.data.dataset_file import save_dataset
    from edgerec.data.feature_files import parse_feature_columns, read_features
    from edgerec.data.sources import load
    from edgerec.data.weighing import parse_event_weights

    given_files = (source, test, titles, triples, friends, item_features, user_features)
    check_output(output, *given_files, suffix=".dataset")
    if (item_features is None) != (feature_columns is None):
        raise OptionError("--item-features and --feature-columns: pass both or neither")
    if (user_features is None) != (user_feature_columns is None):
        raise OptionError("--user-features and --user-feature-columns: pass both or neither")
    valid = valid if valid is not None else split
    if split not in ("random", "recent") and share != _SHARE:
        raise OptionError("--share: applies to --split random or recent only")
    if valid not in ("random", "recent") and valid_share is not None:
        raise OptionError("--valid-share: applies to --valid random or recent only")
    if "random" not in (split, valid) and seed:
        raise OptionError("--seed: applies to --split random and --valid random only")
    columns = {
        "user": user_column,
        "item": item_column,
        "rating": rating_column,
        "timestamp": timestamp_column,
        "event": event_column,
    }
    given = {
        "test": test,
        "format": format,
        "separator": None if separator is None else separator.replace("\\t", "\t"),
        "header": header,
        "min_rating": min_rating,
        "event_weights": None if event_weights is None else parse_event_weights(event_weights),
        "weigh_ratings": weigh_ratings or None,
        "titles": titles,
        "triples": triples,
        "friends": friends,
    }
    named = {role: name for role, name in columns.items() if name is not None}
    options: dict[str, Any] = {k: v for k, v in given.items() if v is not None}
    dataset = load(source, **(options | ({"columns": named} if named else {})))
    if {split, valid} & {"recent", "last"} and dataset.train.timestamps is None:
        err.print(
            "no time column, so lines are assumed to be in order of time; name one with "
            "--timestamp-column"
        )
    if k_core is not None:
        dataset = dataset.k_core(k_core)
    if item_features is not None and feature_columns is not None:
        chosen = parse_feature_columns(feature_columns)
        dataset = dataset.with_features(read_features(item_features, chosen))
    if user_features is not None and user_feature_columns is not None:
        chosen = parse_feature_columns(user_feature_columns)
        dataset = dataset.with_user_features(read_features(user_features, chosen, of="user"))
    dataset = _split(dataset, "split", split, share, seed, "test")
    if valid_share is None:
        same = split in ("random", "recent") and 0 < share < 1
        valid_share = min(share / (1 - share), 0.5) if same else _VALID_SHARE
    dataset = _split(dataset, "valid", valid, valid_share, seed, "valid")
    save_dataset(dataset, output)
    held = [0 if part is None else len(part) for part in (dataset.valid, dataset.test)]
    out.print(
        f"{output}: {len(dataset.users):,} users, {len(dataset.items):,} items, "
        f"{len(dataset.train):,} interactions to train on, {held[0]:,} to choose by, "
        f"{held[1]:,} to test on"
        + "".join(f"\n{count:,} {what}" for what, count in dataset.notes.items()),
        highlight=False,
    )


def _split(
    dataset: Dataset, option: str, rule: str | None, share: float, seed: int, part: Part
) -> Dataset:
    """Hold interactions out by a rule that a user chose."""
    if rule == "random":
        return dataset.split_random(share, seed, part)
    if rule == "recent":
        return dataset.split_recent(share, part)
    if rule == "last":
        return dataset.split_last(part=part)
    if rule not in (None, "none"):
        raise OptionError(f"--{option}: expected random, recent, last or none; got {rule!r}")
    return dataset
