"""What artefacts answer on a device: the raw lists and scores, to be compared here.

``ask`` sends bundles, histories and this file to a device, where it runs as a program with numpy
and the runtimes. ``edgerec.exporting.answers`` then tells whether the answers are right.
"""

from __future__ import annotations

import base64
import io
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgerec.errors import EdgerecError

if TYPE_CHECKING:
    from edgerec.exporting.answers import Answers
    from edgerec.remote.connection import Connection

__all__ = ["Found", "ask"]

#: For each (bundle's file name, runtime), what the artefact returned for each history: its list,
#: the user vector, and the scores of candidates.
Found = dict[tuple[str, str], list[tuple[NDArray[Any], ...]]]

FILE = "histories.npz"


def ask(connection: Connection, bundles: Mapping[Path, Answers], timeout: float = 600) -> Found:
    """Run bundles in each runtime that a device has for them.

    Args:
        connection: the device.
        bundles: bundle to the histories that it is asked for.
        timeout: seconds after which to give up.

    Raises:
        RemoteError: the device cannot be reached, lacks something, or the run failed.
    """
    from edgerec.remote.archive import FILES

    given: dict[str, NDArray[Any]] = {}
    for path, answers in bundles.items():
        columns = [*zip(*answers.inputs, strict=True), tuple(answers.candidates)]
        given |= {f"{path.name}|{place}": np.stack(each) for place, each in enumerate(columns)}
    program = Path(__file__)
    files = {FILE: _packed(given), program.name: program.read_bytes()}
    module = f"{FILES}.{program.stem}"
    printed = connection.run(module, [FILES], list(bundles), files, timeout=timeout)
    with np.load(io.BytesIO(base64.b85decode(printed)), allow_pickle=False) as found:
        answered: Found = {}
        for key in (key.removesuffix("|ends") for key in found if key.endswith("|ends")):
            name, _, runtime = key.rpartition("|")
            ends = found[f"{key}|ends"][:-1]
            lists = [np.split(found[f"{key}|{place}"], ends) for place in range(2)]
            others = [list(found[f"{key}|{place}"]) for place in range(2, 4)]
            answered[name, runtime] = list(zip(*lists, *others, strict=True))
        return answered


def answer(folder: Path) -> dict[str, NDArray[Any]]:
    """Run each bundle in a folder, in each runtime that is installed, on its histories."""
    from edgerec.contracts.host import Host
    from edgerec.contracts.opening import open_bundle

    answers: dict[str, NDArray[Any]] = {}
    with np.load(folder / FILE, allow_pickle=False) as given:
        for name in sorted({key.rpartition("|")[0] for key in given}):
            bundle = open_bundle(folder / name)
            target = Host.installed().target(bundle.target)
            count = sum(key.startswith(f"{name}|") for key in given)
            *inputs, candidates = (given[f"{name}|{place}"] for place in range(count))
            for runtime in target.runtimes():
                run: Any = target.load(bundle, runtime)
                found = [
                    (*run(*one), run.score(*one, rows))
                    for *one, rows in zip(*inputs, candidates, strict=True)
                ]
                outputs, key = list(zip(*found, strict=True)), f"{name}|{runtime}"
                # Lists differ in length, so they are joined, with the end of each.
                answers |= {f"{key}|{place}": np.concatenate(outputs[place]) for place in range(2)}
                answers |= {f"{key}|{place}": np.stack(outputs[place]) for place in range(2, 4)}
                answers[f"{key}|ends"] = np.cumsum([len(ids) for ids in outputs[0]])
    return answers


def _packed(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    content = io.BytesIO()
    np.savez(content, **arrays)
    return content.getvalue()


def main(arguments: Sequence[str]) -> int:
    """Print the answers as one line: base 85 of an .npz."""
    try:
        answers = answer(Path(arguments[0]))
    except EdgerecError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(base64.b85encode(_packed(answers)).decode("ascii"))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
