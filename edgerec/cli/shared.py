"""The consoles and arguments that several commands share."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from edgerec.errors import OptionError
from edgerec.files.atomic import check_writable

if TYPE_CHECKING:
    from edgerec.data.dataset import Dataset

__all__ = [
    "AsJson",
    "BundleFile",
    "ModelFile",
    "SafeConsole",
    "Source",
    "Trust",
    "UserVectors",
    "check_output",
    "check_reads_rows",
    "err",
    "load_any",
    "load_data",
    "out",
    "printable",
]

#: Characters that a terminal would obey: control characters, halves of surrogate pairs, and those
#: that change the direction of text.
_OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\u202a-\u202e\u2066-\u2069]")


class SafeConsole(Console):
    """A console that escapes what a terminal would obey, because titles come from files."""

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Render, with such characters escaped."""
        for segment in super().render(renderable, options):
            text = segment.text if segment.control else printable(segment.text)
            yield Segment(text, segment.style, segment.control)


def printable(text: str) -> str:
    """Escape what a terminal would obey, as JSON does."""
    return _OBEYED.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


#: Standard output. Ids, paths and names may look like markup.
out = SafeConsole(markup=False)

#: Standard error, likewise.
err = SafeConsole(stderr=True, markup=False)

#: A dataset by name or path.
Source = Annotated[str, typer.Argument(help="ml-100k, a .dataset file, or a file of interactions")]

#: A saved model.
ModelFile = Annotated[Path, typer.Argument(help=".model file that `edgerec train` wrote")]

#: A bundle.
BundleFile = Annotated[Path, typer.Argument(help=".edgerec file")]

#: Whether to run a payload that could do anything.
Trust = Annotated[
    bool,
    typer.Option("--trust", help="run a payload that can do anything: torchscript, executorch"),
]

#: The users' own rows.
UserVectors = Annotated[
    str | None,
    typer.Option(
        "--user-vectors",
        help="rows of the data's users, for a model that reads them, as --save-user-vectors of "
        "`train` writes",
    ),
]

#: Whether to print JSON instead of a table.
AsJson = Annotated[bool, typer.Option("--json", help="print JSON")]


def check_reads_rows(user_vectors: str | None, *files: Path) -> None:
    """Check that one of some models and bundles reads the users' own rows, if they are given.

    Raises:
        OptionError: none does.
    """
    if user_vectors is None or any("user_vector" in _inputs_of(file) for file in files):
        return
    names = " and ".join(map(str, files))
    raise OptionError(f"--user-vectors: {names} read no user_vector; leave them out")


def _inputs_of(file: Path) -> Mapping[str, int]:
    """The inputs of a model or a bundle, by name; none of a file of something else."""
    from edgerec.contracts.opening import load_model, open_bundle
    from edgerec.files.container import Container

    kind = Container(file).kind if file.suffix in (".model", ".edgerec") else None
    if kind == "model":
        return load_model(file).inputs
    return open_bundle(file, verify=False).signature.inputs if kind == "bundle" else {}


def load_any(source: str | None, user_vectors: str | None) -> Dataset | None:
    """As ``load_data``; none without a source.

    Raises:
        OptionError: there are rows but no data set.
    """
    if source is not None:
        return load_data(source, user_vectors)
    if user_vectors is not None:
        raise OptionError("--user-vectors: are rows of the users of --data; set both")
    return None


def load_data(source: str, user_vectors: str | None) -> Dataset:
    """Load a data set, with the users' own rows if they are given.

    Raises:
        OptionError: there is another number of rows.
        ModelError: the rows cannot be read.
    """
    from edgerec.data.sources import load
    from edgerec.importing.user_rows import user_rows

    data = load(source)
    if user_vectors is None:
        return data
    return data.with_user_vectors(user_rows(user_vectors, len(data.users)))


def check_output(
    path: Path, *inputs: str | Path | None, suffix: str = "", flag: str = "--out"
) -> None:
    """Check an output path before any work is done.

    Raises:
        OptionError: it is a folder, is also an input, or has the wrong suffix.
        OSError: its folder cannot be written to.
    """
    if path.is_dir():
        raise OptionError(f"{flag}: {path} is a folder; name a file")
    check_writable(path.parent)
    if path.exists() and any(path.samefile(i) for i in inputs if i and Path(i).exists()):
        raise OptionError(f"{flag}: {path} is also an input; name another file")
    if not path.name.endswith(suffix):
        raise OptionError(f"{flag}: expected a file name that ends in {suffix}, got {path}")
