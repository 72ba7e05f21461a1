"""The commands for an existing file: inspect, score."""

from __future__ import annotations

import csv
import dataclasses
import json
import math
from pathlib import Path
from typing import Annotated

import typer

from edgerec.cli.shared import AsJson, BundleFile, Trust, err, out, printable
from edgerec.contracts.bundle import Bundle
from edgerec.device.past import Situation
from edgerec.errors import OptionError

__all__ = ["inspect", "score", "unpack"]


def inspect(
    file: Annotated[Path, typer.Argument(help="bundle, model or dataset")],
    operators: Annotated[
        bool,
        typer.Option(
            help="print the operators that a bundle needs in a reduced build of its runtime"
        ),
    ] = False,
) -> None:
    """Check a file's digests and print what it holds, as JSON.

    Example: `edgerec inspect dist/onnx.edgerec --operators > required_operators.config`
    """
    from edgerec.files.container import Container

    if operators:
        from edgerec.contracts.bundle import Bundle
        from edgerec.contracts.host import Host

        bundle = Bundle.open(file)
        lines = Host.installed().target(bundle.target).operators(bundle)
        print(printable(lines))  # rich would wrap them
        return

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
    history: Annotated[
        str,
        typer.Option(
            help='ids of past items, most recent last, as a row of CSV: 50,172,"an id, quoted"'
        ),
    ],
    k: Annotated[int, typer.Option("-k", help="number of recommendations")] = 10,
    runtime: Annotated[
        str | None, typer.Option(help="installed runtime; the best one by default")
    ] = None,
    trust: Trust = False,
    strict: Annotated[bool, typer.Option(help="treat an unknown item as an error")] = False,
    user_vector: Annotated[
        Path | None,
        typer.Option(help="file with the user's own row, from `edgerec user-vector`"),
    ] = None,
    context: Annotated[
        str | None,
        typer.Option(
            help="what is known of the user, for a model that reads it, such as age=31,country=DE; "
            "'' if nothing is"
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Recommend from a bundle.

    Example: `edgerec score dist/tflite.edgerec --history 50,172,181 -k 10`
    """
    from edgerec.device.scorer import Scorer

    try:
        row = next(csv.reader([history], skipinitialspace=True, strict=True), [])
    except csv.Error as error:
        raise OptionError(f"--history: expected ids as a row of CSV; {error}") from None
    scorer = Scorer.open(bundle, runtime, trust=trust)
    if user_vector is None and "user_vector" in scorer.signature.inputs:
        raise OptionError(
            f"--user-vector: {bundle} reads the user's own row; pass the file that `edgerec "
            "user-vector` wrote"
        )
    situation = _situation(scorer.bundle, context)
    # An id may end in a space; any other space around a comma is there for readability.
    known = scorer.bundle.items
    items = [item if known.find(item) is not None else item.strip() for item in row if item.strip()]
    found = scorer.recommend(items, k, user_vector=user_vector, context=situation, strict=strict)
    if found.unknown:
        err.print(
            f"{len(found.unknown)} unknown items were skipped: {', '.join(found.unknown[:10])}"
        )
    if found.truncated:
        err.print(
            f"the oldest {found.truncated} items exceed the model's history length "
            "and were not read"
        )
    if found.fallback:
        kinds = {
            "popular": "the most popular items",
            "longest": "those that many histories score "
            "high, because the model does not say which are popular",
        }
        err.print(f"the history has no known item; these are {kinds[scorer.bundle.fallback]}")
    if as_json:
        # The score of a popular item is NaN, which JSON does not have.
        rows = [
            {**dataclasses.asdict(r), "score": None if math.isnan(r.score) else r.score}
            for r in found
        ]
        out.print_json(json.dumps(rows))
        return
    for place, item in enumerate(found, 1):
        shown = "" if math.isnan(item.score) else f"  {item.score:.4f}"
        out.print(f"{place:3d}  {item.title}  ({item.id}){shown}", highlight=False, markup=False)


def _situation(bundle: Bundle, context: str | None) -> Situation | None:
    """What ``--context`` says, by name; the numbers of a model without names.

    Raises:
        OptionError: the model reads another context or none, or there is none of what it reads.
    """
    named = bundle.context
    if named is None:
        if context is None:
            return None
        if "context" not in bundle.signature.inputs:
            raise OptionError(f"--context: {bundle.path} reads none; leave it out")
        try:
            return [float(number) for number in context.split(",")]
        except ValueError:
            raise OptionError(
                f"--context: {bundle.path} has no names for what it reads; expected numbers with "
                f"commas between them, got {context!r:.60}"
            ) from None
    if context is None:
        raise OptionError(
            f"--context: {bundle.path} reads {', '.join(named.names)}; pass what is known, such as "
            f"{named.names[0]}=…, or '' if nothing is"
        )
    return named.parse(context)


def unpack(
    bundle: BundleFile,
    output: Annotated[Path, typer.Option("-o", "--out", help="folder to create")],
    form: Annotated[
        str | None,
        typer.Option("--as", help="add another form of the payload: ort, for onnxruntime"),
    ] = None,
) -> None:
    """Write the parts of a bundle to a folder, for an app that brings its own runtime.

    Example: `edgerec unpack dist/onnx.edgerec -o app/assets`
    """
    from edgerec.contracts.bundle import Bundle
    from edgerec.contracts.host import Host
    from edgerec.files.staging import staging

    if output.exists():
        raise OptionError(f"--out: {output} exists; name a folder that does not")
    opened = Bundle.open(bundle)
    output.parent.mkdir(parents=True, exist_ok=True)
    with staging(output.parent, ".unpack-") as drafts:
        opened.unpack(drafts.folder / output.name)
        if form is not None:
            target = Host.installed().target(opened.target)
            target.convert(opened, form, drafts.folder / output.name)
        drafts.move({drafts.folder / output.name: output})
    for path in sorted(output.rglob("*")):
        if path.is_file():
            out.print(f"{path}: {path.stat().st_size:,} bytes", highlight=False)
