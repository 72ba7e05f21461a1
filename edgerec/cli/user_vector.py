"""The command that writes the row of one user, for their device alone."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Annotated

import typer

from edgerec.cli.shared import check_output, out
from edgerec.errors import OptionError

__all__ = ["user_vector"]


def user_vector(
    rows: Annotated[
        str,
        typer.Argument(
            help="rows of users: rows.npy, rows.npz:NAME, or a LightGCN's state dict .pt"
        ),
    ],
    user: Annotated[str, typer.Argument(help="id of the user")],
    output: Annotated[Path, typer.Option("-o", "--out", help="file to write, such as ann.user")],
    ids: Annotated[
        Path | None, typer.Option(help="file with an id per row: .txt, .json or .npy")
    ] = None,
    data: Annotated[
        str | None, typer.Option(help="the data that the rows were trained on, in place of --ids")
    ] = None,
    bundle: Annotated[
        Path | None, typer.Option(help="check that this bundle reads rows of this width")
    ] = None,
) -> None:
    """Write the row of one user, for a model that reads a user vector.

    The file goes to that user's device, and `edgerec score --user-vector` reads it. No bundle
    contains it.

    Example: `edgerec user-vector rows.npy ann --ids users.txt -o ann.user`
    """
    from edgerec.data.sources import load
    from edgerec.device.user_file import write_user_vector
    from edgerec.importing.ids import read_ids
    from edgerec.importing.user_rows import user_row

    check_output(output, rows, rows.rpartition(":")[0], ids, data, bundle)
    if (ids is None) == (data is None):
        raise OptionError(
            "--ids: rows have no ids; pass either --ids, a file with an id per row, or --data, "
            "whose users are in the order of the rows"
        )
    known = list(load(data).users) if data is not None else read_ids(ids or "")
    row = user_row(rows, user, known)
    if bundle is not None:
        _check_width(bundle, len(row), rows)
    size = write_user_vector(output, row)
    out.print(f"{output}: {len(row)} numbers of user {user}; {size:,} bytes", highlight=False)


def _check_width(path: Path, width: int, rows: str) -> None:
    """Check that a bundle reads user vectors of this width.

    Raises:
        OptionError: it reads others, or none.
    """
    from edgerec.contracts.opening import open_bundle

    with contextlib.closing(open_bundle(path)) as bundle:
        wanted = bundle.signature.inputs.get("user_vector", 0)
    if not wanted:
        raise OptionError(
            f"--bundle: {path} reads no user vector, so it needs no such file; import the model "
            "with one, such as with `edgerec import pyg:predict_start=false`"
        )
    if wanted != width:
        raise OptionError(
            f"--bundle: {path} reads a user vector of {wanted} numbers, but the rows of {rows} "
            f"have {width}; pass the rows of the same model"
        )
