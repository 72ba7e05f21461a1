"""The commands that train, tune and evaluate."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from edgerec.cli.flags import flags_of, given
from edgerec.cli.progress import progress_bar
from edgerec.cli.shared import (
    AsJson,
    ModelFile,
    Source,
    Trust,
    UserVectors,
    check_output,
    err,
    out,
)
from edgerec.errors import OptionError
from edgerec.training.options import TrainOptions, load_options

__all__ = ["add_items", "evaluate", "train", "tune"]


@flags_of(TrainOptions)
def train(
    source: Source,
    output: Annotated[Path, typer.Option("-o", "--out", help=".model file to write")],
    teacher: Annotated[
        list[Path] | None,
        typer.Option(help=".model of the same data to learn from; repeat it for more"),
    ] = None,
    teacher_vectors: Annotated[
        str | None,
        typer.Option(help="rows of the data's users, if the teacher reads them"),
    ] = None,
    options_file: Annotated[
        Path | None,
        typer.Option("--options", help=".toml of options, as `tune` writes it; flags override it"),
    ] = None,
    save_gnn: Annotated[
        Path | None, typer.Option(help="file for the GNN itself, for `edgerec.load_trained`")
    ] = None,
    save_user_vectors: Annotated[
        Path | None,
        typer.Option(help=".npy file for the users' own rows, for `edgerec user-vector`"),
    ] = None,
    **options: Any,
) -> None:
    """Train a GNN. After an interruption, the same command resumes from the last whole epoch.

    Example: `edgerec train shop.dataset --epochs 20 --patience 3 -o shop.model`
    """
    import numpy as np

    from edgerec.contracts.opening import load_model
    from edgerec.data.quality import evaluate as run_evaluation
    from edgerec.data.sources import load
    from edgerec.files.atomic import atomic_write
    from edgerec.importing.user_rows import file_of, user_rows
    from edgerec.model.model_file import save_model
    from edgerec.training.loop import train as run_training

    vectors_file = None if teacher_vectors is None else file_of(teacher_vectors)
    inputs = (source, *(teacher or []), vectors_file, options_file)
    check_output(output, *inputs)
    others = {"--save-gnn": save_gnn, "--save-user-vectors": save_user_vectors}
    taken = {output.resolve(): "--out"}
    for flag, path in others.items():
        if path is None:
            continue
        check_output(path, *inputs, flag=flag)
        if path.resolve() in taken:
            raise OptionError(f"{flag}: {path} is also {taken[path.resolve()]}; name another file")
        taken[path.resolve()] = flag
    from_file = load_options(options_file) if options_file else {}
    chosen = TrainOptions(**(from_file | given(options)))
    chosen.family()  # before data are read
    dataset = load(source)
    checkpoint = output.with_name(output.name + ".checkpoint")
    wide = [load_model(path) for path in teacher or []]
    rows = None
    if teacher_vectors is not None:
        rows = user_rows(teacher_vectors, len(dataset.users), "--teacher-vectors")
    with progress_bar("training", err) as progress:
        trained = run_training(
            dataset,
            chosen,
            teacher=wide or None,
            teacher_vectors=rows,
            checkpoint=checkpoint,
            progress=progress,
        )
    model, users = trained.to_device_model(), trained.user_vectors
    if save_user_vectors is not None:
        if users is None:
            raise OptionError(
                f"--save-user-vectors: {trained.options.model} recommends from histories alone, "
                "and has no rows of users; leave it out"
            )
        with atomic_write(save_user_vectors) as stream:
            np.save(stream, users)
    found = {}
    if dataset.valid is not None:
        found["valid"] = run_evaluation(model, dataset.on_valid(), user_vectors=users)
    if dataset.test is not None:
        found["test"] = run_evaluation(model, dataset, user_vectors=users)
    measured = {part: one.summary() for part, one in found.items()}
    model = model.replace(metadata={**model.metadata, "quality": measured})
    if save_gnn is not None:
        trained.save(save_gnn)
    size = save_model(model, output)
    checkpoint.unlink(missing_ok=True)
    out.print(f"{output}: {size:,} bytes, {model.table_bytes:,} of them tables", highlight=False)
    for part, one in found.items():
        figures = "  ".join(f"{name} {interval}" for name, interval in one.intervals().items())
        out.print(f"{part}: {figures}", highlight=False)


@flags_of(TrainOptions, ("learning_rate", "temperature", "tilt", "recency", "predict", "patience"))
def tune(
    source: Annotated[str, typer.Option("--data", help="dataset with interactions to choose by")],
    output: Annotated[Path, typer.Option("-o", "--out", help=".toml file of options to write")],
    trials: Annotated[int, typer.Option(help="number of trainings", min=1)] = 20,
    study: Annotated[
        Path | None, typer.Option(help="folder of the study; --out with .study by default")
    ] = None,
    **options: Any,
) -> None:
    """Choose epochs, learning rate, temperature, tilt, and whether the order of histories helps.

    If it helps, this may include predicting the next item. Trainings are compared on what `data
    --valid` held out; what is held out to test on is not looked at. After an interruption, the same
    command resumes.

    Example: `edgerec tune --data shop.dataset -o shop.toml`, and then
    `edgerec train shop.dataset --options shop.toml -o shop.model`
    """
    from edgerec.building.tuning import tune as run_tuning
    from edgerec.data.sources import load
    from edgerec.files.atomic import write_text

    check_output(output, source, suffix=".toml")
    start = TrainOptions(**given(options))
    folder = study or output.with_name(output.name + ".study")
    with progress_bar("tuning", err) as progress:
        tuned = run_tuning(load(source), start, trials=trials, folder=folder, progress=progress)
    chosen = given(options | dict(tuned.options))
    lines = [f"{name} = {json.dumps(value)}\n" for name, value in chosen.items()]
    write_text(output, "".join(lines))
    out.print(f"NDCG@20 on validation: {tuned.ndcg}", highlight=False)
    out.print(f"{tuned.gain} times that of the options as given", highlight=False)
    if tuned.order is None:
        out.print("whether the order of histories helps was not tried", highlight=False)
    else:
        verdict = "helps" if tuned.order_helps else "does not help beyond the noise"
        out.print(f"reading the order of histories {verdict}: {tuned.order} times", highlight=False)
    out.print(f"{output}: " + ", ".join(line.strip() for line in lines), highlight=False)


def add_items(
    file: ModelFile,
    source: Annotated[str, typer.Option("--data", help="dataset with features that it learned")],
    features: Annotated[Path, typer.Option(help="file of the features of new items")],
    columns: Annotated[
        str, typer.Option("--feature-columns", help="what its columns are, as for `edgerec data`")
    ],
    output: Annotated[Path, typer.Option("-o", "--out", help=".model file to write")],
) -> None:
    """Add items that nobody has interacted with, with rows computed from their features.

    Example: `edgerec add-items shop.model --data shop.dataset --features new.csv
    --feature-columns genres=categories -o grown.model`
    """
    from edgerec.contracts.opening import load_model
    from edgerec.data.feature_files import parse_feature_columns, read_features
    from edgerec.data.sources import load
    from edgerec.model.model_file import save_model
    from edgerec.training.cold_start import add_items as run

    check_output(output, file, source, features)
    chosen = parse_feature_columns(columns)
    new = read_features(features, chosen)
    model = run(load_model(file), load(source), new, names=list(chosen))
    size = save_model(model, output)
    out.print(
        f"{output}: {size:,} bytes, {len(model.items):,} items, {len(new.items):,} of them new",
        highlight=False,
    )


def evaluate(
    file: Annotated[Path, typer.Argument(help=".model file or .edgerec file")],
    source: Annotated[str, typer.Option("--data", help="dataset with held-out interactions")],
    on: Annotated[str, typer.Option(help="what to measure on: test or valid")] = "test",
    k: Annotated[int, typer.Option("-k", help="length of the lists", min=1)] = 20,
    users: Annotated[int, typer.Option(help="number of users; 0 means all", min=0)] = 0,
    user_vectors: UserVectors = None,
    runtime: Annotated[
        str | None, typer.Option(help="installed runtime of a bundle; the best one by default")
    ] = None,
    trust: Trust = False,
    as_json: AsJson = False,
) -> None:
    """Measure a model or a bundle on what is held out, with 95 % intervals over users.

    Example: `edgerec evaluate dist/tflite.edgerec --data shop.dataset`
    """
    from edgerec.building.measured import quality_of_file
    from edgerec.data.sources import load
    from edgerec.importing.user_rows import user_rows

    if on not in ("test", "valid"):
        raise OptionError(f"--on: expected test or valid, got {on!r}")
    dataset = load(source)
    dataset = dataset.on_valid() if on == "valid" else dataset
    own = None if user_vectors is None else user_rows(user_vectors, len(dataset.users))
    found = quality_of_file(
        file,
        dataset,
        k=k,
        users=users or None,
        runtime=runtime,
        trust=trust,
        user_vectors=own,
    )
    if as_json:
        out.print_json(json.dumps(found.summary()))
        return
    for name, interval in found.intervals().items():
        out.print(f"{name:12} {interval}", highlight=False)
    out.print(f"{'Long tail':12} {found.long_tail:.4f}", highlight=False)
    out.print(f"{len(found.lists):,} users; ± is the 95 % interval", highlight=False)
