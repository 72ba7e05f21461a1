"""The command that imports a model of another library."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgerec.cli.foreign import check_suffix
from edgerec.cli.progress import progress_bar
from edgerec.cli.shared import check_output, err, out
from edgerec.data.dataset import Dataset
from edgerec.errors import DataError, ModelError, OptionError
from edgerec.model.device_model import DeviceModel

__all__ = ["import_model"]

#: The least overlap of an exact import with the original's lists; ties and rounding take the rest.
_EXACT = 0.999


def import_model(
    importer: Annotated[
        str, typer.Argument(help="what to read it as, with options: tables:ids=ids.txt")
    ],
    file: Annotated[Path, typer.Argument(help="the trained model")],
    output: Annotated[Path, typer.Option("-o", "--out", help=".model file to write")],
    data: Annotated[
        str | None, typer.Option(help="the data that it was trained on, if that is needed")
    ] = None,
    reference: Annotated[
        Path | None,
        typer.Option(help="the original's own lists, as for `edgerec agree`; needs --data"),
    ] = None,
    at_least: Annotated[
        float | None,
        typer.Option(
            help="overlap with --reference below which nothing is written; 0.999 by default, "
            "except where user rows are predicted",
            min=0,
            max=1,
        ),
    ] = None,
) -> None:
    """Import a model that another library trained.

    With --reference, its lists are compared with the original's own ones, and an import that should
    be exact and is not fails.

    Example: `edgerec import tables:ids=ids.txt,past=past films.npz -o films.model`
    """
    from edgerec.contracts.compressor import Context
    from edgerec.contracts.host import Host
    from edgerec.data.quality import evaluate
    from edgerec.data.sources import load
    from edgerec.model.model_file import save_model
    from edgerec.model.options import parse_spec

    check_output(output, file, data, reference)
    if reference is not None and data is None:
        raise OptionError(
            "--reference: lists are compared for the users of the training data; pass it as --data"
        )
    if at_least is not None and reference is None:
        raise OptionError("--at-least: applies to the overlap with --reference; set both")
    name, options = parse_spec(importer)
    chosen = Host.installed().importer(name, **options)
    check_suffix(chosen, file, Host.installed())
    dataset = None if data is None else load(data)
    with progress_bar("importing", err) as progress:
        model = chosen.read(file, Context(dataset, progress=progress))
    if reference is not None and dataset is not None:
        model = _compared(model, reference, dataset, at_least)
    size = save_model(model, output)
    out.print(f"{output}: {model!r}; {size:,} bytes", highlight=False, markup=False)
    if folded := model.metadata.get("fold_in"):
        out.print(
            f"user rows are predicted from histories: overlap with the original's top 20 is "
            f"{folded['overlap']:.3f} on {folded['users']} users it was not fitted on; a model "
            "that reads user_vector is exact, and one taught by it may be closer (docs/import.md)",
            highlight=False,
        )
    if own := model.own_inputs:
        hint = "; `edgerec user-vector` writes the row of a user for their device"
        out.print(
            f"it reads {' and '.join(own)}, which is not given here, so it is not evaluated"
            f"{hint if 'user_vector' in own else ''}",
            highlight=False,
        )
    elif dataset is not None and dataset.test is not None:
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


def _compared(
    model: DeviceModel, reference: Path, dataset: Dataset, at_least: float | None
) -> DeviceModel:
    """Compare a model with the original's own lists, and note how far they overlap.

    Raises:
        ModelError: they overlap less than they should.
    """
    from edgerec.building.agree import agree

    found = agree(model, reference, dataset)
    said = f"overlap with the top-{found.top} lists of {reference}: {found.overlap}"
    bound = at_least
    if bound is None and "fold_in" not in model.metadata:
        bound = _EXACT
    if bound is not None and found.overlap.value < bound:
        raise ModelError(
            f"{said} on {found.users:,} users, expected at least {bound:g}; nothing was written. "
            "Usual causes: rows are shifted by one, such as by a row for padding; a normalization "
            "of rows was forgotten; past items are pooled by mean instead of sqrt or sum, or the "
            "other way round; the original was left in training mode; or its lists are for other "
            "histories than those of the training split. --at-least sets another bound"
        )
    out.print(f"{said} on {found.users:,} users", highlight=False)
    noted = {"overlap": round(found.overlap.value, 4), "users": found.users}
    return model.replace(metadata={**model.metadata, "reference": noted})
