"""The commands for a file that is there: inspect, score, bench."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Annotated

import typer

from edgerec.cli.shared import AsJson, BundleFile, err, out

__all__ = ["bench", "inspect", "score"]


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


def bench(
    bundle: BundleFile,
    source: Annotated[str | None, typer.Option("--data", help="dataset for real histories")] = None,
    runtime: Annotated[str | None, typer.Option(help="which installed runtime")] = None,
    threads: Annotated[int, typer.Option(help="for the runtime")] = 1,
    users: Annotated[int, typer.Option(help="histories to run")] = 1000,
    as_json: AsJson = False,
) -> None:
    """Measure a bundle on this machine, in a fresh process: bytes, latency, memory.

    Example: `edgerec bench dist/tflite.edgerec --json`
    """
    from edgerec.bench import measure
    from edgerec.report import print_figures

    histories = None
    if source is not None:
        from edgerec.quality import evaluation_users
        from edgerec.sources import load

        dataset = load(source)
        chosen = evaluation_users(dataset, users)
        histories = [[dataset.items.ids[int(r)] for r in dataset.train.of(int(u))] for u in chosen]
    figures = measure(bundle, histories, runtime=runtime, threads=threads)
    del figures["lists"]
    if as_json:
        out.print_json(json.dumps(figures))
        return
    print_figures(figures, out)
