"""The command line: ``edgerec VERB``. Each command is a thin layer over the Python API."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from edgerec import __version__
from edgerec.cli import (
    agree,
    bench,
    build,
    bundles,
    importing,
    learning,
    prepare,
    show,
    user_vector,
    verifying,
)
from edgerec.cli.foreign import advice
from edgerec.cli.shared import err, out
from edgerec.contracts.host import Host
from edgerec.errors import EdgerecError, ForeignFileError, OptionError

__all__ = ["app", "run"]

#: The command line, with one command per function.
app = typer.Typer(
    help="Compress a trained GNN recommender to a device's budget, and run it there.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    add_completion=False,
)


def run() -> None:
    """Run the command line. A user's mistake prints one message and exits with 2."""
    debug = "--debug" in (arguments := sys.argv[1:])
    try:
        app([a for a in arguments if a != "--debug"], prog_name="edgerec")
    except EdgerecError as error:
        if debug:
            raise
        said = f"error: {error}"
        if isinstance(error, ForeignFileError):
            said += f"; {advice(error.path, Host.installed())}"
        err.print(said, style="red", markup=False, highlight=False, soft_wrap=True)
        sys.exit(2)
    except OSError as error:
        if debug:
            raise
        where = f"{error.filename}: " if error.filename else ""
        err.print(f"error: {where}{error.strerror or error}", style="red", markup=False)
        sys.exit(2)


#: The commands that compute with torch.
_TRAINING = ("demo", "train", "tune", "build", "sweep")


@app.callback(invoke_without_command=True)
def main(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="print the version")] = False,
    accelerator: Annotated[
        str | None,
        typer.Option(help="device to train and fine-tune on: cpu, cuda or mps; cpu by default"),
    ] = None,
) -> None:
    """Compress a trained GNN recommender to a device's budget, and run it there.

    ``--debug`` shows tracebacks, in any place.
    """
    if version:
        out.print(__version__, highlight=False)
        raise typer.Exit
    if accelerator is not None:
        if context.invoked_subcommand not in _TRAINING:
            raise OptionError(
                f"--accelerator: has no effect on {context.invoked_subcommand or 'nothing'}; it is "
                f"for {', '.join(_TRAINING)}"
            )
        from edgerec.training.accelerator import accelerator as computing_on

        context.with_resource(computing_on(accelerator))


for command in (
    prepare.demo,
    prepare.data,
    learning.train,
    learning.tune,
    learning.evaluate,
    agree.agree,
    build.build,
    build.sweep,
    verifying.verify,
    bundles.inspect,
    bundles.score,
    bundles.unpack,
    bench.bench,
    show.plugins,
    show.devices,
):
    app.command()(command)
app.command("add-items")(learning.add_items)
app.command("import")(importing.import_model)
app.command("user-vector")(user_vector.user_vector)
