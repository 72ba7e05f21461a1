"""The command that compares the lists of two recommenders."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgerec.cli.shared import AsJson, Trust, UserVectors, check_reads_rows, load_data, out
from edgerec.errors import DataError

if TYPE_CHECKING:
    from edgerec.data.agreement import Agreement

__all__ = ["agree"]

_Recommender = Annotated[
    Path, typer.Argument(help=".model file, .edgerec file, or lists: .parquet, .csv, .tsv, .jsonl")
]


def agree(
    a: _Recommender,
    b: _Recommender,
    source: Annotated[str, typer.Option("--data", help="dataset whose training part to read")],
    top: Annotated[
        int | None,
        typer.Option(help="length of the lists; 20 by default, or as many as a file has", min=1),
    ] = None,
    users: Annotated[int, typer.Option(help="number of users; 0 means all", min=0)] = 0,
    at_least: Annotated[
        float | None, typer.Option(help="overlap below which to fail", min=0, max=1)
    ] = None,
    user_vectors: UserVectors = None,
    trust: Trust = False,
    as_json: AsJson = False,
) -> None:
    """Compare what any two of models, bundles and files of lists recommend to the same users.

    Lists have the columns user and item, and rank or score unless a user's rows are in order. The
    exit code is 2 if the overlap is below --at-least.

    Example: `edgerec agree films.model original.parquet --data shop.dataset --at-least 0.999`
    """
    from edgerec.building.agree import agree as run_comparison

    check_reads_rows(user_vectors, a, b)
    found = run_comparison(
        a, b, load_data(source, user_vectors), top=top, users=users or None, trust=trust
    )
    if as_json:
        out.print_json(json.dumps(found.summary()))
    else:
        _print(found)
    if at_least is not None and found.overlap.value < at_least:
        raise DataError(
            f"{a} and {b}: their top-{found.top} lists overlap by {found.overlap}, which is less "
            f"than --at-least {at_least:g}"
        )


def _print(found: Agreement) -> None:
    """Print one line per figure."""
    rows = {
        f"top-{found.top} overlap": str(found.overlap),
        "identical lists": f"{found.identical:.1%}",
        "rank correlation": _shown(found.correlation, "Kendall's τ of items in both lists"),
        "score difference": _shown(found.score_difference, "greatest, as a share of the range"),
    }
    for name, figure in rows.items():
        out.print(f"{name:17} {figure}", highlight=False)
    without = f", {found.left_out:,} more have no list on one side" if found.left_out else ""
    out.print(f"{found.users:,} users{without}; ± is the 95 % interval", highlight=False)


def _shown(figure: float | None, what: str) -> str:
    return "not known" if figure is None else f"{figure:.4g} ({what})"
