"""The command that imports a model of another library."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgerec.cli.progress import progress_bar
from edgerec.cli.shared import check_output, err, out
from edgerec.errors import DataError

__all__ = ["import_model"]


def import_model(
    importer: Annotated[
        str, typer.Argument(help="what to read it as, with options: tables:ids=ids.txt")
    ],
    file: Annotated[Path, typer.Argument(help="the trained model")],
    output: Annotated[Path, typer.Option("-o", "--out", help=".model file to write")],
    data: Annotated[
        str | None, typer.Option(help="the data that it was trained on, if that is needed")
    ] = None,
) -> None:
    """Import a model that another library trained.

    Example: `edgerec import tables:ids=ids.txt,past=past films.npz -o films.model`
    """
    from edgerec.contracts.compressor import Context
    from edgerec.contracts.host import Host
    from edgerec.data.quality import evaluate
    from edgerec.data.sources import load
    from edgerec.model.model_file import save_model
    from edgerec.model.options import parse_spec

    check_output(output, file, data)
    name, options = parse_spec(importer)
    chosen = Host.installed().importer(name, **options)
    dataset = None if data is None else load(data)
    with progress_bar("importing", err) as progress:
        model = chosen.read(file, Context(dataset, progress=progress))
    size = save_model(model, output)
    out.print(f"{output}: {model!r}; {size:,} bytes", highlight=False, markup=False)
    if folded := model.metadata.get("fold_in"):
        out.print(
            f"user rows are predicted from histories: overlap with the original's top 20 is "
            f"{folded['overlap']:.3f} on {folded['users']} users it was not fitted on; a model "
            "that reads user_vector is exact, and one taught by it may be closer (docs/import.md)",
            highlight=False,
        )
    if dataset is not None and dataset.test is not None:
        try:
            found = evaluate(model, dataset).summary()
        except DataError as error:
            out.print(f"not evaluated: {error}", highlight=False, markup=False)
        else:
            out.print(
                f"Recall@20 {found['recall']:.4f} ± {found['recall_half']:.4f}, NDCG@20 "
                f"{found['ndcg']:.4f} ± {found['ndcg_half']:.4f} on held-out interactions",
                highlight=False,
            )
